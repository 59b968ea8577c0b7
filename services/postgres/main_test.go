package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, cloudtest.LeakOptions()...) }

func createApp(t testing.TB, pool *pgxpool.Pool, slug string) cloud.App {
	t.Helper()
	app, err := postgres.NewApps(pool, nil).CreateApp(t.Context(), cloud.App{Slug: slug, Name: slug}, "")
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func wantCode(t testing.TB, err error, want cloud.Code) {
	t.Helper()
	if cloud.CodeOf(err) != want {
		t.Fatalf("error %v, want code %q", err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func deleteApp(t testing.TB, pool *pgxpool.Pool, id string) {
	t.Helper()
	must(t, change(t, postgres.NewApps(pool, nil), id, func(tx manager.AppTx) error { return tx.Delete(t.Context()) }))
}
