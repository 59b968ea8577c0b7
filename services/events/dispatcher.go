package events

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Result is how one attempt went. The zero value: delivered.
type Result struct {
	Code  cloud.Code         // why it failed; "" if it did not
	Error *cloud.ScriptError // what the script threw
	// Final says that another attempt cannot do better: what should run is gone.
	Final bool
}

// ErrNotRun says that an attempt could not even begin, for reasons that are not
// the event's: it does not count, and is made again a moment later.
var ErrNotRun = errors.New("the event was not run")

// Config is what a Dispatcher needs. Zero fields get the defaults named here;
// Store and Run are required.
type Config struct {
	Store Store
	// Run makes one attempt, and returns when it has ended or soon after ctx has. It
	// may wait for a place, but not longer than begin lasts. An error has ErrNotRun
	// in its chain.
	Run    func(begin, ctx context.Context, d cloud.Delivery) (Result, error)
	Logger *slog.Logger // nil: slog.Default

	// Trusted returns when the clock can be believed, which a board without one
	// takes a while for; until then no schedule fires. Nil: at once.
	Trusted func(ctx context.Context) error
	// ClockSet gets a value when the time of day was set. Nil: that is noticed when
	// something else happens.
	ClockSet <-chan struct{}
	// Observe is told of each attempt: its kind, fate, and how long it was due
	// before it began. Nil: nobody is.
	Observe func(kind cloud.EventKind, fate Fate, waited time.Duration)
	// Alarm is told when a process that takes the place of this one has something to
	// do: the moment at which something is due, or a lease of this process passes;
	// zero: never, as far as it knows. It is called whenever that may have changed, or
	// what Busy says, one call at a time. It may call Busy. Nil: nobody is told.
	Alarm func(at time.Time)

	Capacity  int           // deliveries leased at once; 64
	PerApp    int           // of one app; three quarters of Capacity
	Lease     time.Duration // after which others may take over; prolonged while an attempt runs; 1 min
	Retention time.Duration // of dead letters; 30 days

	Now    func() time.Time // time.Now
	Random func() float64   // rand.Float64
}

// Dispatcher delivers what is in the outbox, and fires schedules. With nothing
// due it waits for Poke and for the earliest moment that it knows of, and asks the
// database nothing. Several may work on one database.
type Dispatcher struct {
	cfg  Config
	poke chan struct{}

	start   sync.Once
	done    chan struct{}      // the loop has ended
	begin   context.Context    // ends when Stop is called
	stop    context.CancelFunc // ends begin
	attempt context.Context    // ends when Stop waits no longer
	cut     context.CancelFunc // ends attempt

	attempts sync.WaitGroup // and what they wrote, and who waits for the clock
	keeper   sync.WaitGroup // of leases

	trusted atomic.Bool // the clock is
	ended   atomic.Bool // the loop takes no note of pokes any more
	alarm   alarm
	looked  time.Time // when schedules were last fired; the loop's alone

	mu       sync.Mutex
	underWay map[Lease]struct{} // leased and not settled
	perApp   map[string]int     // of them, by app
	renewal  *time.Timer        // runs while anything is under way
	settled  []Outcome          // to be written
	settling bool               // an attempt that has ended is writing
	hungry   bool               // something due may have been left for want of room
	running  bool               // the loop is
	next     time.Time          // when something is due; zero: never
	leased   time.Time          // when the leases of what is under way pass
}

// New returns a Dispatcher that does nothing before Start.
func New(cfg Config) *Dispatcher {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Observe == nil {
		cfg.Observe = func(cloud.EventKind, Fate, time.Duration) {}
	}
	if cfg.Capacity == 0 {
		cfg.Capacity = 64
	}
	if cfg.PerApp == 0 {
		cfg.PerApp = max(1, cfg.Capacity*3/4)
	}
	if cfg.Lease == 0 {
		cfg.Lease = time.Minute
	}
	if cfg.Retention == 0 {
		cfg.Retention = 30 * 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	d := &Dispatcher{
		cfg: cfg, poke: make(chan struct{}, 1), done: make(chan struct{}),
		underWay: map[Lease]struct{}{}, perApp: map[string]int{}, renewal: newTimer(),
		alarm: alarm{tell: cfg.Alarm},
	}
	d.trusted.Store(cfg.Trusted == nil)
	d.begin, d.stop = context.WithCancel(context.Background())
	d.attempt, d.cut = context.WithCancel(context.Background())
	return d
}

// Poke says that something may have become due: after a commit that put an event
// into the outbox or changed a schedule, here or elsewhere, and when news of such
// may have been missed. It never blocks.
func (d *Dispatcher) Poke() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
	if d.ended.Load() {
		d.expect(d.cfg.Now())
		d.announce()
	}
}

// Start begins to deliver. Further calls do nothing.
func (d *Dispatcher) Start() {
	d.start.Do(func() {
		if d.cfg.Trusted != nil {
			d.attempts.Go(d.awaitClock)
		}
		d.keeper.Go(d.keep)
		d.mu.Lock()
		d.running = true
		d.mu.Unlock()
		go d.loop()
		d.Poke()
	})
}

// newTimer returns a timer that does not run.
func newTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// awaitClock lets schedules fire once the clock can be believed.
func (d *Dispatcher) awaitClock() {
	if err := d.cfg.Trusted(d.begin); err != nil && d.begin.Err() == nil {
		d.cfg.Logger.Warn("schedules run by a clock that nobody has confirmed", "error", err)
	}
	d.trusted.Store(true)
	d.Poke()
}

// Stop takes nothing more, hands back what has not begun, lets attempts that run
// end until ctx does, and cuts off the rest. It waits for all of that, and for what
// came of it to be stored. It may be called without Start, and more than once.
func (d *Dispatcher) Stop(ctx context.Context) {
	d.start.Do(func() { close(d.done) })
	d.stop()
	defer context.AfterFunc(ctx, d.cut)()
	<-d.done
	d.attempts.Wait()
	d.cut()
	d.keeper.Wait()
}

// loop takes what is due whenever it may be so.
func (d *Dispatcher) loop() {
	defer close(d.done)
	defer d.leave()
	alarm := newTimer()
	defer alarm.Stop()
	var clock clock
	mend := true // what is waited for may be wrong: nobody has looked since the start
	failures := 0
	for {
		select {
		case <-d.begin.Done():
			return
		case <-d.poke:
		case <-d.cfg.ClockSet:
		case <-alarm.C:
		}
		alarm.Stop()
		trusted := d.trusted.Load()
		mend = clock.setBack(d.cfg.Now()) || mend
		wait, more, err := d.round(trusted, trusted && mend)
		switch {
		case d.begin.Err() != nil:
			d.expect(d.cfg.Now()) // nobody knows what it has left
			return
		case err != nil:
			wait, more = min(firstPause<<failures, lastPause), true
			d.plan(d.cfg.Now().Add(blind))
			if failures++; failures == 1 {
				d.cfg.Logger.Warn("events are not being delivered", "error", err)
			}
			failures = min(failures, 16)
		default:
			if failures > 0 {
				d.cfg.Logger.Info("events are being delivered again")
			}
			failures = 0
			mend = mend && !trusted
			d.plan(time.Time{})
			if more {
				d.plan(d.cfg.Now().Add(wait))
			}
		}
		if more {
			alarm.Reset(wait)
		}
		d.announce()
	}
}

// leave ends the loop: what is poked for from now on, and what was without anybody
// having looked, is left to the next process.
func (d *Dispatcher) leave() {
	d.ended.Store(true)
	select {
	case <-d.poke:
		d.expect(d.cfg.Now())
	default:
	}
	d.mu.Lock()
	d.running = false
	d.mu.Unlock()
	d.announce()
}

// Pauses of the loop: between attempts to reach a store that fails, and for what
// another process is about to take.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
	contended  = time.Second
)

// round takes deliveries, and fires schedules if they are trusted to, until
// nothing is due or no room is left. It returns how long to wait for what is due
// next, if anything is that the end of an attempt will not bring up first.
func (d *Dispatcher) round(schedules, mend bool) (wait time.Duration, more bool, err error) {
	ctx := d.attempt // not begin: what is claimed must be known to have been
	if mend {
		if err := d.cfg.Store.MendClock(ctx, d.cfg.Now(), d.cfg.Lease, d.leases(), Next); err != nil {
			return 0, false, err
		}
	}
	for d.begin.Err() == nil {
		claim := d.claim()
		if claim.Limit == 0 {
			return 0, false, nil
		}
		deliveries, err := d.cfg.Store.Claim(ctx, claim)
		if err != nil {
			return 0, false, err
		}
		d.run(deliveries)
		now := d.cfg.Now()
		if len(deliveries) < claim.Limit {
			at, some, err := d.cfg.Store.NextDue(ctx, schedules, d.leases(), d.full())
			if err != nil || !some {
				return 0, false, err
			}
			if now = d.cfg.Now(); at.After(now) {
				return at.Sub(now), true, nil
			}
		}
		if len(deliveries) > 0 && time.Since(d.looked) < contended {
			continue // there is more; but schedules must not wait for the end of it
		}
		fired := 0
		if schedules {
			if fired, err = d.cfg.Store.FireSchedules(ctx, now, d.cfg.Capacity, Next); err != nil {
				return 0, false, err
			}
			d.looked = time.Now()
		}
		if fired+len(deliveries) == 0 {
			return contended, true, nil
		}
	}
	return 0, false, nil
}

// claim is for as much as there is room for. If there is none, or none for some
// app, the next attempt to end pokes.
func (d *Dispatcher) claim() Claim {
	now := d.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	c := Claim{
		Now: now, Until: now.Add(d.cfg.Lease), Limit: d.cfg.Capacity - len(d.underWay), PerApp: d.cfg.PerApp,
		UnderWay: maps.Clone(d.perApp), Except: slices.Collect(maps.Keys(d.underWay)),
	}
	d.hungry = c.Limit == 0
	d.fullApps()
	return c
}

// leases are those that this process holds.
func (d *Dispatcher) leases() []Lease {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.underWay))
}

// full are the apps that have as much under way as they may. If there are any, the
// next attempt to end pokes.
func (d *Dispatcher) full() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fullApps()
}

// fullApps is full while the mutex is held.
func (d *Dispatcher) fullApps() (apps []string) {
	for app, n := range d.perApp {
		if n >= d.cfg.PerApp {
			apps = append(apps, app)
			d.hungry = true
		}
	}
	return apps
}

// run begins the attempts of deliveries that were claimed.
func (d *Dispatcher) run(deliveries []cloud.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.underWay) == 0 && len(deliveries) > 0 {
		d.renewal.Reset(d.cfg.Lease / 2)
		d.leased = d.cfg.Now().Add(d.cfg.Lease)
	}
	for _, delivery := range deliveries {
		d.underWay[leaseOf(delivery)] = struct{}{}
		d.perApp[delivery.AppID]++
		d.attempts.Go(func() { d.deliver(delivery) })
	}
}

func leaseOf(d cloud.Delivery) Lease { return Lease{ID: d.ID, Attempt: d.Attempt} }

// deliver makes one attempt and settles what came of it.
func (d *Dispatcher) deliver(delivery cloud.Delivery) {
	outcome := Outcome{Delivery: delivery}
	began := d.cfg.Now()
	switch {
	case d.begin.Err() != nil:
		outcome.Fate, outcome.RetryAt = Release, began
	case delivery.Depth > cloud.MaxDepth:
		outcome.Fate = Dropped
		d.cfg.Logger.Warn("an event was dropped: too many events have led to it, one by one", "event_id", delivery.EventID,
			"app_id", delivery.AppID, "trigger_id", delivery.TriggerID, "cause_id", delivery.CauseID, "depth", delivery.Depth)
	case delivery.Attempt > delivery.Retry.Attempts:
		// The last attempt was begun and nobody lived to tell how it ended.
		outcome.Fate, outcome.Reason = Dead, cloud.CodeWorkerDied
		outcome.Error = &cloud.ScriptError{Name: "Error", Message: "the server ended during the last attempt"}
	default:
		result, err := d.cfg.Run(d.begin, d.attempt, delivery)
		outcome = d.judge(delivery, result, err)
	}
	d.cfg.Observe(delivery.Kind, outcome.Fate, max(0, began.Sub(delivery.DueAt)))
	d.settle(outcome)
	d.announce()
}

// notRunPause is how long to wait with what could not even begin.
const notRunPause = time.Second

// judge decides what becomes of a delivery after an attempt.
func (d *Dispatcher) judge(delivery cloud.Delivery, r Result, err error) Outcome {
	o := Outcome{Delivery: delivery, Reason: r.Code, Error: r.Error}
	now := d.cfg.Now()
	switch {
	case err != nil:
		o.Fate, o.RetryAt = Release, now
		if d.begin.Err() == nil {
			o.RetryAt = now.Add(notRunPause)
			d.cfg.Logger.Warn("an event could not be run", "event_id", delivery.EventID, "app_id", delivery.AppID, "error", err)
		}
	case r.Code == "":
		o.Fate = Done
	case d.attempt.Err() != nil && !r.Final:
		o.Fate, o.RetryAt = Release, now // it was cut off, which is not its fault
	case r.Final || delivery.Attempt >= delivery.Retry.Attempts:
		o.Fate = Dead
	default:
		o.Fate, o.RetryAt = Retry, now.Add(pause(delivery.Retry, delivery.Attempt, d.cfg.Random()))
	}
	return o
}

// settle hands an outcome to whoever writes; if nobody does, the caller writes
// until nothing is left. So outcomes that come together share a transaction.
func (d *Dispatcher) settle(o Outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled = append(d.settled, o)
	if d.settling {
		return
	}
	d.settling = true
	for len(d.settled) > 0 {
		d.mu.Unlock()
		runtime.Gosched() // attempts that end just now come along
		d.mu.Lock()
		batch := d.settled
		d.settled = nil
		d.mu.Unlock()
		due := d.write(batch)
		d.mu.Lock()
		d.free(batch)
		if due || d.hungry {
			d.mu.Unlock()
			d.Poke()
			d.mu.Lock()
		}
	}
	d.settling = false
}

// free makes the room of settled deliveries available. The mutex is held.
func (d *Dispatcher) free(batch []Outcome) {
	for _, o := range batch {
		delete(d.underWay, leaseOf(o.Delivery))
		if d.perApp[o.Delivery.AppID]--; d.perApp[o.Delivery.AppID] == 0 {
			delete(d.perApp, o.Delivery.AppID)
		}
	}
	if len(d.underWay) == 0 {
		d.renewal.Stop()
	}
}

// settleAttempts is how often outcomes are tried to be written. After that, the
// leases pass, and the deliveries are made again.
const settleAttempts = 5

// write stores outcomes, and is stubborn about it: what is lost here is delivered
// twice. It reports whether something is due, or will be, because of them.
func (d *Dispatcher) write(batch []Outcome) (due bool) {
	var err error
	for i := range settleAttempts {
		if due, err = d.store(batch); err == nil {
			return due || i > 0 // what was emitted when an answer was lost is not counted
		}
		select {
		case <-time.After(200 * time.Millisecond << i):
			continue
		case <-d.attempt.Done():
		}
		break
	}
	d.expect(d.cfg.Now().Add(d.cfg.Lease))
	if cloud.CodeOf(err) == cloud.CodeUnavailable || len(batch) == 1 {
		d.cfg.Logger.Error("what became of events could not be stored; they will be delivered again", "events", len(batch), "error", err)
		return true
	}
	// One of them may be to blame: the others must not suffer from it.
	for i, o := range batch {
		if _, err := d.store(batch[i : i+1]); err != nil {
			d.cfg.Logger.Error("what became of an event could not be stored; it will be delivered again", "event_id", o.Delivery.EventID, "error", err)
		}
	}
	return true
}

// storeTimeout bounds a call of the store that Stop does not cut off.
const storeTimeout = 10 * time.Second

// store settles outcomes.
func (d *Dispatcher) store(batch []Outcome) (due bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	emitted, err := d.cfg.Store.Settle(ctx, d.cfg.Now(), batch)
	if err != nil {
		return false, err
	}
	due = emitted > 0
	if due {
		d.expect(d.cfg.Now())
	}
	died := false
	for _, o := range batch {
		if o.Fate == Retry || o.Fate == Release {
			due = true
			d.expect(o.RetryAt)
		}
		died = died || o.Fate == Dead
	}
	if died && d.trusted.Load() { // by a clock that is ahead, all would be old
		d.sweep(ctx, len(batch))
	}
	return due, nil
}

// sweepExtra is how many more old dead letters may go than new ones come.
const sweepExtra = 200

// sweep deletes old dead letters, because there are at most so many new ones.
func (d *Dispatcher) sweep(ctx context.Context, came int) {
	if _, err := d.cfg.Store.SweepDeadLetters(ctx, d.cfg.Now().Add(-d.cfg.Retention), came+sweepExtra); err != nil {
		d.cfg.Logger.Warn("old dead letters could not be swept", "error", err)
	}
}

// keep prolongs the leases of what is under way, until the last attempt has ended.
func (d *Dispatcher) keep() {
	for {
		select {
		case <-d.attempt.Done():
			return
		case <-d.renewal.C:
			d.renew()
		}
	}
}

// renew prolongs the leases of what is under way now.
func (d *Dispatcher) renew() {
	leases := d.leases()
	if len(leases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(d.attempt, d.cfg.Lease/4)
	defer cancel()
	until := d.cfg.Now().Add(d.cfg.Lease)
	err := d.cfg.Store.Renew(ctx, leases, until)
	if err != nil && d.attempt.Err() == nil {
		d.cfg.Logger.Warn("leases of events could not be prolonged", "events", len(leases), "error", err)
	}
	defer d.announce()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(d.underWay) == 0:
	case err != nil:
		d.renewal.Reset(d.cfg.Lease / 8)
	default:
		d.renewal.Reset(d.cfg.Lease / 2)
		d.leased = until
	}
}

// clock notices when the time of day was set back.
type clock struct{ wall, passing time.Time }

// setBack tells whether the time of day is more than a second behind what it was
// at the last call and the time that has passed since.
func (c *clock) setBack(now time.Time) bool {
	last := *c
	*c = clock{wall: now.Round(0), passing: time.Now()}
	return !last.wall.IsZero() && c.wall.Sub(last.wall) < c.passing.Sub(last.passing)-time.Second
}
