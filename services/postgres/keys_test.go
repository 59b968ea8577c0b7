package postgres_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	keys := authz.NewKeys(postgres.NewKeys(pool), func() time.Time { return noon })
	app := createApp(t, pool, "app").ID

	var wg sync.WaitGroup
	tokens := make([]string, 3)
	for i := range tokens {
		wg.Go(func() { tokens[i], _ = keys.CreateOwnerKey(t.Context(), "owner-token") })
	}
	wg.Wait()
	users := map[string]bool{}
	for _, token := range tokens {
		p, err := keys.Authenticate(t.Context(), token)
		must(t, err)
		users[p.UserID] = true
		equal(t, p, &cloud.Principal{UserID: p.UserID, Name: "owner", Role: cloud.Owner, Key: &cloud.Key{ID: p.Key.ID, Scopes: cloud.Scopes}})
	}
	equal(t, len(users), 1)

	t.Run("an unknown key is refused", func(t *testing.T) {
		_, err := keys.Authenticate(t.Context(), authz.MintKey())
		wantCode(t, err, cloud.CodeUnauthorized)
	})
	insert := func(scopes []string, appID any, expires any) string {
		token := authz.MintKey()
		hash := authz.HashKey(token)
		_, err := pool.Exec(t.Context(), `
			INSERT INTO api_keys (id, user_id, app_id, name, hash, scopes, expires_at)
			SELECT $1, id, $2, 'k', $3, $4, $5 FROM users`, cloud.NewID(), appID, hash[:], scopes, expires)
		must(t, err)
		return token
	}
	t.Run("a key is bound to its app and scopes", func(t *testing.T) {
		p, err := keys.Authenticate(t.Context(), insert([]string{"log:read"}, app, noon.Add(time.Second)))
		must(t, err)
		equal(t, p.Key, &cloud.Key{ID: p.Key.ID, Scopes: []cloud.Scope{cloud.ScopeLogRead}, AppID: app})
	})
	t.Run("an expired key is refused", func(t *testing.T) {
		_, err := keys.Authenticate(t.Context(), insert([]string{"log:read"}, nil, noon))
		wantCode(t, err, cloud.CodeUnauthorized)
	})
	t.Run("keys of a user who is not active are refused", func(t *testing.T) {
		_, err := pool.Exec(t.Context(), `UPDATE users SET active = false`)
		must(t, err)
		_, err = keys.Authenticate(t.Context(), tokens[0])
		wantCode(t, err, cloud.CodeUnauthorized)
	})
	t.Run("what is stored does not hold the key", func(t *testing.T) {
		var row string
		must(t, pool.QueryRow(t.Context(), `SELECT string_agg(k::text, '') FROM api_keys k`).Scan(&row))
		if strings.Contains(row, tokens[0]) {
			t.Error("a key is stored in clear text")
		}
	})
}

func TestInstance_Seed(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	i := postgres.NewInstance(pool)
	first, seeded, err := i.Seed(t.Context(), noon)
	must(t, err)
	equal(t, first, cloud.App{ID: first.ID, Slug: cloud.DefaultApp, Name: "Default", CreatedAt: noon, UpdatedAt: noon})
	equal(t, seeded, false)
	must(t, i.MarkSeeded(t.Context(), noon))
	must(t, i.MarkSeeded(t.Context(), noon.Add(time.Hour)))
	again, seeded, err := i.Seed(t.Context(), noon.Add(time.Hour))
	must(t, err)
	equal(t, again, first)
	equal(t, seeded, true)
}
