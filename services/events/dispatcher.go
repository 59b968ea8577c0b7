package events

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
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
	// Observe is told of each attempt: its kind, fate, and how long it was due
	// before it began. Nil: nobody is.
	Observe func(kind cloud.EventKind, fate Fate, waited time.Duration)

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

	attempts sync.WaitGroup

	mu       sync.Mutex
	underWay map[int64]cloud.Delivery // leased and not settled, by id
	perApp   map[string]int           // of them, by app
	settled  []Outcome                // to be written
	settling bool                     // somebody is writing
	hungry   bool                     // something due was left for want of room
	idle     sync.Cond                // signalled when nobody writes any more
	renewal  *time.Timer              // while anything is under way
	trusted  bool                     // the clock is
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
		underWay: map[int64]cloud.Delivery{}, perApp: map[string]int{},
		trusted: cfg.Trusted == nil,
	}
	d.idle.L = &d.mu
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
}

// Start begins to deliver. Further calls do nothing.
func (d *Dispatcher) Start() {
	d.start.Do(func() {
		if d.cfg.Trusted != nil {
			d.attempts.Go(d.awaitClock)
		}
		go d.loop()
		d.Poke()
	})
}

// awaitClock lets schedules fire once the clock can be believed.
func (d *Dispatcher) awaitClock() {
	if err := d.cfg.Trusted(d.begin); err != nil && d.begin.Err() == nil {
		d.cfg.Logger.Warn("schedules run by a clock that nobody has confirmed", "error", err)
	}
	d.mu.Lock()
	d.trusted = true
	d.mu.Unlock()
	d.Poke()
}

// Stop takes nothing more, hands back what has not begun, lets attempts that run
// end until ctx does, and cuts off the rest. It waits for all of that. It may be
// called without Start, and more than once.
func (d *Dispatcher) Stop(ctx context.Context) {
	d.start.Do(func() { close(d.done) })
	d.stop()
	<-d.done
	defer context.AfterFunc(ctx, d.cut)()
	d.attempts.Wait()
	d.cut()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.settling {
		d.idle.Wait()
	}
	if d.renewal != nil {
		d.renewal.Stop()
	}
}

// loop takes what is due whenever it may be so.
func (d *Dispatcher) loop() {
	defer close(d.done)
	alarm := time.NewTimer(0)
	alarm.Stop()
	defer alarm.Stop()
	var clock clock
	fresh := true // schedules were not looked at since the start
	failures := 0
	for {
		select {
		case <-d.begin.Done():
			return
		case <-d.poke:
		case <-alarm.C:
		}
		alarm.Stop()
		trusted := d.clockTrusted()
		wait, more, err := d.round(trusted, clock.setBack(d.cfg.Now()) || fresh)
		switch {
		case err != nil:
			wait, more = min(100*time.Millisecond<<failures, 30*time.Second), true
			if failures++; failures == 1 {
				d.cfg.Logger.Warn("events are not being delivered", "error", err)
			}
			failures = min(failures, 9)
		case failures > 0:
			d.cfg.Logger.Info("events are being delivered again")
			failures = 0
		}
		fresh = fresh && (err != nil || !trusted)
		if more {
			alarm.Reset(wait)
		}
	}
}

// contended is how long to wait for what another process is about to take.
const contended = time.Second

// round fires schedules, if the clock is trusted, and takes deliveries until
// nothing is due or no room is left. It returns how long to wait for what is due
// next, if anything is that the end of an attempt will not bring up first.
func (d *Dispatcher) round(trusted, mend bool) (wait time.Duration, more bool, err error) {
	ctx := d.begin
	if trusted && mend {
		if err := d.cfg.Store.MendSchedules(ctx, d.cfg.Now(), Next); err != nil {
			return 0, false, err
		}
	}
	for {
		room := d.room()
		if room == 0 {
			return 0, false, nil
		}
		taken, err := d.take(ctx, room)
		if err != nil {
			return 0, false, err
		}
		if taken == room {
			continue
		}
		at, some, err := d.cfg.Store.NextDue(ctx, trusted, d.leases(), nil)
		if err != nil || !some {
			return 0, false, err
		}
		now := d.cfg.Now()
		if at.After(now) {
			return at.Sub(now), true, nil
		}
		fired := 0
		if trusted {
			if fired, err = d.cfg.Store.FireSchedules(ctx, now, d.cfg.Capacity, Next); err != nil {
				return 0, false, err
			}
		}
		if fired+taken == 0 {
			return contended, !d.sated(), nil
		}
	}
}

func (d *Dispatcher) clockTrusted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trusted
}

// room is how many deliveries may be taken now. If none, the next attempt to end
// pokes.
func (d *Dispatcher) room() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	free := d.cfg.Capacity - len(d.underWay)
	d.hungry = free == 0
	return free
}

// sated tells whether some app has as much under way as it may. If so, the next
// attempt to end pokes.
func (d *Dispatcher) sated() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.perApp {
		if n >= d.cfg.PerApp {
			d.hungry = true
			return true
		}
	}
	return false
}

// leases are those that this process holds.
func (d *Dispatcher) leases() []Lease {
	d.mu.Lock()
	defer d.mu.Unlock()
	leases := make([]Lease, 0, len(d.underWay))
	for id, delivery := range d.underWay {
		leases = append(leases, Lease{ID: id, Attempt: delivery.Attempt})
	}
	return leases
}

// take leases deliveries and starts their attempts.
func (d *Dispatcher) take(ctx context.Context, limit int) (int, error) {
	now := d.cfg.Now()
	d.mu.Lock()
	claim := Claim{Now: now, Until: now.Add(d.cfg.Lease), Limit: limit, PerApp: d.cfg.PerApp, UnderWay: make(map[string]int, len(d.perApp))}
	for app, n := range d.perApp {
		claim.UnderWay[app] = n
	}
	d.mu.Unlock()
	deliveries, err := d.cfg.Store.Claim(ctx, claim)
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, delivery := range deliveries {
		d.underWay[delivery.ID] = delivery
		d.perApp[delivery.AppID]++
		d.attempts.Go(func() { d.deliver(delivery) })
	}
	if len(deliveries) > 0 && d.renewal == nil {
		d.renewal = time.AfterFunc(d.cfg.Lease/2, d.renew)
	}
	return len(deliveries), nil
}

// deliver makes one attempt and settles what came of it.
func (d *Dispatcher) deliver(delivery cloud.Delivery) {
	outcome := Outcome{Delivery: delivery, Fate: Done}
	began := d.cfg.Now()
	switch {
	case delivery.Depth > cloud.MaxDepth:
		outcome.Fate = Dropped
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
		batch := d.settled
		d.settled = nil
		d.mu.Unlock()
		due := d.write(batch)
		d.mu.Lock()
		d.free(batch)
		if due || d.hungry {
			d.Poke()
		}
	}
	d.settling = false
	d.idle.Broadcast()
}

// free makes the room of settled deliveries available. The mutex is held.
func (d *Dispatcher) free(batch []Outcome) {
	for _, o := range batch {
		delete(d.underWay, o.Delivery.ID)
		if d.perApp[o.Delivery.AppID]--; d.perApp[o.Delivery.AppID] == 0 {
			delete(d.perApp, o.Delivery.AppID)
		}
	}
	if len(d.underWay) == 0 && d.renewal != nil {
		d.renewal.Stop()
		d.renewal = nil
	}
}

// settleAttempts is how often outcomes are tried to be written. After that, the
// leases pass, and the deliveries are made again.
const settleAttempts = 5

// write stores outcomes, and is stubborn about it: what is lost here is delivered
// twice. It reports whether something will be due because of them.
func (d *Dispatcher) write(batch []Outcome) (due bool) {
	var err error
	for i := range settleAttempts {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		var emitted int
		emitted, err = d.cfg.Store.Settle(ctx, d.cfg.Now(), batch)
		cancel()
		if err == nil {
			d.sweep(batch)
			return emitted > 0 || slices.ContainsFunc(batch, func(o Outcome) bool { return o.Fate == Retry || o.Fate == Release })
		}
		select {
		case <-time.After(200 * time.Millisecond << i):
			continue
		case <-d.begin.Done():
		}
		break
	}
	d.cfg.Logger.Error("what became of events could not be stored; they will be delivered again", "events", len(batch), "error", err)
	return true
}

// sweepLimit is how many old dead letters go when new ones come: more than came.
const sweepLimit = 200

// sweep deletes old dead letters when there are new ones.
func (d *Dispatcher) sweep(batch []Outcome) {
	for _, o := range batch {
		if o.Fate != Dead {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := d.cfg.Store.SweepDeadLetters(ctx, d.cfg.Now().Add(-d.cfg.Retention), sweepLimit+len(batch)); err != nil {
			d.cfg.Logger.Warn("old dead letters could not be swept", "error", err)
		}
		return
	}
}

// renew prolongs the leases of what is still under way.
func (d *Dispatcher) renew() {
	leases := d.leases()
	d.mu.Lock()
	d.renewal = nil
	if len(leases) > 0 {
		d.renewal = time.AfterFunc(d.cfg.Lease/2, d.renew)
	}
	d.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.cfg.Lease/4)
	defer cancel()
	if err := d.cfg.Store.Renew(ctx, leases, d.cfg.Now().Add(d.cfg.Lease)); err != nil {
		d.cfg.Logger.Warn("leases of events could not be prolonged", "events", len(leases), "error", err)
	}
}

// clock notices when the time of day was set back.
type clock struct{ last time.Time }

// setBack tells whether the time of day is more than a second behind what the
// monotonic clock makes of the last call's.
func (c *clock) setBack(now time.Time) bool {
	last := c.last
	c.last = now
	return !last.IsZero() && now.Round(0).Sub(last.Round(0)) < now.Sub(last)-time.Second
}
