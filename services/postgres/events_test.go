package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
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

// fill enqueues deliveries of an app, due at noon.
func fill(t *testing.T, store *postgres.Events, app string, n int) {
	t.Helper()
	for i := range n {
		must(t, store.Enqueue(t.Context(), cloud.Delivery{
			EventID: cloud.NewID(), AppID: app, ScriptID: cloud.NewID(), Kind: cloud.EventHTTP, Retry: cloud.DefaultRetry,
			Payload: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i)), At: noon, DueAt: noon,
		}))
	}
}

func claimAll(t *testing.T, store *postgres.Events, now time.Time) []cloud.Delivery {
	t.Helper()
	claimed, err := store.Claim(t.Context(), events.Claim{Now: now, Until: now.Add(time.Minute), Limit: 1000, PerApp: 1000})
	must(t, err)
	return claimed
}

func outcomes(ds []cloud.Delivery, fate events.Fate) []events.Outcome {
	all := make([]events.Outcome, len(ds))
	for i, d := range ds {
		all[i] = events.Outcome{Delivery: d, Fate: fate, RetryAt: noon, Reason: cloud.CodeTimeout}
	}
	return all
}

// Claims and renewals change rows in their own pages and touch no index.
func TestEvents_ClaimsAreHot(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Pool(t, cloudtest.URL(t)+"&pool_max_conns=1")
	store := postgres.NewEvents(pool, nil)
	fill(t, store, createApp(t, pool, "app").ID, 200)
	claimed := claimAll(t, store, noon)
	equal(t, len(claimed), 200)
	leases := make([]events.Lease, len(claimed))
	for i, d := range claimed {
		leases[i] = events.Lease{ID: d.ID, Attempt: d.Attempt}
	}
	must(t, store.Renew(t.Context(), leases[:50], noon.Add(time.Hour)))
	var updated, hot int
	_, err := pool.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`)
	must(t, err)
	must(t, pool.QueryRow(t.Context(), `SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'outbox'`).Scan(&updated, &hot))
	equal(t, updated, 250)
	if hot < 200 { // a page that was not cleaned yet may be full of the rows that were
		t.Errorf("%d of %d updates are HOT", hot, updated)
	}
}

// The statements that run all the time go by the indexes, on whatever table their
// plan was made.
func TestEvents_Plans(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	must(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`ANALYZE outbox`, postgres.Dispatching,
			`PREPARE claim (timestamptz, timestamptz, bigint, bigint, uuid[], integer[], bigint[], smallint[]) AS ` + postgres.Claim,
			`PREPARE next_due (bigint[], smallint[], uuid[]) AS ` + postgres.NextDue,
		} {
			if _, err := tx.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		for _, sql := range []string{
			`EXPLAIN EXECUTE claim (now(), now(), 64, 64, '{}', '{}', '{}', '{}')`,
			`EXPLAIN EXECUTE next_due ('{}', '{}', '{}')`,
		} {
			rows, err := tx.Query(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				return err
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			plan := strings.Join(lines, "\n")
			if !strings.Contains(plan, "Index Scan using outbox_due_idx") && !strings.Contains(plan, "Index Only Scan using outbox_due_idx") ||
				strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Bitmap") {
				t.Errorf("%s:\n%s", sql, plan)
			}
		}
		return nil
	}))
}

// What a dispatcher's transactions run under stays with them: others' commits wait
// for the disk.
func TestEvents_SettingsEnd(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Pool(t, cloudtest.URL(t)+"&pool_max_conns=1")
	store := postgres.NewEvents(pool, nil)
	settings := func() (all []string) {
		t.Helper()
		var commit, scan, plans string
		must(t, pool.QueryRow(t.Context(), `SELECT current_setting('synchronous_commit'), current_setting('enable_seqscan'), current_setting('plan_cache_mode')`).Scan(&commit, &scan, &plans))
		return []string{commit, scan, plans}
	}
	want := []string{"on", "on", "auto"}
	equal(t, settings(), want)
	fill(t, store, createApp(t, pool, "app").ID, 1)
	claimed := claimAll(t, store, noon)
	_, _, err := store.NextDue(t.Context(), true, nil, nil)
	must(t, err)
	_, err = store.FireSchedules(t.Context(), noon, 1, events.Next)
	must(t, err)
	_, err = store.Settle(t.Context(), noon, outcomes(claimed, events.Done))
	must(t, err)
	equal(t, settings(), want)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = store.Claim(canceled, events.Claim{Now: noon, Until: noon, Limit: 1, PerApp: 1})
	if err == nil {
		t.Error("a claim that was cut off succeeded")
	}
	equal(t, settings(), want)
}

// Two processes on one database deliver everything once, while it comes in.
func TestEvents_TwoProcesses(t *testing.T) {
	t.Parallel()
	url := cloudtest.URL(t)
	const apps, each = 3, 150
	var mu sync.Mutex
	delivered := map[string]int{} // by event
	by := map[int]int{}           // by process
	all := make(chan struct{})
	var stores []*postgres.Events
	for process := range 2 {
		pool := cloudtest.Pool(t, url)
		var d *events.Dispatcher
		emitter := postgres.NewEmitter(postgres.EmitterConfig{Poke: func() { d.Poke() }})
		store := postgres.NewEvents(pool, emitter)
		d = events.New(events.Config{
			Store: store, Capacity: 8,
			Run: func(_, _ context.Context, delivery cloud.Delivery) (events.Result, error) {
				mu.Lock()
				defer mu.Unlock()
				delivered[delivery.EventID]++
				by[process]++
				if len(delivered) == apps*each && delivered[delivery.EventID] == 1 {
					close(all)
				}
				return events.Result{}, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- postgres.NewSource(pool, cloud.DefaultLimits, emitter).Watch(ctx, func(func() ([]cloud.AppState, error)) error { return nil }, func(string) error { return nil }, d.Poke)
		}()
		d.Start()
		t.Cleanup(func() {
			cancel()
			must(t, <-ended)
			d.Stop(context.WithoutCancel(t.Context()))
		})
		stores = append(stores, store)
	}
	pool := cloudtest.Pool(t, url)
	for i := range apps {
		fill(t, stores[i%2], createApp(t, pool, fmt.Sprint("app-", i)).ID, each)
	}
	<-all
	mu.Lock()
	defer mu.Unlock()
	for event, n := range delivered {
		if n != 1 {
			t.Errorf("event %s was delivered %d times", event, n)
		}
	}
	if by[0] == 0 || by[1] == 0 {
		t.Errorf("one process did all: %v", by)
	}
}

// An app that is deleted takes its deliveries along, also those that run.
func TestEvents_AppDeleted(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	store := postgres.NewEvents(pool, nil)
	app, other := createApp(t, pool, "app").ID, createApp(t, pool, "other").ID
	fill(t, store, app, 3)
	fill(t, store, other, 1)
	claimed := claimAll(t, store, noon)
	equal(t, len(claimed), 4)
	deleteApp(t, pool, app)
	must(t, store.Renew(t.Context(), []events.Lease{{ID: claimed[0].ID, Attempt: 1}}, noon))
	dead := outcomes(claimed, events.Dead)
	dead[0].Fate, dead[1].Fate = events.Done, events.Retry
	_, err := store.Settle(t.Context(), noon, dead)
	must(t, err)
	depth, err := store.Depth(t.Context())
	must(t, err)
	equal(t, depth, events.Depth{Waiting: map[string]int{}, DeadLetters: map[string]int{other: 1}})
	wantCode(t, store.Enqueue(t.Context(), cloud.Delivery{EventID: cloud.NewID(), AppID: app, ScriptID: cloud.NewID(), Payload: json.RawMessage(`{}`)}), cloud.CodeNotFound)
}

func TestEvents_FireSchedules(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	f, store := eventsFixture{t, pool}, postgres.NewEvents(pool, nil)
	app := f.App("app")
	script, on, off := f.Script(app, "script"), f.User("on"), f.User("off")
	_, err := pool.Exec(t.Context(), `UPDATE users SET active = false WHERE id = $1`, off)
	must(t, err)
	var triggers []cloud.Trigger
	for _, user := range []string{on, off} {
		triggers = append(triggers, addTrigger(t, pool, cloud.Trigger{
			AppID: app, ScriptID: script, UserID: user, Kind: cloud.EventCron, Enabled: true,
			Filter: cloud.TriggerFilter{Schedule: "@hourly"}, Retry: cloud.DefaultRetry, NextAt: noon.Add(-time.Hour),
		}))
	}
	n, err := store.FireSchedules(t.Context(), noon, 10, events.Next)
	must(t, err)
	equal(t, n, 2)
	got := claimAll(t, store, noon)
	equal(t, len(got), 1) // that of the inactive user goes on without a delivery
	equal(t, []any{got[0].TriggerID, got[0].UserID, got[0].Depth, got[0].At}, []any{triggers[0].ID, on, 0, noon})
	equal(t, string(got[0].Payload), string(events.CronPayload(triggers[0].Filter, noon.Add(-time.Hour))))
	for _, tr := range triggers {
		equal(t, f.Trigger(app, tr.ID).NextAt, noon.Add(time.Hour))
	}
}

func TestEvents_ReplayAll(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	store := postgres.NewEvents(pool, nil)
	app := createApp(t, pool, "app").ID
	const n = 2*postgres.ReplayBatch + 1
	_, err := pool.Exec(t.Context(), `
		INSERT INTO dead_letters (app_id, id, event_id, script_id, script_name, kind, op, payload, depth, attempts, max_attempts, backoff, base_ms, cap_ms, at, reason, died_at)
		SELECT $1, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 's', 'kv', 'set', '{}', 1, 5, 5, 'constant', 1000, 1000, $2, 'timeout',
		       CASE WHEN n <= $3 THEN $2 ELSE $2::timestamptz + interval '1 s' END
		FROM generate_series(1, $3 + 1) n`, app, noon, n)
	must(t, err)
	replayed, err := store.ReplayAll(t.Context(), cloud.DeadLetterFilter{AppID: app}, "ann", 0, noon)
	must(t, err)
	equal(t, replayed, n) // but not the one that died after it began
	depth, err := store.Depth(t.Context())
	must(t, err)
	equal(t, depth, events.Depth{Waiting: map[string]int{app: n}, EarliestDue: noon, DeadLetters: map[string]int{app: 1}})
}

// Attempts that are in the log tell what became of an event when nothing else does.
func TestEvents_State(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	store, log := postgres.NewEvents(pool, nil), postgres.NewExecutions(pool)
	app := createApp(t, pool, "app").ID
	fill(t, store, app, 1)
	d := claimAll(t, store, noon)[0]
	attempt := func(n, status int, code cloud.Code) cloud.Execution {
		t.Helper()
		e := cloud.Execution{
			ID: cloud.NewID(), AppID: app, ScriptID: d.ScriptID, Trigger: "async", EventID: d.EventID, Attempt: n, Depth: 1, CauseID: cloud.NewID(),
			Status: status, Code: code, StartedAt: noon,
		}
		must(t, log.AppendExecutions(t.Context(), []cloud.Execution{e}))
		return e
	}
	want := func(want cloud.EventState) {
		t.Helper()
		want.ID, want.AppID = d.EventID, app
		got, err := store.State(t.Context(), d.EventID)
		must(t, err)
		equal(t, got, want)
	}
	want(cloud.EventState{Status: "running", Attempts: 1})
	first := attempt(1, 500, "")
	_, err := store.Settle(t.Context(), noon, []events.Outcome{{Delivery: d, Fate: events.Retry, RetryAt: noon.Add(time.Second), Reason: cloud.CodeScriptThrew}})
	must(t, err)
	want(cloud.EventState{Status: "retrying", Attempts: 1, NextAt: noon.Add(time.Second), Executions: []cloud.Execution{first}})
	again := claimAll(t, store, noon.Add(time.Second))
	second := attempt(2, 200, "")
	want(cloud.EventState{Status: "running", Attempts: 2, Executions: []cloud.Execution{first, second}})
	_, err = store.Settle(t.Context(), noon, outcomes(again, events.Done))
	must(t, err)
	want(cloud.EventState{Status: "succeeded", Attempts: 2, Executions: []cloud.Execution{first, second}})
	third := attempt(3, 0, cloud.CodeTimeout) // of an event whose dead letter is swept
	want(cloud.EventState{Status: "dead", Attempts: 3, Executions: []cloud.Execution{first, second, third}})
	for _, id := range []string{cloud.NewID(), "x", ""} {
		_, err := store.State(t.Context(), id)
		wantCode(t, err, cloud.CodeNotFound)
	}
}

// TestEvents_Full shows that async routes cannot fill the disk, and that what is no
// request still gets in.
func TestEvents_Full(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	f := eventsFixture{t, pool}
	app, other := f.App("shop"), f.App("blog")
	request := func(app string) cloud.Delivery {
		return cloud.Delivery{
			EventID: cloud.NewID(), AppID: app, ScriptID: cloud.NewID(), Kind: cloud.EventHTTP, Payload: json.RawMessage(`{}`),
			Retry: cloud.DefaultRetry, At: noon, DueAt: noon,
		}
	}
	store := postgres.NewEvents(pool, nil)
	must(t, store.Enqueue(t.Context(), request(app)))
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (app_id, event_id, script_id, kind, op, payload, depth, max_attempts, backoff, base_ms, cap_ms, at, due_at)
		SELECT app_id, gen_random_uuid(), script_id, kind, op, payload, depth, max_attempts, backoff, base_ms, cap_ms, at, due_at
		FROM outbox CROSS JOIN generate_series(2, $1)`, cloud.MaxWaiting-1)
	must(t, err)
	must(t, store.Enqueue(t.Context(), request(app)))
	if err := store.Enqueue(t.Context(), request(app)); cloud.CodeOf(err) != cloud.CodeBusy {
		t.Errorf("one request too many: %v, want busy", err)
	}
	must(t, store.Enqueue(t.Context(), request(other)))
	fired := request(app)
	fired.Kind = cloud.EventKV
	must(t, store.Enqueue(t.Context(), fired))
}
