package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/events/eventstest"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
)

// eventsFixture makes what events are about in a database.
type eventsFixture struct {
	testing.TB
	pool *pgxpool.Pool
}

func (f eventsFixture) App(slug string) string { return createApp(f.TB, f.pool, slug).ID }

func (f eventsFixture) Script(appID, name string) string {
	f.Helper()
	return addScript(f.TB, f.pool, appID, name).ID
}

func (f eventsFixture) User(name string) string {
	f.Helper()
	id := cloud.NewID()
	_, err := f.pool.Exec(f.Context(), `INSERT INTO users (id, name, role) VALUES ($1, $2, 'member')`, id, name)
	must(f.TB, err)
	return id
}

// SetTrigger adds a trigger, and gives it the id that it has already.
func (f eventsFixture) SetTrigger(t cloud.Trigger) {
	f.Helper()
	added := addTrigger(f.TB, f.pool, t)
	_, err := f.pool.Exec(f.Context(), `UPDATE triggers SET id = $2 WHERE id = $1`, added.ID, t.ID)
	must(f.TB, err)
}

func (f eventsFixture) Trigger(appID, id string) cloud.Trigger {
	f.Helper()
	t, err := postgres.NewApps(f.pool, nil).Trigger(f.Context(), appID, id)
	must(f.TB, err)
	return t
}

func addScript(t testing.TB, pool *pgxpool.Pool, appID, name string) (script cloud.Script) {
	t.Helper()
	must(t, change(t, postgres.NewApps(pool, nil), appID, func(tx manager.AppTx) (err error) {
		script, err = tx.SaveScript(t.Context(), cloud.Script{Name: name, Kind: cloud.Endpoint, Language: cloud.JavaScript}, testBuild(name), "ann")
		return err
	}))
	return script
}

func addTrigger(t testing.TB, pool *pgxpool.Pool, trigger cloud.Trigger) (added cloud.Trigger) {
	t.Helper()
	must(t, postgres.NewApps(pool, nil).ChangeApp(t.Context(), trigger.AppID, func(ctx context.Context, tx manager.AppTx) (err error) {
		added, err = tx.AddTrigger(ctx, trigger)
		return err
	}))
	return added
}

func TestEvents(t *testing.T) {
	t.Parallel()
	eventstest.TestStore(t, func(t *testing.T) (events.Store, eventstest.Fixture) {
		t.Helper()
		pool := cloudtest.Database(t)
		return postgres.NewEvents(pool, nil), eventsFixture{t, pool}
	})
}
