// Package eventstest specifies what an events.Store does, as tests that every
// store passes.
package eventstest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// Fixture puts into a store what others keep there: apps and so on. Its methods
// fail the test if they cannot.
type Fixture interface {
	// App, Script and User make one with the name and return its id.
	App(slug string) string
	Script(appID, name string) string
	User(name string) string
	// SetTrigger adds the trigger, under its id and as it is.
	SetTrigger(t cloud.Trigger)
	// Trigger reads it.
	Trigger(appID, id string) cloud.Trigger
}

// New makes an empty store for one test.
type New func(t *testing.T) (events.Store, Fixture)

// TestStore runs the specification on stores that newStore makes.
func TestStore(t *testing.T, newStore New) {
	for name, test := range map[string]func(*suite){
		"an empty store has nothing to do":                   (*suite).empty,
		"a delivery comes back as it went in":                (*suite).roundTrip,
		"what is not due is not claimed":                     (*suite).notDue,
		"an app's deliveries come in order":                  (*suite).order,
		"a claim is fair over apps":                          (*suite).fair,
		"a claim counts what is under way":                   (*suite).underWay,
		"a claim takes no more of an app than it may":        (*suite).perApp,
		"a claim leaves out what the caller holds":           (*suite).except,
		"claims at once share without overlap":               (*suite).claimsAtOnce,
		"a lease that has passed is taken over":              (*suite).takenOver,
		"the next due moment":                                (*suite).nextDue,
		"the next due moment of leases":                      (*suite).nextDueLeases,
		"the next due moment without full apps":              (*suite).nextDueFull,
		"the next due moment of schedules":                   (*suite).nextDueSchedules,
		"a renewed lease lasts":                              (*suite).renew,
		"only one's own leases are renewed":                  (*suite).renewOthers,
		"done: the row goes":                                 (*suite).done,
		"dropped: the row goes":                              (*suite).dropped,
		"retry: due again, with the error":                   (*suite).retry,
		"release: as if it had not been claimed":             (*suite).release,
		"whatever a script throws can be stored":             (*suite).strangeErrors,
		"dead: a dead letter":                                (*suite).dead,
		"an attempt too many is not shown":                   (*suite).attemptTooMany,
		"outcomes are settled together":                      (*suite).settleMany,
		"a stale outcome is left alone":                      (*suite).settleStale,
		"an outcome settled twice counts once":               (*suite).settleTwice,
		"a passed lease that nobody took is settled":         (*suite).settlePassed,
		"dead letters are told to their triggers":            (*suite).deadLetterTriggers,
		"a handler of dead letters succeeds":                 (*suite).handlerSucceeds,
		"a handler of dead letters fails":                    (*suite).handlerFails,
		"handlers of one dead letter disagree":               (*suite).handlersDisagree,
		"a handler comes after somebody else":                (*suite).handlerLate,
		"a test event about no dead letter":                  (*suite).handlerOfNothing,
		"schedules fire when they have come":                 (*suite).fire,
		"many schedules fire in batches":                     (*suite).fireBatches,
		"a schedule that never comes again is disabled":      (*suite).fireLast,
		"the schedule of a user who is gone does not run":    (*suite).fireOfNobody,
		"schedules fire once, whoever asks":                  (*suite).fireAtOnce,
		"schedules are mended after the clock was set back":  (*suite).mend,
		"deliveries are mended after the clock was set back": (*suite).mendDeliveries,
		"dead letters are listed":                            (*suite).list,
		"a dead letter is of its app":                        (*suite).deadLetterOfOther,
		"a dead letter is resolved once":                     (*suite).resolve,
		"a dead letter whose handler failed can be resolved": (*suite).resolveFailed,
		"a dead letter is replayed":                          (*suite).replay,
		"what is replayed is as deep as is said":             (*suite).replayDepth,
		"one of two who resolve at once succeeds":            (*suite).resolveAtOnce,
		"dead letters are replayed by a filter":              (*suite).replayAll,
		"old dead letters are swept":                         (*suite).sweep,
		"the state of an event":                              (*suite).state,
		"what waits is counted":                              (*suite).depth,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, fixture := newStore(t)
			s := &suite{T: t, store: store, fixture: fixture, now: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)}
			s.app = fixture.App("app")
			s.script = fixture.Script(s.app, "script")
			s.user = fixture.User("owner of triggers")
			test(s)
		})
	}
}

type suite struct {
	*testing.T
	store   events.Store
	fixture Fixture
	app     string // that deliveries are of unless a test says otherwise
	script  string
	user    string // who registers triggers
	now     time.Time
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) code(err error, want cloud.Code) {
	s.Helper()
	if cloud.CodeOf(err) != want {
		s.Fatalf("error %v, want code %q", err, want)
	}
}

func (s *suite) equal(got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// at is the moment so many seconds from now.
func (s *suite) at(seconds int) time.Time { return s.now.Add(time.Duration(seconds) * time.Second) }

// delivery is one of the script in an app, due now, with a tag that names it in
// the test.
func (s *suite) delivery(app, tag string) cloud.Delivery {
	return cloud.Delivery{
		EventID: cloud.NewID(), AppID: app, ScriptID: s.script, Kind: cloud.EventKV, Op: "set",
		Payload: json.RawMessage(fmt.Sprintf(`{"tag":%q}`, tag)), Depth: 1, Retry: cloud.DefaultRetry, At: s.now, DueAt: s.now,
	}
}

// put enqueues one delivery of the suite's app.
func (s *suite) put(tag string, due time.Time) cloud.Delivery {
	s.Helper()
	return s.putIn(s.app, tag, due)
}

func (s *suite) putIn(app, tag string, due time.Time) cloud.Delivery {
	s.Helper()
	d := s.delivery(app, tag)
	d.DueAt = due
	s.must(s.store.Enqueue(s.Context(), d))
	return d
}

// claim is one of nearly everything, for a minute.
func (s *suite) claim(now time.Time) []cloud.Delivery {
	s.Helper()
	return s.claimAs(events.Claim{Now: now, Until: now.Add(time.Minute), Limit: 1000, PerApp: 1000})
}

func (s *suite) claimAs(c events.Claim) []cloud.Delivery {
	s.Helper()
	claimed, err := s.store.Claim(s.Context(), c)
	s.must(err)
	return claimed
}

// claimOne claims the one delivery that is due.
func (s *suite) claimOne(now time.Time) cloud.Delivery {
	s.Helper()
	claimed := s.claim(now)
	if len(claimed) != 1 {
		s.Fatalf("%d deliveries are due, want 1: %v", len(claimed), tags(claimed))
	}
	return claimed[0]
}

func (s *suite) settle(now time.Time, outcomes ...events.Outcome) (emitted int) {
	s.Helper()
	emitted, err := s.store.Settle(s.Context(), now, outcomes)
	s.must(err)
	return emitted
}

// next is NextDue of all but schedules.
func (s *suite) next(except ...events.Lease) (time.Time, bool) {
	s.Helper()
	at, ok, err := s.store.NextDue(s.Context(), false, except, nil)
	s.must(err)
	return at, ok
}

func (s *suite) wantNext(want time.Time, except ...events.Lease) {
	s.Helper()
	if at, ok := s.next(except...); !ok || !at.Equal(want) {
		s.Fatalf("next due at %s (%t), want %s", at, ok, want)
	}
}

func (s *suite) wantNoNext(except ...events.Lease) {
	s.Helper()
	if at, ok := s.next(except...); ok {
		s.Fatalf("something is due at %s", at)
	}
}

// letters are the dead letters of the suite's app, oldest first.
func (s *suite) letters() []cloud.DeadLetter {
	s.Helper()
	letters, err := s.store.DeadLetters(s.Context(), cloud.DeadLetterFilter{AppID: s.app, Limit: 1000})
	s.must(err)
	slices.Reverse(letters)
	return letters
}

// letter is the only dead letter, with everything.
func (s *suite) letter() cloud.DeadLetter {
	s.Helper()
	letters := s.letters()
	if len(letters) != 1 {
		s.Fatalf("%d dead letters, want 1", len(letters))
	}
	l, err := s.store.DeadLetter(s.Context(), s.app, letters[0].ID)
	s.must(err)
	return l
}

func tag(d cloud.Delivery) string {
	var p struct{ Tag string }
	_ = json.Unmarshal(d.Payload, &p)
	return p.Tag
}

func tags(ds []cloud.Delivery) []string {
	names := make([]string, len(ds))
	for i, d := range ds {
		names[i] = tag(d)
	}
	return names
}

func lease(d cloud.Delivery) events.Lease { return events.Lease{ID: d.ID, Attempt: d.Attempt} }

// value is JSON as a value that can be compared whatever its text looks like.
func (s *suite) value(text json.RawMessage) any {
	s.Helper()
	var v any
	s.must(json.Unmarshal(text, &v))
	return v
}

// same compares deliveries, and their payloads by value.
func (s *suite) same(got, want cloud.Delivery) {
	s.Helper()
	s.equal(s.value(got.Payload), s.value(want.Payload))
	got.Payload, want.Payload = nil, nil
	s.equal(got, want)
}

func (s *suite) empty() {
	s.equal(len(s.claim(s.now)), 0)
	s.wantNoNext()
	emitted, err := s.store.Settle(s.Context(), s.now, nil)
	s.must(err)
	s.equal(emitted, 0)
	s.must(s.store.Renew(s.Context(), nil, s.now))
	fired, err := s.store.FireSchedules(s.Context(), s.now, 10, events.Next)
	s.must(err)
	s.equal(fired, 0)
	s.must(s.store.MendClock(s.Context(), s.now, time.Minute, nil, events.Next))
	swept, err := s.store.SweepDeadLetters(s.Context(), s.now, 10)
	s.must(err)
	s.equal(swept, 0)
	s.equal(len(s.letters()), 0)
	depth, err := s.store.Depth(s.Context())
	s.must(err)
	s.equal(len(depth.Waiting)+len(depth.DeadLetters), 0)
	s.equal(depth.EarliestDue.IsZero(), true)
}
