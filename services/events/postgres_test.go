package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/postgres/cluster"
)

// site is a database with an app whose script gets every event of kv.
type site struct {
	*testing.T
	url                 string
	pool                *pgxpool.Pool
	store               *postgres.Events
	app, script, author string
	retry               cloud.RetryPolicy
}

func newSite(t *testing.T, url string, retry cloud.RetryPolicy) *site {
	t.Helper()
	s := &site{T: t, url: url, pool: cloudtest.Pool(t, url), author: cloud.NewID(), retry: retry}
	s.store = postgres.NewEvents(s.pool, nil)
	_, err := s.pool.Exec(t.Context(), `INSERT INTO users (id, name, role) VALUES ($1, 'ann', 'owner')`, s.author)
	s.must(err)
	app, err := postgres.NewApps(s.pool, nil).CreateApp(t.Context(), cloud.App{Slug: "app", Name: "App"}, "")
	s.must(err)
	s.app = app.ID
	s.change(func(ctx context.Context, tx manager.AppTx) error {
		build := &cloud.Build{Code: "x", SourceMap: []byte(`{"version":3}`), Hash: "hash", Exports: []string{"default"}}
		script, err := tx.SaveScript(ctx, cloud.Script{Name: "script", Kind: cloud.Endpoint, Language: cloud.JavaScript}, build, "ann")
		s.script = script.ID
		return err
	})
	s.trigger(cloud.EventKV, cloud.TriggerFilter{})
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) change(change func(ctx context.Context, tx manager.AppTx) error) {
	s.Helper()
	s.must(postgres.NewApps(s.pool, nil).ChangeApp(s.Context(), s.app, change))
}

// trigger adds one of the site's script.
func (s *site) trigger(kind cloud.EventKind, filter cloud.TriggerFilter) {
	s.Helper()
	// A schedule has come: it was registered long ago.
	t, err := events.Check(cloud.Trigger{ScriptID: s.script, Kind: kind, Filter: filter, UserID: s.author, Enabled: true}, time.Now().Add(-24*365*time.Hour))
	s.must(err)
	if kind == cloud.EventKV {
		t.Retry = s.retry
	}
	s.change(func(ctx context.Context, tx manager.AppTx) error { _, err := tx.AddTrigger(ctx, t); return err })
}

// set stores entries, each of which is an event, and returns their keys.
func (s *site) set(n int) (keys []string) {
	s.Helper()
	entries := postgres.NewKV(s.pool, nil)
	for i := range n {
		key := fmt.Sprint("key", i)
		_, err := entries.Set(s.Context(), cloud.Cause{}, s.app, "c", key, json.RawMessage(`1`), time.Time{}, nil, time.Now())
		s.must(err)
		keys = append(keys, key)
	}
	return keys
}

// entries are the keys that are stored, sorted.
func (s *site) entries() (keys []string) {
	s.Helper()
	entries, err := postgres.NewKV(s.pool, nil).List(s.Context(), s.app, "c", "", "", 1000, false, time.Now())
	s.must(err)
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	return keys
}

// empty tells whether nothing is left in the outbox.
func (s *site) empty() bool {
	s.Helper()
	depth, err := s.store.Depth(s.Context())
	s.must(err)
	return len(depth.Waiting) == 0
}

// letters are the dead letters.
func (s *site) letters() (all []cloud.DeadLetter) {
	s.Helper()
	all, err := s.store.DeadLetters(s.Context(), cloud.DeadLetterFilter{AppID: s.app, Limit: 1000})
	s.must(err)
	return all
}

// finish runs a server until the outbox is empty, and returns what it said.
func (s *site) finish(o order) (said []string) {
	s.Helper()
	o.URL = s.url
	server := startServer(s, o)
	for !s.empty() {
		said = append(said, next(s.T, server))
	}
	return append(said, server.stop()...)
}

// about counts, by name, the lines that say something.
func about(said []string, what string) map[string]int {
	counts := map[string]int{}
	for _, line := range said {
		if word, name, _ := strings.Cut(line, " "); word == what {
			counts[name]++
		}
	}
	return counts
}

// wantDelivered shows that everything was handled, and that no more was twice than
// a server had in hand when it died.
func (s *site) wantDelivered(said []string, names []string) {
	s.Helper()
	counts := about(said, ended)
	extra := 0
	for _, name := range names {
		if counts[name] == 0 {
			s.Errorf("%s was never delivered", name)
		}
		extra += counts[name] - 1
	}
	if extra > serverCapacity {
		s.Errorf("%d deliveries too many, want at most %d: %v", extra, serverCapacity, counts)
	}
	if got := slices.Sorted(maps.Keys(counts)); len(got) != len(names) {
		s.Errorf("delivered %v, want %v", got, names)
	}
	if letters := s.letters(); len(letters) != 0 {
		s.Errorf("%d dead letters", len(letters))
	}
}

var patient = cloud.RetryPolicy{Attempts: 20, Backoff: cloud.Constant, Base: time.Millisecond, Cap: time.Millisecond}

// A server is killed at each step; another one finishes what it left.
func TestCrash_Delivery(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Claim", "Run", "Settle"} {
		for _, moment := range []moment{before, within, asked, after} {
			if method == "Run" && (moment == within || moment == asked) {
				continue
			}
			t.Run(fmt.Sprint(method, " ", moment), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, cloudtest.URL(t), patient)
				keys := s.set(3 * serverCapacity)
				said := startServer(t, order{URL: s.url, Method: method, Death: moment, Call: 2}).die()
				said = append(said, s.finish(order{Ahead: time.Hour})...)
				s.wantDelivered(said, keys)
			})
		}
	}
}

// A server is killed while it makes dead letters, of which there is one for each
// event, and whose handlers fire.
func TestCrash_DeadLetters(t *testing.T) {
	t.Parallel()
	for _, call := range []int{1, 2, 4} {
		for _, moment := range []moment{before, within, asked, after} {
			t.Run(fmt.Sprint(call, " ", moment), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, cloudtest.URL(t), cloud.RetryPolicy{Attempts: 2, Backoff: cloud.Constant, Base: time.Millisecond, Cap: time.Millisecond})
				s.trigger(cloud.EventDeadLetter, cloud.TriggerFilter{})
				keys := s.set(2 * serverCapacity)
				startServer(t, order{URL: s.url, Fails: true, Method: "Settle", Death: moment, Call: call}).die()
				s.finish(order{Ahead: time.Hour, Fails: true})
				died := map[string]int{}
				for _, l := range s.letters() {
					full, err := s.store.DeadLetter(t.Context(), s.app, l.ID)
					s.must(err)
					died[nameOf(full.Delivery)]++
					// A handler whose only attempt was cut off has failed.
					if l.Resolution != cloud.HandledByScript && l.Resolution != cloud.HandlerFailed {
						t.Errorf("a dead letter is resolved as %q", l.Resolution)
					}
				}
				for _, key := range keys {
					if died[key] != 1 {
						t.Errorf("%d dead letters of %s, want 1", died[key], key)
					}
				}
				if len(died) != len(keys) {
					t.Errorf("dead letters of %v, want those of %v", died, keys)
				}
			})
		}
	}
}

// A server is killed while a schedule fires, which happens once.
func TestCrash_Schedules(t *testing.T) {
	t.Parallel()
	for _, moment := range []moment{before, within, asked, after} {
		t.Run(string(moment), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, cloudtest.URL(t), patient)
			s.trigger(cloud.EventCron, cloud.TriggerFilter{Schedule: "@every 2000h"})
			startServer(t, order{URL: s.url, Method: "FireSchedules", Death: moment, Call: 1}).die()
			server := startServer(t, order{URL: s.url, Ahead: time.Hour})
			var said []string
			for len(about(said, settled)) == 0 {
				said = append(said, next(t, server))
			}
			said = append(said, server.stop()...)
			if counts := about(said, ended); counts["cron"] != 1 || len(counts) != 1 || !s.empty() {
				t.Errorf("handled: %v, want the schedule once", counts)
			}
		})
	}
}

// A server is killed while it changes data: what was changed was told, and what
// was acknowledged was changed.
func TestCrash_Change(t *testing.T) {
	t.Parallel()
	for _, moment := range []moment{before, within, asked, after} {
		t.Run(string(moment), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, cloudtest.URL(t), patient)
			said := startServer(t, order{URL: s.url, App: s.app, Writes: 20, Method: "Set", Death: moment, Call: 10}).die()
			acknowledged := about(said, stored)
			if len(acknowledged) != 9 {
				t.Fatalf("acknowledged %v, want the first 9", acknowledged)
			}
			said = append(said, s.finish(order{Ahead: time.Hour})...)
			entries := s.entries()
			for key := range acknowledged {
				if !slices.Contains(entries, key) {
					t.Errorf("the acknowledged %s is lost", key)
				}
			}
			s.wantDelivered(said, entries)
		})
	}
}

// What a dead server has leased is taken over by one that lives, of its own accord.
func TestCrash_TheOtherServerGoesOn(t *testing.T) {
	t.Parallel()
	s := newSite(t, cloudtest.URL(t), patient)
	keys := s.set(3 * serverCapacity)
	const lease = 300 * time.Millisecond
	hangs := startServer(t, order{URL: s.url, Lease: lease, Hangs: true})
	var said []string
	for len(about(said, began)) < serverCapacity*3/4 { // all that it takes of one app
		said = append(said, next(t, hangs))
	}
	other := startServer(t, order{URL: s.url, Lease: lease})
	for len(about(said, ended)) < len(keys)-serverCapacity*3/4 { // all that the first does not hold
		said = append(said, next(t, other))
	}
	s.must(hangs.cmd.Process.Kill())
	hangs.die()
	for !s.empty() {
		said = append(said, next(t, other))
	}
	s.wantDelivered(append(said, other.stop()...), keys)
}

// Two servers on one database: each event once, since nothing fails.
func TestPostgres_TwoServers(t *testing.T) {
	t.Parallel()
	s := newSite(t, cloudtest.URL(t), patient)
	servers := []*server{startServer(t, order{URL: s.url}), startServer(t, order{URL: s.url, App: s.app, Writes: 200})}
	said := []string{}
	for len(about(said, ended)) < 200 {
		said = append(said, next(t, servers...))
	}
	for _, server := range servers {
		said = append(said, server.stop()...)
	}
	for name, times := range about(said, ended) {
		if times != 1 {
			t.Errorf("%s was delivered %d times", name, times)
		}
	}
	s.wantDelivered(said, s.entries())
	if !s.empty() {
		t.Error("something is left in the outbox")
	}
}

// signals is a store that tells when something was settled.
type signals struct {
	events.Store
	settled chan struct{} // with room for one
}

func (s *signals) Settle(ctx context.Context, now time.Time, outcomes []events.Outcome) (int, error) {
	n, err := s.Store.Settle(ctx, now, outcomes)
	select {
	case s.settled <- struct{}{}:
	default:
	}
	return n, err
}

// The database server is killed while events come and go.
func TestPostgres_ServerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Config{Dir: filepath.Join(t.TempDir(), "pg"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := postgres.Migrate(t.Context(), c.URL(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, c.URL(), patient)

	const writers, kills = 3, 3
	store := &signals{s.store, make(chan struct{}, 1)}
	var mu sync.Mutex
	delivered := map[string]int{}
	news := make(chan struct{}, 1)
	d := events.New(events.Config{
		Store: store, Lease: time.Second, Logger: slog.New(slog.DiscardHandler),
		Run: func(_, _ context.Context, d cloud.Delivery) (events.Result, error) {
			mu.Lock()
			delivered[nameOf(d)]++
			mu.Unlock()
			select {
			case news <- struct{}{}:
			default:
			}
			return events.Result{}, nil
		},
	})
	d.Start()
	defer d.Stop(t.Context())
	entries := postgres.NewKV(s.pool, postgres.NewEmitter(postgres.EmitterConfig{Poke: d.Poke}))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	acknowledged := make([][]string, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%d-%06d", w, i)
				_, err := entries.Set(t.Context(), cloud.Cause{}, s.app, "c", key, json.RawMessage(`1`), time.Time{}, nil, time.Now())
				switch cloud.CodeOf(err) {
				case "":
					acknowledged[w] = append(acknowledged[w], key)
				case cloud.CodeUnavailable:
				default:
					t.Errorf("a write while the server is away: %v", err)
					return
				}
			}
		})
	}
	last := 0
	for range kills + 1 {
		for n, pid := 0, 0; n < 30 || pid == 0 || pid == last; pid = c.PID() { // things go on by a new server
			<-news
			n++
		}
		last = c.PID()
		if err := syscall.Kill(last, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	for left := true; left; {
		depth, err := store.Depth(t.Context())
		if left = err != nil || len(depth.Waiting) > 0; left && err == nil {
			<-store.settled
		}
	}
	mu.Lock()
	defer mu.Unlock()
	total := 0
	for w, keys := range acknowledged {
		total += len(keys)
		for _, key := range keys {
			if delivered[key] == 0 {
				t.Errorf("writer %d: the event of the acknowledged %s is lost", w, key)
			}
		}
	}
	if letters := s.letters(); len(letters) != 0 {
		t.Errorf("%d of %d events are dead letters", len(letters), total)
	}
}

// A handler that never ends, and one whose worker dies, are their own misfortune.
func TestPostgres_HandlersThatHangAndDie(t *testing.T) {
	t.Parallel()
	s := newSite(t, cloudtest.URL(t), cloud.RetryPolicy{Attempts: 3, Backoff: cloud.Constant, Base: time.Millisecond, Cap: time.Millisecond})
	keys := s.set(12)
	hangs, dies := keys[0], keys[1]
	var mu sync.Mutex
	ran := map[string]int{}
	run := func(hanging bool) func(_, ctx context.Context, d cloud.Delivery) (events.Result, error) {
		return func(_, ctx context.Context, d cloud.Delivery) (events.Result, error) {
			name := nameOf(d)
			mu.Lock()
			ran[name]++
			mu.Unlock()
			switch {
			case name == hangs && hanging:
				<-ctx.Done()
				return events.Result{Code: cloud.CodeTimeout}, nil
			case name == dies:
				return events.Result{Code: cloud.CodeWorkerDied}, nil
			}
			return events.Result{}, nil
		}
	}
	store := &signals{s.store, make(chan struct{}, 1)}
	first := events.New(events.Config{Store: store, Run: run(true), Capacity: 4, Lease: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	first.Start()
	waiting := func() int {
		depth, err := store.Depth(t.Context())
		s.must(err)
		return depth.Waiting[s.app]
	}
	for waiting() > 1 {
		<-store.settled
	}
	now, cancel := context.WithCancel(t.Context())
	cancel()
	first.Stop(now)
	second := events.New(events.Config{Store: store, Run: run(false), Logger: slog.New(slog.DiscardHandler)})
	second.Start()
	for waiting() > 0 {
		<-store.settled
	}
	second.Stop(t.Context())
	for _, key := range keys {
		want := map[string]int{hangs: 2, dies: 3}[key]
		if ran[key] != max(1, want) {
			t.Errorf("%s ran %d times, want %d", key, ran[key], max(1, want))
		}
	}
	letters := s.letters()
	if len(letters) != 1 || letters[0].Reason != cloud.CodeWorkerDied || letters[0].Attempt != 3 {
		t.Errorf("dead letters %+v", letters)
	}
}

// The smallest configuration has a hundred thousand events to deliver. They do not
// come into its memory. It is not parallel: it measures the heap.
func TestPostgres_AHundredThousandDue(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes many seconds")
	}
	const (
		rows, bytes = 100_000, 1000 // of payload, each
		small       = 10_000        // deliveries by the smallest dispatcher; larger ones do the rest
		capacity    = 8
		allowed     = 4 << 20 // bytes of heap; the payloads are 100 MB
	)
	s := newSite(t, cloudtest.URL(t), patient)
	_, err := s.pool.Exec(t.Context(), `
		INSERT INTO outbox (app_id, event_id, script_id, kind, op, payload, depth, max_attempts, backoff, base_ms, cap_ms, at, due_at)
		SELECT $1, gen_random_uuid(), $2, 'kv', 'set', json_build_object('key', n::text, 'value', repeat('x', $4)), 1, 5, 'constant', 1000, 1000, now(), now()
		FROM generate_series(1, $3) AS n`, s.app, s.script, rows, bytes)
	s.must(err)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var ran atomic.Int64
	enough := make(chan struct{})
	var most atomic.Uint64
	empty := heap()
	d := events.New(events.Config{
		Store: s.store, Capacity: capacity,
		Run: func(context.Context, context.Context, cloud.Delivery) (events.Result, error) {
			switch n := ran.Add(1); {
			case n == small:
				close(enough)
			case n%1000 == 0:
				most.Store(max(most.Load(), heap()))
			}
			return events.Result{}, nil
		},
	})
	d.Start()
	<-enough
	d.Stop(t.Context())
	if grown := int64(most.Load()) - int64(empty); grown > allowed {
		t.Errorf("the heap grew by %d bytes, want at most %d", grown, allowed)
	}
	depth, err := s.store.Depth(t.Context())
	s.must(err)
	if want := rows - int(ran.Load()); depth.Waiting[s.app] != want {
		t.Errorf("%d events are left after %d deliveries, want %d", depth.Waiting[s.app], ran.Load(), want)
	}

	var dispatchers []*events.Dispatcher
	all := make(chan struct{})
	for range 2 {
		d := events.New(events.Config{Store: s.store, Run: func(context.Context, context.Context, cloud.Delivery) (events.Result, error) {
			if ran.Add(1) == rows {
				close(all)
			}
			return events.Result{}, nil
		}})
		d.Start()
		dispatchers = append(dispatchers, d)
	}
	<-all
	for _, d := range dispatchers {
		d.Stop(t.Context())
	}
	if !s.empty() {
		t.Error("something is left in the outbox")
	}
	if ran.Load() != rows {
		t.Errorf("%d deliveries of %d events", ran.Load(), rows)
	}
	if letters := s.letters(); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}
