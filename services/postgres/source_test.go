package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
)

func TestSource_Load(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewApps(pool, func() time.Time { return noon })
	source := postgres.NewSource(pool, cloud.DefaultLimits, nil)
	empty, err := s.CreateApp(t.Context(), cloud.App{Slug: "empty"}, "")
	must(t, err)
	app, err := s.CreateApp(t.Context(), cloud.App{Slug: "old"}, "")
	must(t, err)
	want := cloud.AppState{FormerSlugs: []string{"old"}}
	must(t, change(t, s, app.ID, func(tx manager.AppTx) error {
		ctx := t.Context()
		must(t, tx.Rename(ctx, "new", "New"))
		want.App, err = tx.App(ctx)
		must(t, err)
		d, err := tx.AddDomain(ctx, "shop.example.com")
		must(t, err)
		_, err = tx.SaveScript(ctx, cloud.Script{Name: "lib", Kind: cloud.Module, Language: cloud.JavaScript}, nil, "ann")
		must(t, err)
		sc, err := tx.SaveScript(ctx, cloud.Script{Name: "s", Kind: cloud.Endpoint, Language: cloud.JavaScript, Limits: cloud.Limits{Wall: time.Second}}, testBuild("x", "lib"), "ann")
		must(t, err)
		r, err := tx.AddRoute(ctx, cloud.Route{ScriptID: sc.ID, Method: "GET", Path: "/", Mode: cloud.Sync})
		must(t, err)
		limits := cloud.DefaultLimits
		limits.Wall = time.Second
		want.Domains, want.Routes = []cloud.Domain{d}, []cloud.Route{r}
		want.Scripts = []cloud.Runnable{{ID: sc.ID, AppID: app.ID, Name: "s", Version: 1, Limits: limits, Build: testBuild("x", "lib")}}
		return nil
	}))
	all := loadAll(t, source)
	equal(t, all, []cloud.AppState{{App: empty}, want})
	one, ok, err := source.LoadApp(t.Context(), app.ID)
	must(t, err)
	equal(t, ok, true)
	equal(t, one, want)
	for _, id := range []string{cloud.NewID(), "x", ""} {
		_, ok, err := source.LoadApp(t.Context(), id)
		must(t, err)
		equal(t, ok, false)
	}
}

// loadAll is what the source gives to one who begins to watch.
func loadAll(t *testing.T, source *postgres.Source) (all []cloud.AppState) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	must(t, source.Watch(ctx, func(load func() ([]cloud.AppState, error)) (err error) {
		all, err = load()
		return err
	}, func(string) error { return nil }, cancel))
	return all
}

// watch runs Watch in the background and returns what it reports.
func watch(t *testing.T, pool *pgxpool.Pool) (connected <-chan struct{}, changed <-chan string, ended <-chan error, cancel func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	a, b, c := make(chan struct{}, 1), make(chan string, 100), make(chan error, 1)
	go func() {
		c <- postgres.NewSource(pool, cloud.DefaultLimits, nil).Watch(ctx, func(func() ([]cloud.AppState, error)) error { a <- struct{}{}; return nil }, func(id string) error { b <- id; return nil }, func() {})
	}()
	return a, b, c, stop
}

func TestSource_Watch(t *testing.T) {
	t.Parallel()
	url := cloudtest.URL(t)
	pool, others := cloudtest.Pool(t, url), cloudtest.Pool(t, url)
	s := postgres.NewApps(others, nil)

	for range 2 { // the second time after the connection was lost
		connected, changed, ended, cancel := watch(t, pool)
		<-connected
		a := createApp(t, others, "a")
		equal(t, <-changed, a.ID)
		must(t, change(t, s, a.ID, func(tx manager.AppTx) error { return tx.Rename(t.Context(), "b", "B") }))
		equal(t, <-changed, a.ID)
		c := createApp(t, others, "a") // takes the former slug of the first
		equal(t, map[string]bool{<-changed: true, <-changed: true}, map[string]bool{a.ID: true, c.ID: true})
		if err := change(t, s, a.ID, func(manager.AppTx) error { return context.Canceled }); err == nil {
			t.Fatal("a change that fails succeeded")
		}
		must(t, change(t, s, c.ID, func(tx manager.AppTx) error { return tx.Delete(t.Context()) }))
		equal(t, <-changed, c.ID) // nothing of the change that failed
		must(t, change(t, s, a.ID, func(tx manager.AppTx) error { return tx.Delete(t.Context()) }))
		equal(t, <-changed, a.ID)

		_, err := others.Exec(t.Context(), `
			SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
		must(t, err)
		wantCode(t, <-ended, cloud.CodeUnavailable)
		cancel()
	}
	t.Run("the end of the context is no error", func(t *testing.T) {
		connected, _, ended, cancel := watch(t, pool)
		<-connected
		cancel()
		must(t, <-ended)
	})
}
