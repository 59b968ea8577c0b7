package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/secrets"
	"github.com/picloud/picloud/services/secrets/secretstest"
)

func TestEnv_Conformance(t *testing.T) {
	t.Parallel()
	secretstest.TestStore(t, func(t *testing.T) (secrets.Store, secrets.Vault, string, string) {
		pool := cloudtest.Database(t)
		env := postgres.NewEnv(pool, nil)
		return env, env, createApp(t, pool, "app").ID, createApp(t, pool, "other").ID
	})
}

func TestEnv_Refusals(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	env := postgres.NewEnv(pool, nil)
	app := createApp(t, pool, "app").ID
	for name, c := range map[string]struct {
		err   error
		code  cloud.Code
		field string
	}{
		"an app that does not exist": {env.SetVariable(t.Context(), cloud.NewID(), "V", "x"), cloud.CodeNotFound, ""},
		"no id of an app":            {env.SetSecret(t.Context(), "x", "S", cloud.Sealed{KeyID: "k"}, 0), cloud.CodeNotFound, ""},
		"a value with U+0000":        {env.SetVariable(t.Context(), app, "V", "x\x00"), cloud.CodeInvalid, "value"},
		"a value that is no UTF-8":   {env.SetVariable(t.Context(), app, "V", "\xff"), cloud.CodeInvalid, "value"},
		"a name with U+0000":         {env.SetVariable(t.Context(), app, "V\x00", "x"), cloud.CodeInvalid, "name"},
	} {
		wantCode(t, c.err, c.code)
		if e, ok := errors.AsType[*cloud.Error](c.err); !ok || e.Field != c.field {
			t.Errorf("%s: %v, want it about %q", name, c.err, c.field)
		}
	}
	for _, id := range []string{cloud.NewID(), "x", ""} {
		_, found, err := env.Secret(t.Context(), id, "S")
		must(t, err)
		entries, err := env.Secrets(t.Context(), id)
		must(t, err)
		deleted, err := env.DeleteVariable(t.Context(), id, "V")
		must(t, err)
		if found || deleted || len(entries) > 0 {
			t.Errorf("there is something in the app %q", id)
		}
	}
}

func TestEnv_DeletedApp(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	env := postgres.NewEnv(pool, nil)
	app, other := createApp(t, pool, "app").ID, createApp(t, pool, "other").ID
	for _, id := range []string{app, other} {
		must(t, env.SetVariable(t.Context(), id, "V", "x"))
		must(t, env.SetSecret(t.Context(), id, "S", cloud.Sealed{KeyID: "key of " + id, Box: []byte("box")}, 3))
	}
	deleteApp(t, pool, app)
	keys, err := env.KeyIDs(t.Context())
	must(t, err)
	equal(t, keys, []string{"key of " + other})
	var rows int
	must(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM app_env`).Scan(&rows))
	equal(t, rows, 2)
}

func TestEnv_Watched(t *testing.T) {
	t.Parallel()
	url := cloudtest.URL(t)
	pool, others := cloudtest.Pool(t, url), cloudtest.Pool(t, url)
	env := postgres.NewEnv(others, func() time.Time { return noon })
	a, b := createApp(t, others, "a").ID, createApp(t, others, "b").ID
	connected, changed, _, _ := watch(t, pool)
	<-connected
	must(t, env.SetVariable(t.Context(), a, "V", "x"))
	equal(t, <-changed, a)
	must(t, env.SetSecret(t.Context(), b, "S", cloud.Sealed{KeyID: "k", Box: []byte("box")}, 1))
	equal(t, <-changed, b)
	wantCode(t, env.SetVariable(t.Context(), b, "S", "x"), cloud.CodeConflict)
	_, err := env.DeleteSecret(t.Context(), a, "V") // no such secret
	must(t, err)
	_, err = env.DeleteVariable(t.Context(), a, "V")
	must(t, err)
	equal(t, <-changed, a) // and nothing of what changed nothing
	_, err = env.DeleteSecret(t.Context(), b, "S")
	must(t, err)
	equal(t, <-changed, b)
}
