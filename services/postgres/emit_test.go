package postgres_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
)

// emission is an app with a script, whose kv store emits.
type emission struct {
	eventsFixture
	app, script, user string
	store             *postgres.KV
	events            *postgres.Events
	pokes             atomic.Int64
	log               bytes.Buffer
}

func newEmission(t *testing.T) *emission {
	t.Helper()
	pool := cloudtest.Database(t)
	e := &emission{eventsFixture: eventsFixture{t, pool}}
	emitter := postgres.NewEmitter(postgres.EmitterConfig{Poke: func() { e.pokes.Add(1) }, Logger: slog.New(slog.NewTextHandler(&e.log, nil))})
	e.store, e.events = postgres.NewKV(pool, emitter), postgres.NewEvents(pool, emitter)
	e.app, e.user = e.App("app"), e.User("ann")
	e.script = e.Script(e.app, "script")
	return e
}

// trigger adds an enabled kv trigger.
func (e *emission) trigger(filter cloud.TriggerFilter) cloud.Trigger {
	e.Helper()
	return addTrigger(e.TB, e.pool, cloud.Trigger{AppID: e.app, ScriptID: e.script, UserID: e.user, Kind: cloud.EventKV, Enabled: true, Filter: filter, Retry: cloud.DefaultRetry})
}

func (e *emission) set(cause cloud.Cause, collection, key, value string) {
	e.Helper()
	_, err := e.store.Set(e.Context(), cause, e.app, collection, key, json.RawMessage(value), time.Time{}, nil, noon)
	must(e.TB, err)
}

// take claims all that is due at noon and settles it.
func (e *emission) take() []cloud.Delivery {
	e.Helper()
	claimed, err := e.events.Claim(e.Context(), events.Claim{Now: noon, Until: noon.Add(time.Minute), Limit: 1000, PerApp: 1000})
	must(e.TB, err)
	outcomes := make([]events.Outcome, len(claimed))
	for i, d := range claimed {
		outcomes[i].Delivery = d
	}
	_, err = e.events.Settle(e.Context(), noon, outcomes)
	must(e.TB, err)
	return claimed
}

// takeOne is take of what must be one delivery.
func (e *emission) takeOne() cloud.Delivery {
	e.Helper()
	taken := e.take()
	if len(taken) != 1 {
		e.Fatalf("%d deliveries, want 1", len(taken))
	}
	return taken[0]
}

func TestKV_Emits(t *testing.T) {
	t.Parallel()
	t.Run("what a trigger's delivery carries", func(t *testing.T) {
		t.Parallel()
		e := newEmission(t)
		policy := cloud.RetryPolicy{Attempts: 3, Backoff: cloud.Linear, Base: 150 * time.Millisecond, Cap: 24 * time.Hour}
		trigger := addTrigger(t, e.pool, cloud.Trigger{
			AppID: e.app, ScriptID: e.script, UserID: e.user, Kind: cloud.EventKV, Enabled: true,
			Scopes: []cloud.Scope{cloud.ScopeScriptRead}, Retry: policy,
		})
		cause := cloud.Cause{ExecutionID: cloud.NewID(), Depth: 2}
		e.set(cause, "orders", "é\"1", `{"n": 1.50, "s": ["a"]}`)
		got := e.takeOne()
		equal(t, cloud.IsID(got.EventID), true)
		equal(t, value(t, got.Payload), value(t, []byte(`{"collection":"orders","key":"é\"1","value":{"n":1.50,"s":["a"]}}`)))
		got.Payload = nil
		equal(t, got, cloud.Delivery{
			ID: got.ID, EventID: got.EventID, AppID: e.app, TriggerID: trigger.ID, ScriptID: e.script, Kind: cloud.EventKV, Op: "set",
			UserID: e.user, Scopes: trigger.Scopes, Depth: 3, CauseID: cause.ExecutionID, Attempt: 1, Retry: policy, At: noon, DueAt: noon,
		})
		equal(t, e.pokes.Load(), int64(1))
	})
	t.Run("each change its event", func(t *testing.T) {
		t.Parallel()
		e := newEmission(t)
		e.trigger(cloud.TriggerFilter{})
		payload := func() string {
			t.Helper()
			d := e.takeOne()
			equal(t, []any{d.Depth, d.CauseID}, []any{1, ""})
			compact := &bytes.Buffer{}
			must(t, json.Compact(compact, d.Payload))
			return d.Op + " " + compact.String()
		}
		e.set(cloud.Cause{}, "c", "k", `5`)
		equal(t, payload(), `set {"collection":"c","key":"k","value":5}`)
		_, err := e.store.Increment(t.Context(), cloud.Cause{}, e.app, "c", "k", 1.5, noon)
		must(t, err)
		equal(t, payload(), `set {"collection":"c","key":"k","value":6.5}`)
		version := int64(2)
		_, err = e.store.Set(t.Context(), cloud.Cause{}, e.app, "c", "k", json.RawMessage(`null`), time.Time{}, &version, noon)
		must(t, err)
		equal(t, payload(), `set {"collection":"c","key":"k","value":null}`)
		_, err = e.store.Delete(t.Context(), cloud.Cause{}, e.app, "c", "k", noon)
		must(t, err)
		equal(t, payload(), `delete {"collection":"c","key":"k"}`)
		none := int64(0)
		_, err = e.store.Set(t.Context(), cloud.Cause{}, e.app, "c", "k", json.RawMessage(`"x"`), noon.Add(time.Second), &none, noon)
		must(t, err)
		equal(t, payload(), `set {"collection":"c","key":"k","value":"x"}`)

		// What changes nothing has none.
		_, err = e.store.Set(t.Context(), cloud.Cause{}, e.app, "c", "k", json.RawMessage(`1`), time.Time{}, &version, noon)
		wantCode(t, err, cloud.CodeConflict)
		_, err = e.store.Increment(t.Context(), cloud.Cause{}, e.app, "c", "k", 1, noon)
		wantCode(t, err, cloud.CodeInvalid)
		for _, key := range []string{"absent", "k"} { // which has expired
			was, err := e.store.Delete(t.Context(), cloud.Cause{}, e.app, "c", key, noon.Add(time.Minute))
			must(t, err)
			equal(t, was, false)
		}
		equal(t, len(e.take()), 0)
		equal(t, e.pokes.Load(), int64(5))
	})
	t.Run("a value that would make it too large is left out", func(t *testing.T) {
		t.Parallel()
		e := newEmission(t)
		e.trigger(cloud.TriggerFilter{})
		for size, want := range map[int]bool{cloud.MaxEventPayload - 100: false, cloud.MaxKVValue - 2: true} {
			e.set(cloud.Cause{}, "c", "k", `"`+strings.Repeat("x", size)+`"`)
			var payload struct {
				Collection, Key string
				Value           *string
				ValueOmitted    bool
			}
			d := e.takeOne()
			must(t, json.Unmarshal(d.Payload, &payload))
			equal(t, []any{payload.Collection, payload.Key, payload.Value == nil, payload.ValueOmitted}, []any{"c", "k", want, want})
			if len(d.Payload) > cloud.MaxEventPayload {
				t.Errorf("%d bytes", len(d.Payload))
			}
		}
	})
	t.Run("one event for all triggers", func(t *testing.T) {
		t.Parallel()
		e := newEmission(t)
		first, second := e.trigger(cloud.TriggerFilter{}), e.trigger(cloud.TriggerFilter{Key: "k"})
		e.set(cloud.Cause{}, "c", "k", `1`)
		got := e.take()
		equal(t, len(got), 2)
		equal(t, got[0].EventID, got[1].EventID)
		equal(t, map[string]bool{got[0].TriggerID: true, got[1].TriggerID: true}, map[string]bool{first.ID: true, second.ID: true})
	})
	t.Run("deeper than allowed: not delivered, and logged", func(t *testing.T) {
		t.Parallel()
		e := newEmission(t)
		e.set(cloud.Cause{Depth: cloud.MaxDepth}, "c", "k", `1`) // nobody would have got it
		equal(t, e.log.String(), "")
		e.trigger(cloud.TriggerFilter{})
		e.set(cloud.Cause{Depth: cloud.MaxDepth - 1}, "c", "k", `1`)
		equal(t, e.takeOne().Depth, cloud.MaxDepth)
		equal(t, e.log.String(), "")
		e.set(cloud.Cause{Depth: cloud.MaxDepth}, "c", "k", `2`)
		equal(t, len(e.take()), 0)
		equal(t, e.pokes.Load(), int64(1))
		for _, want := range []string{"level=WARN", "app_id=" + e.app, "kind=kv", "depth=9"} {
			if !strings.Contains(e.log.String(), want) {
				t.Errorf("log %q has no %s", e.log.String(), want)
			}
		}
		got, ok, err := e.store.Get(t.Context(), e.app, "c", "k", noon)
		must(t, err)
		equal(t, []any{ok, string(got.Value)}, []any{true, "2"}) // the change itself is made
	})
	t.Run("only of triggers that may run", func(t *testing.T) {
		t.Parallel()
		e := newEmission(t)
		other := e.App("other")
		theirs, gone, inactive := e.Script(other, "theirs"), e.User("gone"), e.User("inactive")
		for _, tr := range []cloud.Trigger{
			{AppID: other, ScriptID: theirs, UserID: e.user, Kind: cloud.EventKV, Enabled: true},
			{AppID: e.app, ScriptID: e.script, UserID: e.user, Kind: cloud.EventKV},
			{AppID: e.app, ScriptID: e.script, UserID: e.user, Kind: cloud.EventDeadLetter, Enabled: true},
			{AppID: e.app, ScriptID: e.script, Kind: cloud.EventKV, Enabled: true},
			{AppID: e.app, ScriptID: e.script, UserID: gone, Kind: cloud.EventKV, Enabled: true},
			{AppID: e.app, ScriptID: e.script, UserID: inactive, Kind: cloud.EventKV, Enabled: true},
		} {
			tr.Retry = cloud.DefaultRetry
			addTrigger(t, e.pool, tr)
		}
		_, err := e.pool.Exec(t.Context(), `UPDATE users SET active = false WHERE id = $1`, inactive)
		must(t, err)
		_, err = e.pool.Exec(t.Context(), `DELETE FROM users WHERE id = $1`, gone)
		must(t, err)
		e.set(cloud.Cause{}, "c", "k", `1`)
		equal(t, len(e.take()), 0)
		equal(t, e.pokes.Load(), int64(0))
	})
	t.Run("as triggers are at the moment of the change", func(t *testing.T) {
		t.Parallel()
		e := newEmission(t)
		apps := postgres.NewApps(e.pool, nil)
		delivered := func() int {
			t.Helper()
			e.set(cloud.Cause{}, "c", "k", `1`)
			return len(e.take())
		}
		for range 2 {
			equal(t, delivered(), 0)
			tr := e.trigger(cloud.TriggerFilter{})
			equal(t, delivered(), 1)
			enable := func(on bool) {
				t.Helper()
				must(t, change(t, apps, e.app, func(tx manager.AppTx) error {
					tr.Enabled = on
					_, err := tx.UpdateTrigger(t.Context(), tr)
					return err
				}))
			}
			enable(false)
			equal(t, delivered(), 0)
			enable(true)
			equal(t, delivered(), 1)
			must(t, change(t, apps, e.app, func(tx manager.AppTx) error { return tx.DeleteTrigger(t.Context(), tr.ID) }))
		}
	})
}

func TestKV_Filters(t *testing.T) {
	t.Parallel()
	e := newEmission(t)
	for _, test := range []struct {
		filter          cloud.TriggerFilter
		collection, key string
		want            bool
	}{
		{cloud.TriggerFilter{}, "c", "k", true},
		{cloud.TriggerFilter{Collection: "*", Key: "*"}, "c", "k", true},
		{cloud.TriggerFilter{Collection: "c"}, "c", "k", true},
		{cloud.TriggerFilter{Collection: "c"}, "C", "k", false},
		{cloud.TriggerFilter{Collection: "c"}, "cc", "k", false},
		{cloud.TriggerFilter{Collection: "c", Key: "x"}, "c", "k", false},
		{cloud.TriggerFilter{Collection: "x", Key: "k"}, "c", "k", false},
		{cloud.TriggerFilter{Key: "user:*"}, "c", "user:7", true},
		{cloud.TriggerFilter{Key: "user:*"}, "c", "user:", true},
		{cloud.TriggerFilter{Key: "user:*"}, "c", "a user:7", false},
		{cloud.TriggerFilter{Key: "*:7"}, "c", "user:7", true},
		{cloud.TriggerFilter{Key: "a*b*c"}, "c", "a--b\n--c", true},
		{cloud.TriggerFilter{Key: "a*b*c"}, "c", "acb", false},
		{cloud.TriggerFilter{Key: "?"}, "c", "é", true},
		{cloud.TriggerFilter{Key: "?"}, "c", "😀", true},
		{cloud.TriggerFilter{Key: "?"}, "c", "ab", false},
		{cloud.TriggerFilter{Key: "100%"}, "c", "100%", true},
		{cloud.TriggerFilter{Key: "100%"}, "c", "1000", false},
		{cloud.TriggerFilter{Key: "a_b"}, "c", "a_b", true},
		{cloud.TriggerFilter{Key: "a_b"}, "c", "axb", false},
		{cloud.TriggerFilter{Key: `a\b`}, "c", `a\b`, true},
		{cloud.TriggerFilter{Key: `a\*`}, "c", `a\bc`, true},
		{cloud.TriggerFilter{Key: `a\*`}, "c", `a*`, false},
		{cloud.TriggerFilter{Key: `\%*`}, "c", `\%x`, true},
		{cloud.TriggerFilter{Key: `%_\`}, "c", `%_\`, true},
		{cloud.TriggerFilter{Key: `'; DROP TABLE outbox; --*`}, "c", `'; DROP TABLE outbox; --x`, true},
		{cloud.TriggerFilter{Ops: []string{"set"}}, "c", "k", true},
		{cloud.TriggerFilter{Ops: []string{"delete"}}, "c", "k", false},
		{cloud.TriggerFilter{Ops: []string{"delete", "set"}}, "c", "k", true},
	} {
		tr := e.trigger(test.filter)
		e.set(cloud.Cause{}, test.collection, test.key, `1`)
		if got := len(e.take()) == 1; got != test.want {
			t.Errorf("%+v gets %q %q: %t, want %t", test.filter, test.collection, test.key, got, test.want)
		}
		must(t, change(t, postgres.NewApps(e.pool, nil), e.app, func(tx manager.AppTx) error { return tx.DeleteTrigger(t.Context(), tr.ID) }))
	}
}

// The change and its event are there together, or neither is.
func TestKV_EmitsWithTheChange(t *testing.T) {
	t.Parallel()
	e := newEmission(t)
	e.trigger(cloud.TriggerFilter{})
	count := func() (entries, deliveries int) {
		t.Helper()
		must(t, e.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM kv_entries), (SELECT count(*) FROM outbox)`).Scan(&entries, &deliveries))
		return entries, deliveries
	}
	for _, fault := range []struct{ broken, mended string }{
		{`ALTER TABLE outbox ADD CONSTRAINT fault CHECK (false)`, `ALTER TABLE outbox DROP CONSTRAINT fault`},
		{`ALTER TABLE kv_entries ADD CONSTRAINT fault CHECK (false)`, `ALTER TABLE kv_entries DROP CONSTRAINT fault`},
	} {
		_, err := e.pool.Exec(t.Context(), fault.broken)
		must(t, err)
		if _, err := e.store.Set(t.Context(), cloud.Cause{}, e.app, "c", "k", json.RawMessage(`1`), time.Time{}, nil, noon); err == nil {
			t.Fatal("a set that cannot be stored succeeded")
		}
		entries, deliveries := count()
		equal(t, []int{entries, deliveries}, []int{0, 0})
		_, err = e.pool.Exec(t.Context(), fault.mended)
		must(t, err)
	}
	equal(t, e.pokes.Load(), int64(0))
	e.set(cloud.Cause{}, "c", "k", `1`)
	entries, deliveries := count()
	equal(t, []int{entries, deliveries}, []int{1, 1})
}

// deafConn loses the next answer once it is told to, and the connection with it.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (c deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.deaf.CompareAndSwap(true, false) {
		return 0, errors.Join(io.ErrUnexpectedEOF, c.Close())
	}
	return n, err
}

// A change whose answer is lost may have been made: the dispatcher is poked, since
// nobody else tells it.
func TestKV_AnswerLost(t *testing.T) {
	t.Parallel()
	url := cloudtest.URL(t)
	f := eventsFixture{t, cloudtest.Pool(t, url)}
	app := f.App("app")
	addTrigger(t, f.pool, cloud.Trigger{AppID: app, ScriptID: f.Script(app, "script"), UserID: f.User("ann"), Kind: cloud.EventKV, Enabled: true, Retry: cloud.DefaultRetry})
	cfg, err := pgxpool.ParseConfig(url)
	must(t, err)
	cfg.MaxConns = 1
	var deaf atomic.Bool
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return deafConn{conn, &deaf}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	must(t, err)
	t.Cleanup(pool.Close)
	var pokes atomic.Int64
	store := postgres.NewKV(pool, postgres.NewEmitter(postgres.EmitterConfig{Poke: func() { pokes.Add(1) }}))
	set := func(key string) error {
		_, err := store.Set(t.Context(), cloud.Cause{}, app, "c", key, json.RawMessage(`1`), time.Time{}, nil, noon)
		return err
	}
	must(t, set("warm")) // and prepares the statement
	equal(t, pokes.Load(), int64(1))
	deaf.Store(true)
	wantCode(t, set("lost"), cloud.CodeUnavailable)
	depth, err := postgres.NewEvents(f.pool, nil).Depth(t.Context())
	must(t, err)
	equal(t, depth.Waiting, map[string]int{app: 2})
	equal(t, pokes.Load(), int64(2))
}

// statements counts what is sent to a database.
type statements struct{ n atomic.Int64 }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.n.Add(1)
	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestKV_Statements(t *testing.T) {
	t.Parallel()
	url := cloudtest.URL(t)
	f := eventsFixture{t, cloudtest.Pool(t, url)}
	app := f.App("app")
	cfg, err := pgxpool.ParseConfig(url)
	must(t, err)
	counted := &statements{}
	cfg.ConnConfig.Tracer = counted
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	must(t, err)
	t.Cleanup(pool.Close)
	store := postgres.NewKV(pool, nil)
	// took is how many statements changes of an entry took.
	took := func() (counts [3]int64) {
		t.Helper()
		before := counted.n.Load()
		_, err := store.Set(t.Context(), cloud.Cause{}, app, "c", "k", json.RawMessage(`1`), time.Time{}, nil, noon)
		must(t, err)
		after := counted.n.Load()
		counts[0], before = after-before, after
		_, err = store.Increment(t.Context(), cloud.Cause{}, app, "c", "k", 1, noon)
		must(t, err)
		after = counted.n.Load()
		counts[1], before = after-before, after
		_, err = store.Delete(t.Context(), cloud.Cause{}, app, "c", "k", noon)
		must(t, err)
		counts[2] = counted.n.Load() - before
		return counts
	}
	equal(t, took(), [3]int64{1, 1, 1})
	addTrigger(t, f.pool, cloud.Trigger{AppID: app, ScriptID: f.Script(app, "script"), UserID: f.User("ann"), Kind: cloud.EventKV, Enabled: true, Retry: cloud.DefaultRetry})
	equal(t, took(), [3]int64{2, 1, 1}) // the first finds out
	equal(t, took(), [3]int64{1, 1, 1})
	_, err = f.pool.Exec(t.Context(), `DELETE FROM triggers`)
	must(t, err)
	equal(t, took(), [3]int64{1, 1, 1})
}

// Another process is notified of what was queued, and of nothing else; the
// process itself is not.
func TestEmitter_Notifies(t *testing.T) {
	t.Parallel()
	url := cloudtest.URL(t)
	pool, others := cloudtest.Pool(t, url), cloudtest.Pool(t, url)
	f := eventsFixture{t, pool}
	app, user := f.App("app"), f.User("ann")
	script := f.Script(app, "script")
	emitter := postgres.NewEmitter(postgres.EmitterConfig{})
	store, outbox := postgres.NewKV(pool, emitter), postgres.NewEvents(pool, emitter)
	theirs, ours := watchDue(t, others, nil), watchDue(t, pool, emitter)
	connected := func(notices <-chan string) { t.Helper(); equal(t, <-notices, "due") }
	connected(theirs)
	connected(ours)
	set := func(key string) {
		t.Helper()
		_, err := store.Set(t.Context(), cloud.Cause{}, app, "c", key, json.RawMessage(`1`), time.Time{}, nil, noon)
		must(t, err)
	}
	mark := func() { // a notification behind all before
		t.Helper()
		must(t, change(t, postgres.NewApps(others, nil), app, func(manager.AppTx) error { return nil }))
	}
	tr := cloud.Trigger{AppID: app, ScriptID: script, UserID: user, Kind: cloud.EventKV, Enabled: true, Retry: cloud.DefaultRetry, Filter: cloud.TriggerFilter{Key: "wanted"}}
	set("wanted")
	added := addTrigger(t, pool, tr)
	equal(t, []string{<-theirs, <-ours}, []string{app, app})
	set("unwanted")
	mark()
	equal(t, []string{<-theirs, <-ours}, []string{app, app})
	set("wanted")
	equal(t, <-theirs, "due")
	mark()
	equal(t, []string{<-theirs, <-ours}, []string{app, app})

	t.Run("also of what is put there otherwise", func(t *testing.T) {
		d := cloud.Delivery{EventID: cloud.NewID(), AppID: app, ScriptID: script, Kind: cloud.EventHTTP, Payload: json.RawMessage(`{}`), Retry: cloud.DefaultRetry, At: noon, DueAt: noon}
		must(t, outbox.Enqueue(t.Context(), d))
		equal(t, <-theirs, "due")
	})
	t.Run("also of dead letters' handlers, and replays", func(t *testing.T) {
		handler := tr
		handler.Kind, handler.Filter = cloud.EventDeadLetter, cloud.TriggerFilter{}
		addTrigger(t, pool, handler)
		equal(t, []string{<-theirs, <-ours}, []string{app, app})
		claimed, err := outbox.Claim(t.Context(), events.Claim{Now: noon, Until: noon.Add(time.Minute), Limit: 1, PerApp: 1})
		must(t, err)
		equal(t, claimed[0].TriggerID, added.ID)
		_, err = outbox.Settle(t.Context(), noon, []events.Outcome{{Delivery: claimed[0], Fate: events.Dead, Reason: cloud.CodeTimeout}})
		must(t, err)
		equal(t, <-theirs, "due")
		n, err := outbox.ReplayAll(t.Context(), cloud.DeadLetterFilter{AppID: app}, "ann", 0, noon)
		must(t, err)
		equal(t, n, 1)
		equal(t, <-theirs, "due")
	})
	t.Run("also of schedules, whoever changes them", func(t *testing.T) {
		cron := tr
		cron.Kind, cron.Filter, cron.NextAt = cloud.EventCron, cloud.TriggerFilter{Schedule: "@hourly"}, noon
		addTrigger(t, pool, cron)
		for _, notices := range []<-chan string{theirs, ours} {
			equal(t, map[string]bool{<-notices: true, <-notices: true}, map[string]bool{app: true, "due": true})
		}
		n, err := outbox.FireSchedules(t.Context(), noon, 10, events.Next)
		must(t, err)
		equal(t, n, 1)
		equal(t, <-theirs, "due")
	})
	mark()
	equal(t, []string{<-theirs, <-ours}, []string{app, app})
}

// watchDue returns what a Source is told: "due", and the ids of apps.
func watchDue(t *testing.T, pool *pgxpool.Pool, own *postgres.Emitter) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	notices, ended := make(chan string, 100), make(chan error, 1)
	go func() {
		ended <- postgres.NewSource(pool, cloud.DefaultLimits, own).Watch(ctx, func(func() ([]cloud.AppState, error)) error { return nil },
			func(id string) error { notices <- id; return nil }, func() { notices <- "due" })
	}()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
	return notices
}

// value is JSON as a value that can be compared whatever its text looks like.
func value(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", text, err))
	}
	return v
}
