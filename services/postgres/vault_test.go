package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

// again seals what is sealed already with a key.
func again(keyID string) func(string, cloud.Sealed) (cloud.Sealed, error) {
	return func(purpose string, s cloud.Sealed) (cloud.Sealed, error) {
		return cloud.Sealed{KeyID: keyID, Box: fmt.Appendf(nil, "%s for %s", s.Box, purpose)}, nil
	}
}

func TestEnv_ResealSecondFactors(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	env, users := postgres.NewEnv(pool, nil), postgres.NewAccounts(pool, nil)
	app := createApp(t, pool, "app").ID
	addUser(t, users, "without", cloud.Member)
	ann := addUser(t, users, "ann", cloud.Owner)
	must(t, users.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error {
		must(t, tx.SetTOTP(ctx, ann.ID, &cloud.Sealed{KeyID: "k1", Box: []byte("totp")}, true))
		return tx.SetTOTPStep(ctx, ann.ID, 7)
	}))
	must(t, env.SetSecret(t.Context(), app, "S", cloud.Sealed{KeyID: "k2", Box: []byte("secret")}, 6))
	keys, err := env.KeyIDs(t.Context())
	must(t, err)
	equal(t, keys, []string{"k1", "k2"})

	total := 0
	for n := 1; n > 0; total += n {
		n, err = env.Reseal(t.Context(), "k3", again("k3"))
		must(t, err)
	}
	equal(t, total, 2)
	keys, err = env.KeyIDs(t.Context())
	must(t, err)
	equal(t, keys, []string{"k3"})
	c, err := users.Credentials(t.Context(), "ann")
	must(t, err)
	equal(t, c.TOTP, &cloud.Sealed{KeyID: "k3", Box: []byte("totp for totp/" + ann.ID)})
	equal(t, []any{c.TOTPInForce, c.TOTPStep}, []any{true, int64(7)})
	s, _, err := env.Secret(t.Context(), app, "S")
	must(t, err)
	equal(t, s, cloud.Sealed{KeyID: "k3", Box: []byte("secret for secret/" + app + "/S")})
}

func TestEnv_ResealInSteps(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	env := postgres.NewEnv(pool, nil)
	app := createApp(t, pool, "app").ID
	const more = 30
	_, err := pool.Exec(t.Context(), `
		INSERT INTO app_env (app_id, name, key_id, sealed, size, updated_at)
		SELECT $1, 'N' || i, 'k1', 'box', 3, now() FROM generate_series(1, $2) i`, app, postgres.ResealBatch+more)
	must(t, err)

	// Somebody is changing N1 all the while.
	tx, err := pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE app_env SET sealed = 'new' WHERE name = 'N1'`)
	must(t, err)
	var steps []int
	for range 2 {
		n, err := env.Reseal(t.Context(), "k2", again("k2"))
		must(t, err)
		steps = append(steps, n)
	}
	equal(t, steps, []int{postgres.ResealBatch, more - 1})
	last := make(chan int, 1)
	go func() {
		n, err := env.Reseal(t.Context(), "k2", again("k2"))
		if err != nil {
			t.Error(err)
		}
		last <- n
	}()
	waitForLock(t, pool)
	must(t, tx.Commit(t.Context()))
	equal(t, <-last, 1)
	s, _, err := env.Secret(t.Context(), app, "N1")
	must(t, err)
	equal(t, s, cloud.Sealed{KeyID: "k2", Box: []byte("new for secret/" + app + "/N1")})
	n, err := env.Reseal(t.Context(), "k2", again("k2"))
	must(t, err)
	equal(t, n, 0)
}

func TestEnv_ResealTogether(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	env := postgres.NewEnv(pool, nil)
	app := createApp(t, pool, "app").ID
	const all = 4 * postgres.ResealBatch
	_, err := pool.Exec(t.Context(), `
		INSERT INTO app_env (app_id, name, key_id, sealed, size, updated_at)
		SELECT $1, 'N' || i, 'k1', 'box', 3, now() FROM generate_series(1, $2) i`, app, all)
	must(t, err)
	sums := make(chan int)
	for range 3 {
		go func() {
			sum := 0
			for {
				n, err := env.Reseal(t.Context(), "k2", again("k2"))
				if err != nil {
					t.Error(err)
				}
				if sum += n; n == 0 {
					sums <- sum
					return
				}
			}
		}()
	}
	equal(t, <-sums+<-sums+<-sums, all) // each once
	keys, err := env.KeyIDs(t.Context())
	must(t, err)
	equal(t, keys, []string{"k2"})
}
