package eventstest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// schedule is an enabled cron trigger whose next run is at a moment.
func (s *suite) schedule(text string, next time.Time) cloud.Trigger {
	return cloud.Trigger{
		ID: cloud.NewID(), AppID: s.app, ScriptID: s.script, Kind: cloud.EventCron, Enabled: true, UserID: s.user,
		Filter: cloud.TriggerFilter{Schedule: text}, Retry: cloud.DefaultRetry, NextAt: next, CreatedAt: s.now, UpdatedAt: s.now,
	}
}

// fireAll fires at most n schedules.
func (s *suite) fireAll(now time.Time, n int) (fired int) {
	s.Helper()
	fired, err := s.store.FireSchedules(s.Context(), now, n, events.Next)
	s.must(err)
	return fired
}

func (s *suite) wantNextAt(t cloud.Trigger, want time.Time) {
	s.Helper()
	if got := s.fixture.Trigger(s.app, t.ID); !got.NextAt.Equal(want) || !got.Enabled {
		s.Fatalf("next run at %s (enabled: %t), want %s", got.NextAt, got.Enabled, want)
	}
}

func (s *suite) fire() {
	missed := s.schedule("0 * * * *", s.at(-100_000)) // many runs ago
	missed.UserID, missed.Scopes = s.fixture.User("ann"), []cloud.Scope{cloud.ScopeScriptRead}
	missed.Filter.TimeZone = "Asia/Kolkata"
	exact, later, off := s.schedule("@every 90s", s.now), s.schedule("0 * * * *", s.at(1)), s.schedule("0 * * * *", s.at(-1))
	off.Enabled = false
	for _, t := range []cloud.Trigger{missed, exact, later, off, s.handler("handler")} {
		s.fixture.SetTrigger(t)
	}
	s.equal(s.fireAll(s.now, 10), 2)
	got := s.claim(s.now)
	s.equal(len(got), 2)
	if got[0].TriggerID != missed.ID {
		got[0], got[1] = got[1], got[0]
	}
	for i, t := range []cloud.Trigger{missed, exact} {
		s.same(got[i], cloud.Delivery{
			ID: got[i].ID, EventID: got[i].EventID, AppID: s.app, TriggerID: t.ID, ScriptID: t.ScriptID, Kind: cloud.EventCron,
			Payload: events.CronPayload(t.Filter, t.NextAt), UserID: t.UserID, Scopes: t.Scopes,
			Attempt: 1, Retry: t.Retry, At: s.now, DueAt: s.now,
		})
	}
	if got[0].EventID == got[1].EventID || !cloud.IsID(got[0].EventID) {
		s.Fatalf("event ids %s, %s", got[0].EventID, got[1].EventID)
	}
	s.wantNextAt(missed, time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)) // the full hour in Kolkata
	s.wantNextAt(exact, s.at(90).Truncate(time.Second))
	s.wantNextAt(later, s.at(1))
	s.equal(s.fireAll(s.now, 10), 0)
	s.equal(len(s.claim(s.now)), 0)
}

func (s *suite) fireBatches() {
	for i := range 7 {
		s.fixture.SetTrigger(s.schedule("@hourly", s.at(i-10)))
	}
	for _, want := range []int{3, 3, 1, 0} {
		s.equal(s.fireAll(s.now, 3), want)
	}
	s.equal(len(s.claim(s.now)), 7)
}

func (s *suite) fireLast() {
	last := s.schedule("0 0 30 2 *", s.now)
	other := s.schedule("@hourly", s.now)
	s.fixture.SetTrigger(last)
	s.fixture.SetTrigger(other)
	fired, err := s.store.FireSchedules(s.Context(), s.now, 10, func(f cloud.TriggerFilter, after time.Time) (time.Time, error) {
		if f.Schedule == last.Filter.Schedule {
			return time.Time{}, errors.New("it never comes")
		}
		return events.Next(f, after)
	})
	s.must(err)
	s.equal(fired, 2)
	s.equal(len(s.claim(s.now)), 2)
	s.equal(s.fixture.Trigger(s.app, last.ID).Enabled, false)
	s.wantNextAt(other, time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC))
	s.equal(s.fireAll(s.at(1), 10), 0)
}

func (s *suite) fireOfNobody() {
	nobodys := s.schedule("@hourly", s.now)
	nobodys.UserID = ""
	s.fixture.SetTrigger(nobodys)
	s.equal(s.fireAll(s.now, 10), 1)
	s.equal(len(s.claim(s.now)), 0)
	s.wantNextAt(nobodys, time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC))
}

func (s *suite) fireAtOnce() {
	const schedules, callers = 40, 4
	for i := range schedules {
		s.fixture.SetTrigger(s.schedule("@hourly", s.at(i-100)))
	}
	fired := make([]int, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range schedules {
				n, err := s.store.FireSchedules(s.Context(), s.now, 3, events.Next)
				if err != nil {
					s.Error(err)
				}
				fired[i] += n
			}
		})
	}
	wg.Wait()
	total := s.fireAll(s.now, schedules) // what was locked at the end
	for _, n := range fired {
		total += n
	}
	s.equal(total, schedules)
	triggers := map[string]bool{}
	for _, d := range s.claim(s.now) {
		triggers[d.TriggerID] = true
	}
	s.equal(len(triggers), schedules)
	s.equal(len(s.claim(s.now)), 0)
}

func (s *suite) mend() {
	far := s.schedule("@hourly", s.at(100_000)) // from before the clock was set back
	near := s.schedule("@hourly", s.at(30))
	missed := s.schedule("@hourly", s.at(-30))
	off := s.schedule("@hourly", s.at(100_000))
	off.Enabled = false
	broken := s.schedule("what?", s.at(100_000))
	for _, t := range []cloud.Trigger{far, near, missed, off, broken} {
		s.fixture.SetTrigger(t)
	}
	s.must(s.store.MendClock(s.Context(), s.now, time.Minute, nil, events.Next))
	s.wantNextAt(far, time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC))
	s.wantNextAt(near, s.at(30))
	s.wantNextAt(missed, s.at(-30))
	s.wantNextAt(broken, s.at(100_000))
	s.equal(s.fixture.Trigger(s.app, off.ID).NextAt.Equal(s.at(100_000)), true)
	s.wantNoNext() // nothing was fired

	// Many at once.
	var many []cloud.Trigger
	for i := range 50 {
		t := s.schedule(fmt.Sprintf("%d * * * *", i), s.at(200_000))
		many = append(many, t)
		s.fixture.SetTrigger(t)
	}
	s.must(s.store.MendClock(s.Context(), s.now, time.Minute, nil, events.Next))
	s.equal(slices.ContainsFunc(many, func(t cloud.Trigger) bool {
		return s.fixture.Trigger(s.app, t.ID).NextAt.After(s.now.Add(time.Hour))
	}), false)
}

// Deliveries of a time that comes once more.
func (s *suite) mendDeliveries() {
	const year = 365 * 24 * 3600
	put := func(tag string, happened, due int) {
		d := s.delivery(s.app, tag)
		d.At, d.DueAt = s.at(happened), s.at(due)
		d.Retry.Cap = 10 * time.Second
		s.must(s.store.Enqueue(s.Context(), d))
	}
	// What is leased: by others, by the caller, and as if the clock had always been right.
	put("theirs", year, year)
	theirs := s.claimOne(s.at(year))
	put("own", year, year)
	own := s.claimOne(s.at(year))
	s.settle(s.at(year), events.Outcome{Delivery: theirs, Fate: events.Release, RetryAt: s.at(year)})
	theirs = s.claimOne(s.at(year))
	put("short", 0, 0)
	s.claimAs(events.Claim{Now: s.now, Until: s.at(50), Limit: 1, PerApp: 10})

	put("new", year, year)
	put("retried soon", year, year+3)
	put("retried late", year, year+100)
	put("retried by a wrong clock", -5, year)
	put("right", -5, 4)
	s.must(s.store.MendClock(s.Context(), s.now, time.Minute, []events.Lease{lease(own)}, events.Next))
	for _, due := range []struct {
		at   int
		tags []string
	}{{0, []string{"new"}}, {2, nil}, {3, []string{"retried soon"}}, {4, []string{"right"}}, {9, nil}, {10, []string{"retried by a wrong clock", "retried late"}}, {49, nil}} {
		claimed := s.claim(s.at(due.at))
		got := tags(claimed)
		slices.Sort(got)
		if len(got) != 0 || len(due.tags) != 0 {
			s.equal(got, due.tags)
		}
		for _, d := range claimed {
			s.settle(s.at(due.at), events.Outcome{Delivery: d})
		}
	}
	s.equal(tags(s.claim(s.at(50))), []string{"short"})
	s.equal(len(s.claim(s.at(59))), 0)
	s.equal(tags(s.claim(s.at(60))), []string{"theirs"})
	s.wantNext(s.at(50+60), lease(theirs))
	s.settle(s.at(60), events.Outcome{Delivery: own}) // it is still the caller's
	s.equal(len(s.claim(s.at(109))), 0)
}
