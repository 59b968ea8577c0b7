package events

import (
	"sync"
	"time"
)

// Bounds of what the dispatcher says of the future, ours.
const (
	// blind is when to look again, for a process that takes this one's place, while
	// the store cannot be asked.
	blind = 15 * time.Minute
	// soon is how near what is due next must be for this process to stay for it.
	soon = 5 * time.Second
)

// alarm tells others when there is something to do. Its mutex is taken before
// that of the dispatcher.
type alarm struct {
	mu   sync.Mutex
	tell func(at time.Time) // nil: nobody
}

// announce tells when a process that takes this one's place has something to do.
func (d *Dispatcher) announce() {
	if d.alarm.tell == nil {
		return
	}
	d.alarm.mu.Lock()
	defer d.alarm.mu.Unlock()
	d.mu.Lock()
	at := d.next
	if len(d.underWay) > 0 {
		at = earlier(at, d.leased)
	}
	d.mu.Unlock()
	d.alarm.tell(at)
}

// expect notes that something is due at a moment, at the latest.
func (d *Dispatcher) expect(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = earlier(d.next, at)
}

// plan notes when something is due next; zero: never.
func (d *Dispatcher) plan(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = at
}

// earlier is the earlier of two moments, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Busy says what needs this process: deliveries under way, something that is due in
// a moment, or a clock that is waited for; "" if nothing does. Once that has
// changed, Config.Alarm is called.
func (d *Dispatcher) Busy() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(d.underWay) > 0:
		return "events are being delivered"
	case d.running && !d.trusted.Load():
		return "schedules wait for the clock"
	case d.running && !d.next.IsZero() && d.next.Sub(d.cfg.Now()) < soon:
		return "an event is due in a moment"
	default:
		return ""
	}
}
