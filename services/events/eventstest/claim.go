package eventstest

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

func (s *suite) roundTrip() {
	full := cloud.Delivery{
		EventID: cloud.NewID(), AppID: s.app, TriggerID: cloud.NewID(), ScriptID: s.script, Kind: cloud.EventKV, Op: "set",
		Payload: json.RawMessage(`{"collection":"é","value":{"n":1.5,"s":"a\"b"}}`), UserID: s.fixture.User("ann"), Scopes: []cloud.Scope{cloud.ScopeScriptRead},
		Depth: 3, CauseID: cloud.NewID(), Retry: cloud.RetryPolicy{Attempts: 7, Backoff: cloud.Linear, Base: 1500 * time.Millisecond, Cap: 24 * time.Hour},
		At: s.at(-90), DueAt: s.at(-60),
	}
	least := cloud.Delivery{
		EventID: cloud.NewID(), AppID: s.app, ScriptID: s.script, Kind: cloud.EventHTTP, Payload: json.RawMessage(`{}`),
		Scopes: []cloud.Scope{}, Retry: cloud.DefaultRetry, At: s.at(-30), DueAt: s.at(-30),
	}
	for _, want := range []cloud.Delivery{full, least} {
		d := want
		d.ID, d.Attempt, d.LastError = 77, 4, &cloud.ScriptError{Name: "Error"} // none of which counts
		s.must(s.store.Enqueue(s.Context(), d))
	}
	got := s.claim(s.now)
	s.equal(len(got), 2)
	for i, want := range []cloud.Delivery{full, least} {
		want.ID, want.Attempt = got[i].ID, 1
		s.same(got[i], want)
	}
	if got[0].ID == got[1].ID {
		s.Fatal("two rows have one id")
	}
}

func (s *suite) notDue() {
	s.put("later", s.at(1))
	s.equal(len(s.claim(s.now)), 0)
	s.equal(tags(s.claim(s.at(1))), []string{"later"})
}

func (s *suite) order() {
	for i, due := range []int{-1, -3, -2, -3} {
		s.put(fmt.Sprint(i), s.at(due))
	}
	claim := events.Claim{Now: s.now, Until: s.at(60), Limit: 3, PerApp: 10}
	s.equal(tags(s.claimAs(claim)), []string{"1", "3", "2"})
	s.equal(tags(s.claimAs(claim)), []string{"0"})
	s.equal(len(s.claimAs(claim)), 0)
}

// claimedBy counts what was claimed by the app's name.
func claimedBy(claimed []cloud.Delivery, apps map[string]string) map[string]int {
	counts := map[string]int{}
	for _, d := range claimed {
		counts[apps[d.AppID]]++
	}
	return counts
}

// apps makes apps a, b and so on, with so many deliveries due, those of the first
// before those of the others.
func (s *suite) apps(due ...int) (ids []string, names map[string]string) {
	s.Helper()
	names = map[string]string{}
	for i, n := range due {
		name := string(rune('a' + i))
		id := s.fixture.App(name)
		ids, names[id] = append(ids, id), name
		for k := range n {
			s.putIn(id, fmt.Sprint(name, k), s.at(100*i+k-1000))
		}
	}
	return ids, names
}

func (s *suite) fair() {
	_, names := s.apps(20, 5, 1)
	claim := events.Claim{Now: s.now, Until: s.at(60), Limit: 7, PerApp: 100}
	s.equal(claimedBy(s.claimAs(claim), names), map[string]int{"a": 3, "b": 3, "c": 1})
	s.equal(claimedBy(s.claimAs(claim), names), map[string]int{"a": 5, "b": 2})
	s.equal(claimedBy(s.claimAs(claim), names), map[string]int{"a": 7})
}

func (s *suite) underWay() {
	ids, names := s.apps(10, 2, 1)
	claim := events.Claim{Now: s.now, Until: s.at(60), Limit: 3, PerApp: 100, UnderWay: map[string]int{ids[0]: 3}}
	s.equal(claimedBy(s.claimAs(claim), names), map[string]int{"b": 2, "c": 1})
	s.equal(claimedBy(s.claimAs(claim), names), map[string]int{"a": 3})
}

func (s *suite) perApp() {
	ids, names := s.apps(10, 2)
	claim := events.Claim{Now: s.now, Until: s.at(60), Limit: 10, PerApp: 3, UnderWay: map[string]int{ids[0]: 1, "other": 3}}
	s.equal(claimedBy(s.claimAs(claim), names), map[string]int{"a": 2, "b": 2})
	claim.UnderWay[ids[0]] = 3
	s.equal(len(s.claimAs(claim)), 0)
	claim.UnderWay[ids[0]] = 4
	s.equal(len(s.claimAs(claim)), 0)
}

func (s *suite) except() {
	for i := range 3 {
		s.put(fmt.Sprint(i), s.at(i-10))
	}
	claim := events.Claim{Now: s.now, Until: s.at(1), Limit: 2, PerApp: 10}
	held := s.claimAs(claim)
	s.equal(tags(held), []string{"0", "1"})
	claim.Now, claim.Until, claim.Limit = s.at(10), s.at(11), 10
	claim.Except = []events.Lease{lease(held[0]), lease(held[1])}
	s.equal(tags(s.claimAs(claim)), []string{"2"})

	// What another has taken over is not the caller's any more.
	s.equal(len(s.claimAs(events.Claim{Now: s.at(20), Until: s.at(21), Limit: 1, PerApp: 10})), 1)
	claim.Now, claim.Until = s.at(30), s.at(31)
	s.equal(tags(s.claimAs(claim)), []string{"0", "2"})
}

func (s *suite) claimsAtOnce() {
	const deliveries, claimers = 200, 4
	apps := []string{s.app, s.fixture.App("other")}
	for i := range deliveries {
		s.putIn(apps[i%2], fmt.Sprint(i), s.now)
	}
	var mu sync.Mutex
	seen := map[int64]int{}
	var wg sync.WaitGroup
	for range claimers {
		wg.Go(func() {
			for {
				claimed, err := s.store.Claim(s.Context(), events.Claim{Now: s.now, Until: s.at(60), Limit: 7, PerApp: 1000})
				if err != nil {
					s.Error(err)
					return
				}
				if len(claimed) == 0 {
					return // nothing is left, or others are about to take it
				}
				mu.Lock()
				for _, d := range claimed {
					seen[d.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, d := range s.claim(s.now) { // what was locked at the end
		seen[d.ID]++
	}
	s.equal(len(seen), deliveries)
	for id, times := range seen {
		if times != 1 {
			s.Fatalf("%d was claimed %d times", id, times)
		}
	}
}

func (s *suite) takenOver() {
	s.put("x", s.now)
	first := s.claimOne(s.now)
	s.equal(first.Attempt, 1)
	s.equal(len(s.claim(s.at(59))), 0)
	second := s.claimOne(s.at(60))
	s.equal(second.ID, first.ID)
	s.equal(second.Attempt, 2)
	s.equal(second.DueAt, first.DueAt)
}

func (s *suite) nextDue() {
	s.put("later", s.at(20))
	s.wantNext(s.at(20))
	s.putIn(s.fixture.App("other"), "sooner", s.at(10))
	s.wantNext(s.at(10))
	s.put("now", s.at(-10))
	s.wantNext(s.at(-10))
}

func (s *suite) nextDueLeases() {
	s.put("x", s.now)
	d := s.claimOne(s.now)
	s.wantNext(s.at(60))
	s.wantNoNext(lease(d))
	s.put("later", s.at(30))
	s.wantNext(s.at(30))
	s.wantNext(s.at(30), lease(d))
	// What another has taken over counts again.
	again := s.claimAs(events.Claim{Now: s.at(60), Until: s.at(70), Limit: 1, PerApp: 10})
	s.equal(tags(again), []string{"x"})
	s.settle(s.at(60), events.Outcome{Delivery: s.claimOne(s.at(60))})
	s.wantNext(s.at(70), lease(d))
	s.wantNoNext(lease(again[0]))
}

func (s *suite) nextDueFull() {
	other := s.fixture.App("other")
	s.put("due", s.at(-5))
	s.putIn(other, "later", s.at(5))
	for _, test := range []struct {
		full []string
		want time.Time
	}{
		{nil, s.at(-5)},
		{[]string{s.app}, s.at(5)},
		{[]string{other}, s.at(-5)},
		{[]string{s.app, other}, time.Time{}},
	} {
		at, ok, err := s.store.NextDue(s.Context(), true, nil, test.full)
		s.must(err)
		s.equal(ok, !test.want.IsZero())
		s.equal(at.Equal(test.want), true)
	}
}

func (s *suite) nextDueSchedules() {
	due := func(schedules bool) (at time.Time) {
		s.Helper()
		at, _, err := s.store.NextDue(s.Context(), schedules, nil, []string{s.app})
		s.must(err)
		return at
	}
	off := s.schedule("0 12 * * *", s.at(5))
	off.Enabled = false
	s.fixture.SetTrigger(off)
	s.equal(due(true).IsZero(), true)
	s.fixture.SetTrigger(s.schedule("0 12 * * *", s.at(20)))
	s.fixture.SetTrigger(s.schedule("0 12 * * *", s.at(10)))
	s.equal(due(true).Equal(s.at(10)), true)
	s.equal(due(false).IsZero(), true)
	s.putIn(s.fixture.App("other"), "x", s.at(7))
	s.equal(due(true).Equal(s.at(7)), true)
}

func (s *suite) renew() {
	s.put("x", s.now)
	d := s.claimOne(s.now)
	s.must(s.store.Renew(s.Context(), []events.Lease{lease(d)}, s.at(100)))
	s.wantNext(s.at(100))
	s.equal(len(s.claim(s.at(99))), 0)
	s.must(s.store.Renew(s.Context(), []events.Lease{lease(d)}, s.at(300))) // has passed, and nobody took it
	s.equal(len(s.claim(s.at(200))), 0)
	s.settle(s.at(200), events.Outcome{Delivery: d})
	s.wantNoNext()
}

func (s *suite) renewOthers() {
	for i := range 3 {
		s.put(fmt.Sprint(i), s.at(i-10))
	}
	ours := s.claim(s.now)
	s.equal(len(ours), 3)
	leases := []events.Lease{lease(ours[0]), lease(ours[1]), lease(ours[2]), {ID: ours[2].ID + 1000, Attempt: 1}}
	theirs := s.claimAs(events.Claim{Now: s.at(60), Until: s.at(70), Limit: 1, PerApp: 10})
	s.equal(tags(theirs), []string{"0"})
	s.settle(s.at(60),
		events.Outcome{Delivery: ours[1], Fate: events.Retry, RetryAt: s.at(80)},
		events.Outcome{Delivery: ours[2]})
	s.must(s.store.Renew(s.Context(), leases, s.at(1000)))
	s.wantNext(s.at(70))
	s.wantNext(s.at(80), lease(theirs[0]))
	got := tags(s.claim(s.at(80)))
	slices.Sort(got)
	s.equal(got, []string{"0", "1"})
}
