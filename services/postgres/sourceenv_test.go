package postgres_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

func TestSource_Env(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	env := postgres.NewEnv(pool, nil)
	a, b, c := createApp(t, pool, "a"), createApp(t, pool, "b"), createApp(t, pool, "c")
	sealed := cloud.Sealed{KeyID: "k1", Box: []byte("a box")}
	must(t, env.SetSecret(t.Context(), a.ID, "TOKEN", sealed, 5))
	must(t, env.SetVariable(t.Context(), a.ID, "NOTHING", ""))
	must(t, env.SetVariable(t.Context(), a.ID, "GREETING", "hello"))
	must(t, env.SetVariable(t.Context(), a.ID, "_", "x"))
	must(t, env.SetSecret(t.Context(), c.ID, "TOKEN", sealed, 5))
	envA := []cloud.EnvValue{{Name: "GREETING", Value: "hello"}, {Name: "NOTHING"}, {Name: "TOKEN", Secret: &sealed}, {Name: "_", Value: "x"}}

	source := postgres.NewSource(pool, cloud.DefaultLimits, nil)
	equal(t, loadAll(t, source), []cloud.AppState{{App: a, Env: envA}, {App: b}, {App: c, Env: []cloud.EnvValue{{Name: "TOKEN", Secret: &sealed}}}})
	state, _, err := source.LoadApp(t.Context(), a.ID)
	must(t, err)
	equal(t, state, cloud.AppState{App: a, Env: envA})
}
