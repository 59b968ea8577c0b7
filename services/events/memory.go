package events

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Memory is a Store that forgets everything at the end of the process: for tests
// of what is built on one. It knows no executions, so State forgets an event that
// was delivered. It is safe for concurrent use.
type Memory struct {
	mu       sync.Mutex
	lastID   int64
	rows     map[int64]*row
	byApp    map[string][]*row // by due moment and id
	letters  []cloud.DeadLetter
	triggers map[string]cloud.Trigger
	scripts  map[string]string // names by id
}

// row is a delivery in the outbox.
type row struct {
	cloud.Delivery
	leasedUntil time.Time // zero: not leased
}

func (r *row) leased() bool { return !r.leasedUntil.IsZero() }

func (r *row) lease() Lease { return Lease{ID: r.ID, Attempt: r.Attempt} }

// comes is when the row is due, or its lease passes.
func (r *row) comes() time.Time {
	if r.leased() {
		return r.leasedUntil
	}
	return r.DueAt
}

func byDue(a, b *row) int {
	return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{rows: map[int64]*row{}, byApp: map[string][]*row{}, triggers: map[string]cloud.Trigger{}, scripts: map[string]string{}}
}

// SetTrigger adds a trigger, or replaces the one with its id.
func (m *Memory) SetTrigger(t cloud.Trigger) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.triggers[t.ID] = t
}

// Trigger is the trigger with the id, as schedules have left it.
func (m *Memory) Trigger(id string) cloud.Trigger {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.triggers[id]
}

// SetScript tells the name of a script.
func (m *Memory) SetScript(id, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scripts[id] = name
}

// stamp is t to the precision that stores keep.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// add puts a delivery into the outbox. The lock is held, as it is in all that
// follow without a comment on it.
func (m *Memory) add(d cloud.Delivery) {
	m.lastID++
	d.ID, d.Attempt, d.LastError = m.lastID, 0, nil
	d.At, d.DueAt = stamp(d.At), stamp(d.DueAt)
	r := &row{Delivery: d}
	m.rows[d.ID] = r
	m.place(r)
}

// place puts a row where its due moment belongs.
func (m *Memory) place(r *row) {
	rows := m.byApp[r.AppID]
	i, _ := slices.BinarySearchFunc(rows, r, byDue)
	m.byApp[r.AppID] = slices.Insert(rows, i, r)
}

// displace takes a row from where place put it.
func (m *Memory) displace(r *row) {
	rows := m.byApp[r.AppID]
	i, _ := slices.BinarySearchFunc(rows, r, byDue)
	if m.byApp[r.AppID] = slices.Delete(rows, i, i+1); len(m.byApp[r.AppID]) == 0 {
		delete(m.byApp, r.AppID)
	}
}

// Enqueue implements Store.
func (m *Memory) Enqueue(_ context.Context, d cloud.Delivery) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.Kind == cloud.EventHTTP && len(m.byApp[d.AppID]) >= cloud.MaxWaiting {
		return Full()
	}
	m.add(d)
	return nil
}

// Claim implements Store.
func (m *Memory) Claim(_ context.Context, c Claim) ([]cloud.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	type candidate struct {
		*row
		rank int // of its app's deliveries under way
	}
	var candidates []candidate
	for app, rows := range m.byApp {
		rank := c.UnderWay[app]
		for _, r := range rows {
			if rank >= c.PerApp || rank-c.UnderWay[app] >= c.Limit || r.DueAt.After(c.Now) {
				break
			}
			if r.comes().After(c.Now) || slices.Contains(c.Except, r.lease()) {
				continue
			}
			candidates = append(candidates, candidate{r, rank})
			rank++
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), byDue(a.row, b.row))
	})
	var claimed []cloud.Delivery
	for _, r := range candidates[:min(len(candidates), c.Limit)] {
		r.leasedUntil = stamp(c.Until)
		r.Attempt++
		claimed = append(claimed, r.Delivery)
	}
	return claimed, nil
}

// NextDue implements Store.
func (m *Memory) NextDue(_ context.Context, schedules bool, except []Lease, full []string) (time.Time, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var first time.Time
	consider := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	for app, rows := range m.byApp {
		if slices.Contains(full, app) {
			continue
		}
		for _, r := range rows {
			if !slices.Contains(except, r.lease()) {
				consider(r.comes())
			}
			if !r.leased() {
				break // what follows is due later, and so are leases of it
			}
		}
	}
	if schedules {
		for _, t := range m.triggers {
			if t.Enabled && !t.NextAt.IsZero() {
				consider(t.NextAt)
			}
		}
	}
	return first, !first.IsZero(), nil
}

// held is the row of a lease that nobody has settled or taken over.
func (m *Memory) held(l Lease) (*row, bool) {
	r, ok := m.rows[l.ID]
	return r, ok && r.leased() && r.Attempt == l.Attempt
}

// Renew implements Store.
func (m *Memory) Renew(_ context.Context, leases []Lease, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range leases {
		if r, ok := m.held(l); ok {
			r.leasedUntil = stamp(until)
		}
	}
	return nil
}

// Settle implements Store.
func (m *Memory) Settle(_ context.Context, now time.Time, outcomes []Outcome) (emitted int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range outcomes {
		r, ok := m.held(Lease{ID: o.Delivery.ID, Attempt: o.Delivery.Attempt})
		if !ok {
			continue
		}
		m.displace(r)
		if o.Fate == Retry || o.Fate == Release {
			r.leasedUntil, r.DueAt = time.Time{}, stamp(o.RetryAt)
			if o.Fate == Release {
				r.Attempt--
			} else {
				r.LastError = o.Error
			}
			m.place(r)
			continue
		}
		delete(m.rows, r.ID)
		if id, resolution, ok := Handled(o); ok {
			m.handled(r, id, resolution, now)
		}
		if o.Fate == Dead && r.Kind != cloud.EventDeadLetter {
			n, err := m.bury(o, now)
			if err != nil {
				return 0, err
			}
			emitted += n
		}
	}
	return emitted, nil
}

// handled notes how the handler of a dead letter did.
func (m *Memory) handled(r *row, id string, resolution cloud.Resolution, now time.Time) {
	l := m.letter(r.AppID, id)
	if l == nil || l.Resolution != "" && (l.Resolution != cloud.HandlerFailed || resolution == cloud.HandlerFailed) {
		return
	}
	l.Resolution, l.ResolvedAt, l.ResolvedBy = resolution, stamp(now), "script "+m.scripts[r.ScriptID]
}

// bury makes a dead letter, and emits the event for those who handle it.
func (m *Memory) bury(o Outcome, now time.Time) (emitted int, err error) {
	letter := NewDeadLetter(o, cloud.NewID(), m.scripts[o.Delivery.ScriptID], stamp(now))
	payload, err := DeadLetterPayload(letter)
	if err != nil {
		return 0, err
	}
	m.letters = append(m.letters, letter)
	event := cloud.NewID()
	for _, t := range m.triggers {
		if t.AppID == letter.AppID && t.Kind == cloud.EventDeadLetter && t.Enabled && t.UserID != "" {
			m.add(cloud.Delivery{
				EventID: event, AppID: t.AppID, TriggerID: t.ID, ScriptID: t.ScriptID, Kind: t.Kind, Payload: payload,
				UserID: t.UserID, Scopes: t.Scopes, Depth: letter.Depth + 1, Retry: t.Retry, At: now, DueAt: now,
			})
			emitted++
		}
	}
	return emitted, nil
}

// FireSchedules implements Store.
func (m *Memory) FireSchedules(_ context.Context, now time.Time, n int, next NextRun) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fired := 0
	for _, t := range slices.SortedFunc(maps.Values(m.triggers), func(a, b cloud.Trigger) int { return a.NextAt.Compare(b.NextAt) }) {
		if fired == n {
			break
		}
		if !t.Enabled || t.NextAt.IsZero() || t.NextAt.After(now) {
			continue
		}
		if t.UserID != "" {
			m.add(cloud.Delivery{
				EventID: cloud.NewID(), AppID: t.AppID, TriggerID: t.ID, ScriptID: t.ScriptID, Kind: t.Kind, Payload: CronPayload(t.Filter, t.NextAt),
				UserID: t.UserID, Scopes: t.Scopes, Retry: t.Retry, At: now, DueAt: now,
			})
		}
		at, err := next(t.Filter, now)
		t.Enabled = err == nil
		t.NextAt = at
		m.triggers[t.ID] = t
		fired++
	}
	return fired, nil
}

// MendClock implements Store.
func (m *Memory) MendClock(_ context.Context, now time.Time, lease time.Duration, except []Lease, next NextRun) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		if slices.Contains(except, r.lease()) {
			continue
		}
		m.displace(r)
		if due := now.Add(min(r.Retry.Cap, max(0, r.DueAt.Sub(r.At)))); due.Before(r.DueAt) {
			r.DueAt = stamp(due)
		}
		if until := now.Add(lease); until.Before(r.leasedUntil) {
			r.leasedUntil = stamp(until)
		}
		m.place(r)
	}
	for id, t := range m.triggers {
		if !t.Enabled || t.NextAt.IsZero() {
			continue
		}
		if at, err := next(t.Filter, now); err == nil && at.Before(t.NextAt) {
			t.NextAt = at
			m.triggers[id] = t
		}
	}
	return nil
}

// letter is the dead letter with the id, or nil.
func (m *Memory) letter(appID, id string) *cloud.DeadLetter {
	i := slices.IndexFunc(m.letters, func(l cloud.DeadLetter) bool { return l.AppID == appID && l.ID == id })
	if i < 0 {
		return nil
	}
	return &m.letters[i]
}

// selects tells whether the filter, its Before and Limit aside, is for the dead
// letter.
func selects(f cloud.DeadLetterFilter, l cloud.DeadLetter) bool {
	return f.AppID == l.AppID && (f.TriggerID == "" || f.TriggerID == l.TriggerID) && (f.ScriptID == "" || f.ScriptID == l.ScriptID) &&
		(f.Kind == "" || f.Kind == l.Kind) && (!f.Waiting || resolvable(l))
}

// DeadLetters implements Store.
func (m *Memory) DeadLetters(_ context.Context, f cloud.DeadLetterFilter) ([]cloud.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []cloud.DeadLetter
	for _, l := range m.letters {
		if selects(f, l) && (f.Before == "" || l.ID < f.Before) {
			l.Payload = nil
			found = append(found, l)
		}
	}
	slices.SortFunc(found, func(a, b cloud.DeadLetter) int { return strings.Compare(b.ID, a.ID) })
	return found[:min(len(found), f.Limit)], nil
}

// DeadLetter implements Store.
func (m *Memory) DeadLetter(_ context.Context, appID, id string) (cloud.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.letter(appID, id)
	if l == nil {
		return cloud.DeadLetter{}, NoDeadLetter(id)
	}
	return *l, nil
}

// resolvable tells whether somebody may still say what becomes of a dead letter.
func resolvable(l cloud.DeadLetter) bool {
	return l.Resolution == "" || l.Resolution == cloud.HandlerFailed
}

// resolve settles a dead letter.
func (m *Memory) resolve(l *cloud.DeadLetter, r cloud.Resolution, note, by string, depth int, now time.Time) {
	l.Resolution, l.Note, l.ResolvedBy, l.ResolvedAt = r, note, by, stamp(now)
	if r == cloud.Replayed {
		d := l.Delivery
		d.Depth, d.DueAt = max(d.Depth, depth), now
		m.add(d)
	}
}

// Resolve implements Store.
func (m *Memory) Resolve(_ context.Context, appID, id string, r cloud.Resolution, note, by string, depth int, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.letter(appID, id)
	if l == nil {
		return NoDeadLetter(id)
	}
	if !resolvable(*l) {
		return AlreadyResolved(id, l.Resolution)
	}
	m.resolve(l, r, note, by, depth, now)
	return nil
}

// ReplayAll implements Store.
func (m *Memory) ReplayAll(_ context.Context, f cloud.DeadLetterFilter, by string, depth int, now time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for i := range m.letters {
		if l := &m.letters[i]; selects(f, *l) && resolvable(*l) {
			m.resolve(l, cloud.Replayed, "", by, depth, now)
			n++
		}
	}
	return n, nil
}

// SweepDeadLetters implements Store.
func (m *Memory) SweepDeadLetters(_ context.Context, before time.Time, n int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := len(m.letters)
	m.letters = slices.DeleteFunc(m.letters, func(l cloud.DeadLetter) bool {
		if n == 0 || !l.DiedAt.Before(before) {
			return false
		}
		n--
		return true
	})
	return had - len(m.letters), nil
}

// State implements Store.
func (m *Memory) State(_ context.Context, eventID string) (cloud.EventState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		if r.EventID != eventID {
			continue
		}
		s := cloud.EventState{ID: eventID, AppID: r.AppID, Attempts: r.Attempt, NextAt: r.DueAt}
		switch {
		case r.leased():
			s.Status, s.NextAt = "running", time.Time{}
		case r.Attempt > 0:
			s.Status = "retrying"
		default:
			s.Status = "queued"
		}
		return s, nil
	}
	for _, l := range m.letters {
		if l.EventID == eventID && l.Resolution != cloud.Replayed {
			return cloud.EventState{ID: eventID, AppID: l.AppID, Status: "dead", Attempts: l.Attempt, DeadLetter: l.ID}, nil
		}
	}
	return cloud.EventState{}, NoEvent(eventID)
}

// Depth implements Store.
func (m *Memory) Depth(context.Context) (Depth, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := Depth{Waiting: map[string]int{}, DeadLetters: map[string]int{}}
	for _, r := range m.rows {
		d.Waiting[r.AppID]++
		if !r.leased() && (d.EarliestDue.IsZero() || r.DueAt.Before(d.EarliestDue)) {
			d.EarliestDue = r.DueAt
		}
	}
	for _, l := range m.letters {
		if resolvable(l) {
			d.DeadLetters[l.AppID]++
		}
	}
	return d, nil
}
