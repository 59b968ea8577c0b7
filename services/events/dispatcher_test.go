package events_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// spy is a store that counts calls and lets a test make some fail.
type spy struct {
	events.Store
	mu    sync.Mutex
	calls map[string]int
	fail  func(method string) error // nil: nothing fails
	after func(method string)       // what was asked has been done; nil: nothing
}

// call is one of a method, made by do.
func (s *spy) call(method string, do func() error) error {
	s.mu.Lock()
	s.calls[method]++
	fail, after := s.fail, s.after
	s.mu.Unlock()
	if fail != nil {
		if err := fail(method); err != nil {
			return err
		}
	}
	err := do()
	if after != nil {
		after(method)
	}
	return err
}

// total counts the calls since the last total.
func (s *spy) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, calls := range s.calls {
		n += calls
	}
	clear(s.calls)
	return n
}

func (s *spy) failing(fail func(method string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *spy) Claim(ctx context.Context, c events.Claim) (d []cloud.Delivery, err error) {
	err = s.call("Claim", func() error { d, err = s.Store.Claim(ctx, c); return err })
	return d, err
}

func (s *spy) NextDue(ctx context.Context, schedules bool, except []events.Lease, full []string) (at time.Time, ok bool, err error) {
	err = s.call("NextDue", func() error { at, ok, err = s.Store.NextDue(ctx, schedules, except, full); return err })
	return at, ok, err
}

func (s *spy) Renew(ctx context.Context, leases []events.Lease, until time.Time) error {
	return s.call("Renew", func() error { return s.Store.Renew(ctx, leases, until) })
}

func (s *spy) Settle(ctx context.Context, now time.Time, outcomes []events.Outcome) (n int, err error) {
	err = s.call("Settle", func() error { n, err = s.Store.Settle(ctx, now, outcomes); return err })
	return n, err
}

func (s *spy) FireSchedules(ctx context.Context, now time.Time, n int, next events.NextRun) (fired int, err error) {
	err = s.call("FireSchedules", func() error { fired, err = s.Store.FireSchedules(ctx, now, n, next); return err })
	return fired, err
}

func (s *spy) MendClock(ctx context.Context, now time.Time, lease time.Duration, except []events.Lease, next events.NextRun) error {
	return s.call("MendClock", func() error { return s.Store.MendClock(ctx, now, lease, except, next) })
}

func (s *spy) SweepDeadLetters(ctx context.Context, before time.Time, n int) (swept int, err error) {
	err = s.call("SweepDeadLetters", func() error { swept, err = s.Store.SweepDeadLetters(ctx, before, n); return err })
	return swept, err
}

// output is a buffer for several goroutines.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// attempt is one that the dispatcher made.
type attempt struct {
	cloud.Delivery
	at time.Time
}

// world is a dispatcher on a store in memory, and what it did.
type world struct {
	*testing.T
	store  *events.Memory
	spy    *spy
	cfg    events.Config
	d      *events.Dispatcher
	output output       // of the log
	offset atomic.Int64 // nanoseconds, of the time of day from the clock of the test

	clockSet chan struct{}

	mu       sync.Mutex
	attempts []attempt
}

type run = func(begin, ctx context.Context, d cloud.Delivery) (events.Result, error)

// newWorld makes a dispatcher that runs deliveries by run; nil: all are delivered.
// It is not started.
func newWorld(t *testing.T, run run, change func(*events.Config)) *world {
	w := &world{T: t, store: events.NewMemory()}
	return w.join(run, change)
}

// join gives the world one more dispatcher: the receiver's store with a
// dispatcher and a record of its own.
func (w *world) join(run run, change func(*events.Config)) *world {
	n := &world{T: w.T, store: w.store, spy: &spy{Store: w.store, calls: map[string]int{}}, clockSet: make(chan struct{}, 1)}
	n.cfg = events.Config{
		Store: n.spy,
		Run: func(begin, ctx context.Context, d cloud.Delivery) (events.Result, error) {
			n.mu.Lock()
			n.attempts = append(n.attempts, attempt{d, time.Now()})
			n.mu.Unlock()
			if run == nil {
				return events.Result{}, nil
			}
			return run(begin, ctx, d)
		},
		Logger: slog.New(slog.NewTextHandler(&n.output, nil)),
		Now:    n.now, ClockSet: n.clockSet,
	}
	if change != nil {
		change(&n.cfg)
	}
	n.d = events.New(n.cfg)
	return n
}

// put enqueues a delivery of an app, and pokes as a commit does.
func (w *world) put(app string, change func(*cloud.Delivery)) cloud.Delivery {
	w.Helper()
	now := w.now()
	d := cloud.Delivery{
		EventID: cloud.NewID(), AppID: app, ScriptID: "script", Kind: cloud.EventKV, Op: "set", Payload: []byte(`{}`),
		Depth: 1, Retry: cloud.DefaultRetry, At: now, DueAt: now,
	}
	if change != nil {
		change(&d)
	}
	if err := w.store.Enqueue(w.Context(), d); err != nil {
		w.Fatal(err)
	}
	w.d.Poke()
	return d
}

// now is the time of day.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }

// setClock puts the time of day so far from the clock of the test.
func (w *world) setClock(offset time.Duration) {
	w.offset.Store(int64(offset))
	select {
	case w.clockSet <- struct{}{}:
	default:
	}
}

// made are the attempts since the last made.
func (w *world) made() []attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	made := w.attempts
	w.attempts = nil
	return made
}

// wantMade compares how many attempts there were.
func (w *world) wantMade(n int) []attempt {
	w.Helper()
	synctest.Wait()
	made := w.made()
	if len(made) != n {
		w.Fatalf("%d attempts, want %d; log:\n%s", len(made), n, &w.output)
	}
	return made
}

// wantEmpty shows that nothing is left in the outbox.
func (w *world) wantEmpty() {
	w.Helper()
	depth, err := w.store.Depth(w.Context())
	if err != nil || len(depth.Waiting) != 0 {
		w.Fatalf("in the outbox: %v (error %v)", depth.Waiting, err)
	}
}

// letters are the dead letters of the app, newest first.
func (w *world) letters(app string) []cloud.DeadLetter {
	w.Helper()
	letters, err := w.store.DeadLetters(w.Context(), cloud.DeadLetterFilter{AppID: app, Limit: 1000})
	if err != nil {
		w.Fatal(err)
	}
	return letters
}

// only is the one delivery in the outbox that is due and not leased.
func (w *world) only() cloud.Delivery {
	w.Helper()
	now := w.now()
	claimed, err := w.store.Claim(w.Context(), events.Claim{Now: now, Until: now.Add(time.Hour), Limit: 10, PerApp: 10})
	if err != nil || len(claimed) != 1 {
		w.Fatalf("%d deliveries are due, want 1 (error %v)", len(claimed), err)
	}
	return claimed[0]
}

// logged counts how often the log says something.
func (w *world) logged(text string) int {
	synctest.Wait()
	return strings.Count(w.output.String(), text)
}

// stop stops without a bound.
func (w *world) stop() { w.d.Stop(context.Background()) }

// inBubble runs a test with a clock of its own on a world that is started and
// stopped.
func inBubble(t *testing.T, run run, change func(*events.Config), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, run, change)
		w.d.Start()
		defer w.stop()
		synctest.Wait()
		test(w)
	})
}

// sleeps is a run that takes a while.
func sleeps(d time.Duration) run {
	return func(_, ctx context.Context, _ cloud.Delivery) (events.Result, error) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return events.Result{Code: cloud.CodeTimeout}, nil
		}
		return events.Result{}, nil
	}
}

var thrown = events.Result{Code: cloud.CodeScriptThrew, Error: &cloud.ScriptError{Name: "Error", Message: "boom"}}

func fails(_, _ context.Context, _ cloud.Delivery) (events.Result, error) { return thrown, nil }

func TestDispatcher_DeliversWhatIsPoked(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		for range 3 {
			began := time.Now()
			d := w.put("app", nil)
			made := w.wantMade(1)
			if got := made[0]; got.EventID != d.EventID || got.Attempt != 1 || !got.at.Equal(began) {
				w.Fatalf("attempt %+v, want the first of %s at %s", got, d.EventID, began)
			}
			w.wantEmpty()
		}
	})
}

func TestDispatcher_DeliversWhatWaitsAtTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, nil)
		w.put("app", nil)
		synctest.Wait()
		w.wantMade(0)
		w.d.Start()
		defer w.stop()
		w.wantMade(1)
		w.wantEmpty()
	})
}

func TestDispatcher_AsksNothingWithNothingDue(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		w.spy.total()
		time.Sleep(time.Hour)
		if n := w.spy.total(); n != 0 {
			w.Errorf("%d calls of the store in an hour with an empty outbox", n)
		}
		w.put("app", nil)
		w.wantMade(1)
		w.spy.total()
		time.Sleep(time.Hour)
		if n := w.spy.total(); n != 0 {
			w.Errorf("%d calls of the store in an hour after a delivery", n)
		}
		w.put("app", func(d *cloud.Delivery) { d.DueAt = d.DueAt.Add(48 * time.Hour) })
		synctest.Wait()
		w.spy.total()
		time.Sleep(47 * time.Hour)
		if n := w.spy.total(); n != 0 {
			w.Errorf("%d calls of the store while waiting for an alarm", n)
		}
	})
}

func TestDispatcher_AlarmForWhatIsDueLater(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		for _, minutes := range []int{10, 5, 7} {
			w.put("app", func(d *cloud.Delivery) { d.DueAt = d.DueAt.Add(time.Duration(minutes) * time.Minute) })
		}
		began := time.Now()
		for _, minutes := range []int{5, 7, 10} {
			due := began.Add(time.Duration(minutes) * time.Minute)
			time.Sleep(time.Until(due) - 1)
			w.wantMade(0)
			time.Sleep(time.Nanosecond)
			w.wantMade(1)
		}
		w.wantEmpty()
	})
}

func TestDispatcher_RetriesByThePolicy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy cloud.RetryPolicy
		pauses []time.Duration
	}{
		{cloud.DefaultRetry, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}},
		{cloud.RetryPolicy{Attempts: 4, Backoff: cloud.Linear, Base: 10 * time.Second, Cap: 25 * time.Second}, []time.Duration{10 * time.Second, 20 * time.Second, 25 * time.Second}},
		{cloud.RetryPolicy{Attempts: 3, Backoff: cloud.Constant, Base: time.Minute, Cap: time.Hour}, []time.Duration{time.Minute, time.Minute}},
		{cloud.RetryPolicy{Attempts: 1, Backoff: cloud.Constant, Base: time.Minute, Cap: time.Hour}, nil},
	} {
		t.Run(string(test.policy.Backoff), func(t *testing.T) {
			t.Parallel()
			inBubble(t, fails, nil, func(w *world) {
				d := w.put("app", func(d *cloud.Delivery) { d.Retry = test.policy })
				time.Sleep(24 * time.Hour)
				made := w.wantMade(test.policy.Attempts)
				for i, a := range made {
					if a.Attempt != i+1 || a.EventID != d.EventID {
						t.Errorf("attempt %d of %s, want %d of %s", a.Attempt, a.EventID, i+1, d.EventID)
					}
					if i == 0 {
						continue
					}
					if a.LastError == nil || *a.LastError != *thrown.Error {
						t.Errorf("attempt %d was told of %v", a.Attempt, a.LastError)
					}
					want, got := test.pauses[i-1], a.at.Sub(made[i-1].at)
					if got < want*8/10 || got > want*12/10 {
						t.Errorf("a pause of %s before attempt %d, want %s ± 20 %%", got, a.Attempt, want)
					}
				}
				w.wantEmpty()
				letters := w.letters("app")
				if len(letters) != 1 || letters[0].Attempt != test.policy.Attempts || letters[0].Reason != cloud.CodeScriptThrew || *letters[0].LastError != *thrown.Error {
					t.Errorf("dead letters %+v", letters)
				}
			})
		})
	}
}

func TestDispatcher_RetriesUntilDelivered(t *testing.T) {
	t.Parallel()
	run := func(_, _ context.Context, d cloud.Delivery) (events.Result, error) {
		if d.Attempt < 3 {
			return thrown, nil
		}
		return events.Result{}, nil
	}
	inBubble(t, run, nil, func(w *world) {
		w.put("app", nil)
		time.Sleep(time.Hour)
		w.wantMade(3)
		w.wantEmpty()
		if letters := w.letters("app"); len(letters) != 0 {
			w.Errorf("dead letters %+v", letters)
		}
	})
}

func TestDispatcher_GivesUpOnWhatIsFinal(t *testing.T) {
	t.Parallel()
	run := func(context.Context, context.Context, cloud.Delivery) (events.Result, error) {
		return events.Result{Code: cloud.CodeNotFound, Final: true}, nil
	}
	inBubble(t, run, nil, func(w *world) {
		w.put("app", nil)
		time.Sleep(time.Hour)
		w.wantMade(1)
		w.wantEmpty()
		if letters := w.letters("app"); len(letters) != 1 || letters[0].Reason != cloud.CodeNotFound {
			w.Errorf("dead letters %+v", letters)
		}
	})
}

func TestDispatcher_WhatDidNotRunDoesNotCount(t *testing.T) {
	t.Parallel()
	var busy atomic.Int32
	busy.Store(20) // more than the policy has attempts
	run := func(context.Context, context.Context, cloud.Delivery) (events.Result, error) {
		if busy.Add(-1) >= 0 {
			return events.Result{}, fmt.Errorf("%w: no worker", events.ErrNotRun)
		}
		return events.Result{}, nil
	}
	inBubble(t, run, nil, func(w *world) {
		w.put("app", nil)
		time.Sleep(time.Minute)
		for _, a := range w.wantMade(21) {
			if a.Attempt != 1 {
				w.Fatalf("attempt %d was counted", a.Attempt)
			}
		}
		w.wantEmpty()
	})
}

// A process that dies in the last attempt leaves nobody who says so.
func TestDispatcher_TheLastAttemptWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, nil)
		w.put("app", func(d *cloud.Delivery) { d.Retry.Attempts = 2 })
		for i := range 2 {
			now := time.Now().Add(time.Duration(i) * time.Minute)
			claimed, err := w.store.Claim(t.Context(), events.Claim{Now: now, Until: now.Add(time.Minute), Limit: 1, PerApp: 1})
			if err != nil || len(claimed) != 1 {
				t.Fatal(claimed, err)
			}
		}
		w.d.Start()
		defer w.stop()
		time.Sleep(time.Hour)
		w.wantMade(0)
		w.wantEmpty()
		if letters := w.letters("app"); len(letters) != 1 || letters[0].Reason != cloud.CodeWorkerDied || letters[0].Attempt != 2 || letters[0].LastError == nil {
			t.Errorf("dead letters %+v", letters)
		}
	})
}

func TestDispatcher_StopHandsBackWhatWaits(t *testing.T) {
	t.Parallel()
	run := func(begin, _ context.Context, _ cloud.Delivery) (events.Result, error) {
		<-begin.Done() // no place is free
		return events.Result{}, events.ErrNotRun
	}
	inBubble(t, run, nil, func(w *world) {
		w.put("app", nil)
		w.wantMade(1)
		began := time.Now()
		w.stop()
		if took := time.Since(began); took != 0 {
			w.Errorf("it took %s", took)
		}
		if d := w.only(); d.Attempt != 1 { // the claim of another process is the first again
			w.Errorf("attempt %d was counted", d.Attempt)
		}
		if w.logged("level=WARN") != 0 {
			w.Errorf("log:\n%s", &w.output)
		}
	})
}

// A claim that the store grants while Stop is called is known and handed back.
func TestDispatcher_StopDuringAClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, nil)
		w.put("app", nil)
		claimed := make(chan struct{})
		w.spy.after = func(method string) {
			if method == "Claim" {
				close(claimed)
				time.Sleep(time.Second) // the answer is on its way
			}
		}
		w.d.Start()
		<-claimed
		w.stop()
		w.wantMade(0)
		if d := w.only(); d.Attempt != 1 {
			t.Errorf("attempt %d was counted", d.Attempt)
		}
	})
}

func TestDispatcher_StopLetsRunningEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, sleeps(time.Minute), nil, func(w *world) {
		w.put("app", nil)
		w.wantMade(1)
		began := time.Now()
		w.stop()
		if took := time.Since(began); took != time.Minute {
			w.Errorf("it took %s", took)
		}
		w.wantEmpty()
		w.put("app", nil) // is not looked at any more
		w.wantMade(0)
	})
}

func TestDispatcher_StopCutsWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	inBubble(t, sleeps(time.Hour), nil, func(w *world) {
		w.put("app", nil)
		w.wantMade(1)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		began := time.Now()
		w.d.Stop(ctx)
		if took := time.Since(began); took != time.Second {
			w.Errorf("it took %s", took)
		}
		time.Sleep(time.Minute)
		if d := w.only(); d.Attempt != 1 { // it is not the event's fault
			w.Errorf("attempt %d was counted", d.Attempt)
		}
	})
}

func TestDispatcher_StartAndStopInAnyOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		never := newWorld(t, nil, nil)
		never.put("app", nil)
		never.stop()
		never.d.Start()
		never.d.Poke()
		never.stop()
		never.wantMade(0)

		w := newWorld(t, nil, nil)
		w.d.Start()
		w.d.Start()
		w.put("app", nil)
		w.wantMade(1)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(w.stop)
		}
		wg.Wait()
		w.d.Start()
		w.put("app", nil)
		w.wantMade(0)
	})
}

func TestDispatcher_LeasesLastWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	inBubble(t, sleeps(10*time.Minute), nil, func(w *world) {
		other := w.join(nil, nil)
		other.d.Start()
		synctest.Wait()
		defer other.stop()
		w.put("app", nil)
		w.wantMade(1)
		for range 20 {
			time.Sleep(30 * time.Second)
			other.d.Poke()
			other.wantMade(0)
		}
		w.wantEmpty()
		w.spy.total()
		time.Sleep(time.Hour)
		if n := w.spy.total(); n != 0 {
			w.Errorf("%d calls of the store in the hour after", n)
		}
	})
}

// Its lease was lost while a handler ran: another process has taken over.
func TestDispatcher_SucceedsAfterItsLease(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]events.Result{"succeeds": {}, "fails": thrown} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(_, _ context.Context, _ cloud.Delivery) (events.Result, error) {
				time.Sleep(5 * time.Minute)
				return first, nil
			}
			inBubble(t, run, nil, func(w *world) {
				w.spy.failing(func(method string) error {
					if method == "Renew" {
						return errors.New("no connection")
					}
					return nil
				})
				other := w.join(sleeps(10*time.Minute), nil)
				other.d.Start()
				synctest.Wait()
				defer other.stop()
				w.put("app", nil)
				w.wantMade(1)
				other.d.Poke()
				time.Sleep(3 * time.Minute)
				if made := other.wantMade(1); made[0].Attempt != 2 {
					t.Errorf("attempt %d took over", made[0].Attempt)
				}
				w.wantMade(0)
				time.Sleep(time.Hour)
				w.wantMade(0)
				other.wantMade(0)
				w.wantEmpty()
				if letters := w.letters("app"); len(letters) != 0 {
					t.Errorf("dead letters %+v", letters)
				}
			})
		})
	}
}

func TestDispatcher_TwoShareOneStore(t *testing.T) {
	t.Parallel()
	const n = 1000
	inBubble(t, sleeps(10*time.Millisecond), nil, func(w *world) {
		other := w.join(sleeps(15*time.Millisecond), nil)
		other.d.Start()
		synctest.Wait()
		defer other.stop()
		for i := range n {
			w.put(fmt.Sprint("app", i%5), nil)
			other.d.Poke()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		mine, others := w.made(), other.made()
		if len(mine) == 0 || len(others) == 0 {
			t.Errorf("%d and %d attempts: one had nothing to do", len(mine), len(others))
		}
		times := map[string]int{}
		for _, a := range slices.Concat(mine, others) {
			times[a.EventID]++
		}
		if len(times) != n || len(mine)+len(others) != n {
			t.Errorf("%d attempts for %d events of %d", len(mine)+len(others), len(times), n)
		}
		w.wantEmpty()
	})
}

// byApp runs each app's deliveries in its own way; those of others are delivered.
func byApp(runs map[string]run) run {
	return func(begin, ctx context.Context, d cloud.Delivery) (events.Result, error) {
		if run, ok := runs[d.AppID]; ok {
			return run(begin, ctx, d)
		}
		return events.Result{}, nil
	}
}

func of(app string, made []attempt) (of []attempt) {
	for _, a := range made {
		if a.AppID == app {
			of = append(of, a)
		}
	}
	return of
}

func TestDispatcher_ASlowAppHoldsUpNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, byApp(map[string]run{"slow": sleeps(time.Hour)}), nil, func(w *world) {
		for range 500 {
			w.put("slow", nil)
		}
		w.wantMade(48)
		// What is due now, what will be due, and schedules.
		w.put("quick", nil)
		w.wantMade(1)
		w.put("quick", func(d *cloud.Delivery) { d.DueAt = d.DueAt.Add(time.Minute) })
		w.wantMade(0)
		time.Sleep(time.Minute)
		w.wantMade(1)
		w.store.SetTrigger(cron("quick", "@every 90s", time.Now().Add(90*time.Second)))
		w.d.Poke()
		time.Sleep(90 * time.Second)
		w.wantMade(1)
		w.spy.total()
		time.Sleep(80 * time.Second)
		if n := w.spy.total(); n > 6 { // leases are renewed
			w.Errorf("%d calls of the store while all that is due is of a full app", n)
		}
		time.Sleep(100 * time.Hour)
		if made := of("slow", w.made()); len(made) != 500-48 {
			w.Errorf("%d of the slow app's attempts followed, want %d", len(made), 500-48)
		}
	})
}

// What a full app left waiting is taken when an attempt of it ends, without any
// other reason to look.
func TestDispatcher_AFullAppGoesOn(t *testing.T) {
	t.Parallel()
	inBubble(t, byApp(map[string]run{"slow": sleeps(time.Hour)}), nil, func(w *world) {
		for range 100 {
			w.put("slow", nil)
		}
		w.wantMade(48)
		time.Sleep(100 * time.Hour)
		w.wantMade(100 - 48)
	})
}

func TestDispatcher_APoisonedAppHoldsUpNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, byApp(map[string]run{"poisoned": fails}), nil, func(w *world) {
		for range 1000 {
			w.put("poisoned", nil)
		}
		for range 20 {
			began := time.Now()
			w.put("quick", nil)
			synctest.Wait()
			made := of("quick", w.made())
			if len(made) != 1 || !made[0].at.Equal(began) {
				w.Fatalf("attempts %+v, want one at %s", made, began)
			}
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		w.wantEmpty()
		if letters := w.letters("poisoned"); len(letters) != 1000 {
			w.Errorf("%d dead letters, want 1000", len(letters))
		}
	})
}

// A backlog is taken from fairly: who comes late with little does not wait for
// the end of it.
func TestDispatcher_ABacklogIsShared(t *testing.T) {
	t.Parallel()
	inBubble(t, sleeps(time.Second), func(c *events.Config) { c.Capacity = 8 }, func(w *world) {
		for range 200 {
			w.put("a", nil)
			w.put("b", nil)
		}
		w.wantMade(8)
		w.put("late", nil)
		time.Sleep(1500 * time.Millisecond)
		if made := of("late", w.wantMade(8)); len(made) != 1 {
			w.Errorf("the late app had %d attempts, want 1", len(made))
		}
	})
}

func TestDispatcher_AStoreThatFails(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		w.spy.failing(func(string) error { return cloud.Errorf(cloud.CodeUnavailable, "the database is away") })
		w.put("app", nil)
		synctest.Wait()
		w.spy.total()
		time.Sleep(10 * time.Minute)
		if n := w.spy.total(); n < 10 || n > 40 {
			w.Errorf("%d calls of a store that fails, in ten minutes", n)
		}
		w.wantMade(0)
		if n := w.logged("events are not being delivered"); n != 1 {
			w.Errorf("%d warnings, want 1:\n%s", n, &w.output)
		}
		w.spy.failing(nil)
		time.Sleep(30 * time.Second)
		w.wantMade(1)
		w.wantEmpty()
		if n := w.logged("events are being delivered again"); n != 1 {
			w.Errorf("%d words of recovery, want 1:\n%s", n, &w.output)
		}
		w.spy.total()
		time.Sleep(time.Hour)
		if n := w.spy.total(); n != 0 {
			w.Errorf("%d calls of the store in the hour after", n)
		}
	})
}

func TestDispatcher_StopWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		w.spy.failing(func(string) error { return errors.New("away") })
		w.put("app", nil)
		time.Sleep(time.Minute)
		w.stop()
		w.wantMade(0)
	})
}

func TestDispatcher_SettlingFailsForAWhile(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		var failures atomic.Int32
		w.spy.failing(func(method string) error {
			if method == "Settle" && failures.Add(1) <= 4 {
				return errors.New("away")
			}
			return nil
		})
		w.put("app", nil)
		time.Sleep(time.Hour)
		w.wantMade(1)
		w.wantEmpty()
		if w.logged("level=ERROR") != 0 {
			w.Errorf("log:\n%s", &w.output)
		}
	})
}

// loses is a store that settles, and loses the first answers.
type loses struct {
	*events.Memory
	answers atomic.Int32 // how many
}

func (l *loses) Settle(ctx context.Context, now time.Time, outcomes []events.Outcome) (int, error) {
	emitted, err := l.Memory.Settle(ctx, now, outcomes)
	if l.answers.Add(-1) >= 0 {
		return 0, errors.New("the answer was lost")
	}
	return emitted, err
}

// What was emitted on settling is delivered although nobody was told of it.
func TestDispatcher_TheAnswerOfSettlingIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, nil)
		store := &loses{Memory: w.store}
		store.answers.Store(1)
		w = w.join(byApp(map[string]run{"app": fails}), func(c *events.Config) { c.Store = store })
		handler, err := events.Check(cloud.Trigger{ID: "handler", AppID: "app", ScriptID: "handler", Kind: cloud.EventDeadLetter, Enabled: true, UserID: "user"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w.store.SetTrigger(handler)
		w.d.Start()
		defer w.stop()
		w.put("app", func(d *cloud.Delivery) { d.Retry.Attempts = 1 })
		time.Sleep(time.Second)
		if made := w.wantMade(2); made[1].Kind != cloud.EventDeadLetter {
			t.Errorf("attempt %+v, want that of the handler", made[1])
		}
	})
}

// A renewal that fails is tried again long before the leases pass.
func TestDispatcher_RenewingFailsForAWhile(t *testing.T) {
	t.Parallel()
	inBubble(t, sleeps(5*time.Minute), nil, func(w *world) {
		other := w.join(nil, nil)
		other.d.Start()
		defer other.stop()
		w.spy.failing(func(method string) error {
			if method == "Renew" {
				return errors.New("away")
			}
			return nil
		})
		w.put("app", nil)
		time.Sleep(40 * time.Second)
		w.spy.failing(nil)
		time.Sleep(10 * time.Second)
		other.d.Poke()
		time.Sleep(10 * time.Minute)
		w.wantMade(1)
		other.wantMade(0)
		w.wantEmpty()
	})
}

// What came of an attempt is lost: it is made again when its lease has passed.
func TestDispatcher_SettlingFailsForLong(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		w.spy.failing(func(method string) error {
			if method == "Settle" {
				return errors.New("away")
			}
			return nil
		})
		w.put("app", nil)
		time.Sleep(30 * time.Second)
		w.wantMade(1)
		w.spy.failing(nil)
		time.Sleep(time.Minute)
		if made := w.wantMade(1); made[0].Attempt != 2 {
			w.Errorf("attempt %d followed", made[0].Attempt)
		}
		w.wantEmpty()
		if n := w.logged("level=ERROR"); n != 1 {
			w.Errorf("%d errors, want 1:\n%s", n, &w.output)
		}
	})
}

// An outcome that the store refuses harms no other of its batch.
func TestDispatcher_AnOutcomeThatCannotBeStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, nil)
		store := &refuses{Memory: w.store, app: "refused"}
		w = w.join(sleeps(time.Second), func(c *events.Config) { c.Store = store })
		for range 10 {
			w.put("app", nil)
		}
		w.put("refused", nil)
		w.d.Start()
		defer w.stop()
		time.Sleep(20 * time.Second)
		w.wantMade(11)
		depth, err := w.store.Depth(t.Context())
		if err != nil || len(depth.Waiting) != 1 || depth.Waiting["refused"] != 1 {
			t.Errorf("in the outbox: %v (error %v)", depth.Waiting, err)
		}
		if n := w.logged("could not be stored"); n != 1 {
			t.Errorf("%d errors, want 1:\n%s", n, &w.output)
		}
		time.Sleep(time.Hour)
		if letters := w.letters("refused"); len(letters) != 1 {
			t.Errorf("dead letters %+v", letters)
		}
		w.wantEmpty()
	})
}

// refuses is a store that does not take what becomes of an app's deliveries, unless
// they are given up.
type refuses struct {
	*events.Memory
	app string
}

func (r *refuses) Settle(ctx context.Context, now time.Time, outcomes []events.Outcome) (int, error) {
	for _, o := range outcomes {
		if o.Delivery.AppID == r.app && o.Fate != events.Dead {
			return 0, cloud.Errorf(cloud.CodeInvalid, "no text that can be stored")
		}
	}
	return r.Memory.Settle(ctx, now, outcomes)
}

// Outcomes that come together are stored together.
func TestDispatcher_SettlesInBatches(t *testing.T) {
	t.Parallel()
	inBubble(t, sleeps(time.Second), func(c *events.Config) { c.PerApp = 64 }, func(w *world) {
		w.spy.mu.Lock()
		w.spy.after = func(method string) {
			if method == "Settle" {
				time.Sleep(time.Millisecond)
			}
		}
		w.spy.mu.Unlock()
		for range 64 {
			w.put("app", nil)
		}
		w.wantMade(64)
		w.spy.total()
		time.Sleep(time.Minute)
		w.wantEmpty()
		w.spy.mu.Lock()
		defer w.spy.mu.Unlock()
		if n := w.spy.calls["Settle"]; n > 3 {
			w.Errorf("%d calls to settle 64 outcomes", n)
		}
	})
}

func TestDispatcher_DropsWhatIsTooDeep(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		w.put("app", func(d *cloud.Delivery) { d.Depth = cloud.MaxDepth })
		w.wantMade(1)
		w.put("app", func(d *cloud.Delivery) { d.Depth = cloud.MaxDepth + 1 })
		w.wantMade(0)
		w.wantEmpty()
		if letters := w.letters("app"); len(letters) != 0 {
			w.Errorf("dead letters %+v", letters)
		}
		if n := w.logged("an event was dropped"); n != 1 {
			w.Errorf("%d warnings, want 1:\n%s", n, &w.output)
		}
	})
}

// However much is due, no more than Capacity is in hand.
func TestDispatcher_AHundredThousandDue(t *testing.T) {
	t.Parallel()
	const n, capacity = 100_000, 8
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, nil)
		for i := range n {
			w.put(fmt.Sprint("app", i%5), nil)
		}
		store := &hand{Memory: w.store}
		var delivered atomic.Int32
		d := events.New(events.Config{
			Store: store, Capacity: capacity, Logger: slog.New(slog.DiscardHandler),
			Run: func(context.Context, context.Context, cloud.Delivery) (events.Result, error) {
				delivered.Add(1)
				return events.Result{}, nil
			},
		})
		d.Start()
		synctest.Wait()
		d.Stop(t.Context())
		w.wantEmpty()
		if delivered.Load() != n {
			t.Errorf("%d attempts, want %d", delivered.Load(), n)
		}
		if most := store.most.Load(); most > capacity {
			t.Errorf("%d deliveries in hand, want at most %d", most, capacity)
		}
	})
}

// hand is a store that counts what its caller has in hand.
type hand struct {
	*events.Memory
	held, most atomic.Int64
}

func (h *hand) Claim(ctx context.Context, c events.Claim) ([]cloud.Delivery, error) {
	d, err := h.Memory.Claim(ctx, c)
	if held := h.held.Add(int64(len(d))); held > h.most.Load() {
		h.most.Store(held) // claims come one after the other
	}
	return d, err
}

func (h *hand) Settle(ctx context.Context, now time.Time, outcomes []events.Outcome) (int, error) {
	h.held.Add(-int64(len(outcomes)))
	return h.Memory.Settle(ctx, now, outcomes)
}

func TestDispatcher_SweepsWhenThereIsSomethingNew(t *testing.T) {
	t.Parallel()
	inBubble(t, fails, nil, func(w *world) {
		w.put("app", nil)
		time.Sleep(29 * 24 * time.Hour)
		w.put("app", nil)
		time.Sleep(24 * time.Hour)
		if n := len(w.letters("app")); n != 2 {
			w.Errorf("%d dead letters after 29 days, want 2", n)
		}
		time.Sleep(24 * time.Hour)
		w.put("app", nil)
		time.Sleep(time.Hour)
		if n := len(w.letters("app")); n != 2 {
			w.Errorf("%d dead letters after 31 days, want 2", n)
		}
	})
}

// The handlers of dead letters are delivered to at once, and once.
func TestDispatcher_HandlersOfDeadLetters(t *testing.T) {
	t.Parallel()
	inBubble(t, fails, nil, func(w *world) {
		handler, err := events.Check(cloud.Trigger{ID: "handler", AppID: "app", ScriptID: "handler", Kind: cloud.EventDeadLetter, Enabled: true, UserID: "user"}, time.Now())
		if err != nil {
			w.Fatal(err)
		}
		w.store.SetTrigger(handler)
		w.store.SetScript("handler", "sexton")
		w.put("app", func(d *cloud.Delivery) { d.Retry.Attempts = 1 })
		made := w.wantMade(2)
		if got := made[1]; got.Kind != cloud.EventDeadLetter || got.ScriptID != "handler" || !got.at.Equal(made[0].at) {
			w.Errorf("attempt %+v, want that of the handler", got)
		}
		time.Sleep(time.Hour)
		w.wantMade(0)
		w.wantEmpty()
		if letters := w.letters("app"); len(letters) != 1 || letters[0].Resolution != cloud.HandlerFailed || letters[0].ResolvedBy != "script sexton" {
			w.Errorf("dead letters %+v", letters)
		}
	})
}

func TestDispatcher_TellsOfAttempts(t *testing.T) {
	t.Parallel()
	type seen struct {
		kind   cloud.EventKind
		fate   events.Fate
		waited time.Duration
	}
	var mu sync.Mutex
	var got []seen
	results := []events.Result{thrown, {}, {Code: cloud.CodeNotFound, Final: true}}
	run := func(context.Context, context.Context, cloud.Delivery) (events.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		r := results[0]
		results = results[1:]
		return r, nil
	}
	observe := func(c *events.Config) {
		c.Random = func() float64 { return 0.5 }
		c.Observe = func(kind cloud.EventKind, fate events.Fate, waited time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, seen{kind, fate, waited})
		}
	}
	inBubble(t, run, observe, func(w *world) {
		w.put("app", func(d *cloud.Delivery) { d.DueAt = d.DueAt.Add(-3 * time.Second) })
		time.Sleep(time.Minute)
		w.put("app", func(d *cloud.Delivery) { d.Kind = cloud.EventCron })
		synctest.Wait()
		want := []seen{{cloud.EventKV, events.Retry, 3 * time.Second}, {cloud.EventKV, events.Done, 0}, {cloud.EventCron, events.Dead, 0}}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// cron is an enabled trigger with a schedule.
func cron(app, schedule string, next time.Time) cloud.Trigger {
	return cloud.Trigger{
		ID: cloud.NewID(), AppID: app, ScriptID: "script", Kind: cloud.EventCron, Enabled: true, UserID: "user",
		Filter: cloud.TriggerFilter{Schedule: schedule}, Retry: cloud.DefaultRetry, NextAt: next,
	}
}

func TestDispatcher_Schedules(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		began := time.Now()
		w.store.SetTrigger(cron("app", "*/10 * * * *", began.Add(10*time.Minute)))
		w.d.Poke()
		time.Sleep(time.Hour)
		for i, a := range w.wantMade(6) {
			want := began.Add(time.Duration(i+1) * 10 * time.Minute)
			if !a.at.Equal(want) || a.Kind != cloud.EventCron {
				w.Errorf("run %d, of the kind %s, at %s; want %s", i, a.Kind, a.at, want)
			}
		}
		w.wantEmpty()
	})
}

func TestDispatcher_SchedulesCatchUpOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, nil)
		for _, every := range []string{"* * * * *", "@every 1m", "0 0 * * *"} {
			w.store.SetTrigger(cron("app", every, time.Now().Add(-100*time.Hour)))
		}
		w.d.Start()
		defer w.stop()
		w.wantMade(3)
		time.Sleep(30 * time.Second)
		w.wantMade(0)
		time.Sleep(10 * time.Minute)
		w.wantMade(20)
	})
}

func TestDispatcher_SchedulesWhenTheClockIsSetForward(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		w.store.SetTrigger(cron("app", "* * * * *", time.Now().Add(time.Minute)))
		w.d.Poke()
		time.Sleep(10*time.Minute + time.Second)
		w.wantMade(10)
		w.setClock(365 * 24 * time.Hour)
		w.wantMade(1)
		time.Sleep(10 * time.Minute)
		w.wantMade(10)
	})
}

func TestDispatcher_SchedulesWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		w.store.SetTrigger(cron("app", "* * * * *", time.Now().Add(time.Minute)))
		w.d.Poke()
		time.Sleep(10*time.Minute + time.Second)
		w.wantMade(10)
		w.setClock(-365 * 24 * time.Hour)
		w.wantMade(0)
		time.Sleep(10 * time.Minute)
		w.wantMade(10)
		w.spy.mu.Lock()
		defer w.spy.mu.Unlock()
		if n := w.spy.calls["MendClock"]; n != 2 {
			w.Errorf("schedules were mended %d times, want 2", n)
		}
	})
}

// What waits for another attempt does not wait until the time comes once more, and
// what runs is left alone.
func TestDispatcher_RetriesWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	inBubble(t, byApp(map[string]run{"failing": fails, "slow": sleeps(10 * time.Minute)}), nil, func(w *world) {
		w.put("slow", nil)
		w.put("failing", func(d *cloud.Delivery) {
			d.Retry = cloud.RetryPolicy{Attempts: 2, Backoff: cloud.Constant, Base: time.Minute, Cap: time.Hour}
		})
		w.wantMade(2)
		w.setClock(-365 * 24 * time.Hour)
		time.Sleep(2 * time.Minute)
		w.wantMade(1)
		time.Sleep(time.Hour)
		w.wantMade(0)
		w.wantEmpty()
	})
}

// The clock was set back while the server was down, or while the store failed.
func TestDispatcher_SchedulesAreMendedWhenTheStoreIsBack(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		w.spy.failing(func(string) error { return errors.New("away") })
		w.store.SetTrigger(cron("app", "* * * * *", time.Now().Add(24*time.Hour)))
		w.setClock(-time.Hour)
		w.d.Poke()
		time.Sleep(time.Minute)
		w.spy.failing(nil)
		time.Sleep(10 * time.Minute)
		if n := len(w.made()); n < 9 {
			w.Errorf("%d runs in ten minutes of a schedule for each", n)
		}
	})
}

func TestDispatcher_SchedulesWaitForATrustedClock(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"confirmed": nil, "never confirmed": errors.New("no server answers")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trust := func(c *events.Config) {
				c.Trusted = func(ctx context.Context) error {
					select {
					case <-time.After(10 * time.Minute):
						return err
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			inBubble(t, nil, trust, func(w *world) {
				w.store.SetTrigger(cron("app", "*/2 * * * *", time.Now().Add(-time.Hour)))
				w.d.Poke()
				time.Sleep(9 * time.Minute)
				w.wantMade(0)
				w.put("app", nil) // all else is delivered
				w.wantMade(1)
				time.Sleep(time.Minute)
				w.wantMade(1)
				time.Sleep(10 * time.Minute)
				w.wantMade(5)
				if got, want := w.logged("level=WARN") > 0, err != nil; got != want {
					w.Errorf("warned: %t, want %t:\n%s", got, want, &w.output)
				}
			})
		})
	}
	t.Run("stopped before", func(t *testing.T) {
		t.Parallel()
		trust := func(c *events.Config) {
			c.Trusted = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}
		inBubble(t, nil, trust, func(w *world) {
			w.store.SetTrigger(cron("app", "* * * * *", time.Now()))
			w.d.Poke()
			w.stop()
			w.wantMade(0)
			if w.logged("level=WARN") > 0 {
				w.Errorf("log:\n%s", &w.output)
			}
		})
	})
}

// Schedules do not wait for the end of a backlog.
func TestDispatcher_SchedulesDuringABacklog(t *testing.T) {
	t.Parallel()
	inBubble(t, sleeps(100*time.Millisecond), func(c *events.Config) { c.Capacity = 4 }, func(w *world) {
		for range 6500 { // more than five minutes of work
			w.put("busy", nil)
			w.put("busier", nil)
		}
		w.store.SetTrigger(cron("app", "* * * * *", time.Now().Add(time.Minute)))
		w.d.Poke()
		time.Sleep(4*time.Minute + 30*time.Second)
		if made := of("app", w.made()); len(made) != 4 {
			w.Errorf("%d runs of a schedule in four minutes, want 4", len(made))
		}
	})
}

// What runs is not taken for abandoned when the clock is set forward.
func TestDispatcher_LeasesWhenTheClockIsSetForward(t *testing.T) {
	t.Parallel()
	inBubble(t, sleeps(time.Minute), nil, func(w *world) {
		w.put("app", nil)
		w.wantMade(1)
		w.setClock(365 * 24 * time.Hour)
		time.Sleep(time.Hour)
		w.wantMade(0)
		w.wantEmpty()
	})
}

// Two at once fire a schedule once.
func TestDispatcher_SchedulesOfTwo(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, nil, func(w *world) {
		other := w.join(nil, nil)
		other.d.Start()
		synctest.Wait()
		defer other.stop()
		w.store.SetTrigger(cron("app", "* * * * *", time.Now().Add(time.Minute)))
		w.d.Poke()
		other.d.Poke()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(w.made()) + len(other.made()); n != 60 {
			t.Errorf("%d runs in an hour, want 60", n)
		}
	})
}
