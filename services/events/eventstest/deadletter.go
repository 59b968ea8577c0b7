package eventstest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// bury makes a dead letter of a delivery, so many seconds from now.
func (s *suite) bury(d cloud.Delivery, seconds int) {
	s.Helper()
	d.DueAt = s.at(seconds)
	s.must(s.store.Enqueue(s.Context(), d))
	claimed := s.claimOne(s.at(seconds))
	s.settle(s.at(seconds), events.Outcome{Delivery: claimed, Fate: events.Dead, Reason: cloud.CodeTimeout})
}

func (s *suite) list() {
	trigger, script := cloud.NewID(), s.fixture.Script(s.app, "other")
	for i := range 6 {
		d := s.delivery(s.app, fmt.Sprint(i))
		if i%2 == 0 {
			d.TriggerID = trigger
		}
		if i%3 == 0 {
			d.ScriptID = script
		}
		if i == 5 {
			d.Kind, d.Op = cloud.EventHTTP, ""
		}
		s.bury(d, i)
	}
	s.bury(s.delivery(s.fixture.App("elsewhere"), "elsewhere"), 7)
	all := s.letters()
	s.equal(len(all), 6)
	s.must(s.store.Resolve(s.Context(), s.app, all[1].ID, cloud.Ignored, "", "ann", 0, s.now))
	for _, test := range []struct {
		filter cloud.DeadLetterFilter
		want   []int
	}{
		{cloud.DeadLetterFilter{Limit: 10}, []int{5, 4, 3, 2, 1, 0}},
		{cloud.DeadLetterFilter{Limit: 2}, []int{5, 4}},
		{cloud.DeadLetterFilter{Limit: 2, Before: all[4].ID}, []int{3, 2}},
		{cloud.DeadLetterFilter{Limit: 10, Before: all[0].ID}, nil},
		{cloud.DeadLetterFilter{Limit: 10, Waiting: true}, []int{5, 4, 3, 2, 0}},
		{cloud.DeadLetterFilter{Limit: 10, TriggerID: trigger}, []int{4, 2, 0}},
		{cloud.DeadLetterFilter{Limit: 10, ScriptID: script}, []int{3, 0}},
		{cloud.DeadLetterFilter{Limit: 10, Kind: cloud.EventHTTP}, []int{5}},
		{cloud.DeadLetterFilter{Limit: 10, Kind: cloud.EventKV, TriggerID: trigger, ScriptID: script, Waiting: true, Before: all[3].ID}, []int{0}},
		{cloud.DeadLetterFilter{Limit: 10, TriggerID: cloud.NewID()}, nil},
	} {
		test.filter.AppID = s.app
		letters, err := s.store.DeadLetters(s.Context(), test.filter)
		s.must(err)
		var got []int
		for _, l := range letters {
			s.equal(len(l.Payload), 0)
			got = append(got, slices.IndexFunc(all, func(a cloud.DeadLetter) bool { return a.ID == l.ID }))
		}
		s.equal(got, test.want)
	}
}

func (s *suite) deadLetterOfOther() {
	s.put("x", s.now)
	l := s.die(s.now)
	other := s.fixture.App("other")
	for _, place := range []struct{ app, id string }{{other, l.ID}, {s.app, cloud.NewID()}, {s.app, "x"}, {"x", l.ID}} {
		_, err := s.store.DeadLetter(s.Context(), place.app, place.id)
		s.code(err, cloud.CodeNotFound)
		s.code(s.store.Resolve(s.Context(), place.app, place.id, cloud.Replayed, "", "ann", 0, s.now), cloud.CodeNotFound)
	}
	n, err := s.store.ReplayAll(s.Context(), cloud.DeadLetterFilter{AppID: other}, "ann", 0, s.now)
	s.must(err)
	s.equal(n, 0)
	s.wantNoNext()
	s.wantResolution("", "", "", time.Time{})
}

func (s *suite) resolve() {
	s.put("x", s.now)
	l := s.die(s.now)
	s.must(s.store.Resolve(s.Context(), s.app, l.ID, cloud.Ignored, "a \"lamp\"", "ann", 0, s.at(9)))
	s.wantResolution(cloud.Ignored, "ann", "a \"lamp\"", s.at(9))
	for _, r := range []cloud.Resolution{cloud.Ignored, cloud.Replayed, cloud.HandledByScript} {
		s.code(s.store.Resolve(s.Context(), s.app, l.ID, r, "", "bob", 0, s.at(10)), cloud.CodeConflict)
	}
	s.wantResolution(cloud.Ignored, "ann", "a \"lamp\"", s.at(9))
	s.wantNoNext()
}

func (s *suite) resolveFailed() {
	l, handlers := s.dieWithHandlers("bad")
	s.settle(s.at(1), events.Outcome{Delivery: handlers[0], Fate: events.Dead})
	s.wantWaiting(1)
	s.must(s.store.Resolve(s.Context(), s.app, l.ID, cloud.Ignored, "", "ann", 0, s.at(9)))
	s.wantResolution(cloud.Ignored, "ann", "", s.at(9))
	s.wantWaiting(0)
}

// wantWaiting compares how many dead letters of the suite's app somebody has to look
// after.
func (s *suite) wantWaiting(n int) {
	s.Helper()
	letters, err := s.store.DeadLetters(s.Context(), cloud.DeadLetterFilter{AppID: s.app, Waiting: true, Limit: 10})
	s.must(err)
	s.equal(len(letters), n)
	depth, err := s.store.Depth(s.Context())
	s.must(err)
	s.equal(depth.DeadLetters[s.app], n)
}

func (s *suite) replay() {
	d := s.delivery(s.app, "x")
	d.TriggerID, d.CauseID = cloud.NewID(), cloud.NewID()
	d.Retry = cloud.RetryPolicy{Attempts: 3, Backoff: cloud.Constant, Base: time.Second, Cap: time.Minute}
	s.must(s.store.Enqueue(s.Context(), d))
	s.settle(s.now, events.Outcome{Delivery: s.claimOne(s.now), Fate: events.Retry, RetryAt: s.at(1), Error: boom})
	l := s.die(s.at(1))
	s.equal(l.Attempt, 2)
	s.must(s.store.Resolve(s.Context(), s.app, l.ID, cloud.Replayed, "once more", "ann", 0, s.at(500)))
	s.wantResolution(cloud.Replayed, "ann", "once more", s.at(500))
	s.wantNext(s.at(500))
	got := s.claimOne(s.at(500))
	d.ID, d.Attempt, d.DueAt = got.ID, 1, s.at(500)
	s.same(got, d)
	s.code(s.store.Resolve(s.Context(), s.app, l.ID, cloud.Replayed, "", "ann", 0, s.at(501)), cloud.CodeConflict)

	// It may die again.
	s.settle(s.at(502), events.Outcome{Delivery: got, Fate: events.Dead, Reason: cloud.CodeTimeout})
	s.equal(len(s.letters()), 2)
}

// What is replayed is as deep as it was, or as asked.
func (s *suite) replayDepth() {
	for i, test := range []struct{ depth, want int }{{0, 1}, {1, 1}, {5, 5}} {
		s.bury(s.delivery(s.app, "x"), 2*i)
		letters := s.letters()
		s.must(s.store.Resolve(s.Context(), s.app, letters[len(letters)-1].ID, cloud.Replayed, "", "ann", test.depth, s.at(2*i)))
		again := s.claimOne(s.at(2 * i))
		s.equal(again.Depth, test.want)
		s.settle(s.at(2*i+1), events.Outcome{Delivery: again, Fate: events.Dead, Reason: cloud.CodeTimeout})
		n, err := s.store.ReplayAll(s.Context(), cloud.DeadLetterFilter{AppID: s.app}, "ann", test.depth+1, s.at(2*i+1))
		s.must(err)
		s.equal(n, 1)
		again = s.claimOne(s.at(2*i + 1))
		s.equal(again.Depth, max(test.want, test.depth+1))
		s.settle(s.at(2*i+1), events.Outcome{Delivery: again})
	}
}

func (s *suite) resolveAtOnce() {
	s.put("x", s.now)
	l := s.die(s.now)
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.store.Resolve(s.Context(), s.app, l.ID, cloud.Replayed, "", "ann", 0, s.now)
		})
	}
	wg.Wait()
	codes := map[cloud.Code]int{}
	for _, err := range errs {
		codes[cloud.CodeOf(err)]++
	}
	s.equal(codes, map[cloud.Code]int{"": 1, cloud.CodeConflict: 3})
	s.claimOne(s.now)
}

func (s *suite) replayAll() {
	script := s.fixture.Script(s.app, "other")
	const n = 7
	for i := range n {
		d := s.delivery(s.app, fmt.Sprint(i))
		if i == n-1 {
			d.ScriptID = script
		}
		s.bury(d, i)
	}
	all := s.letters()
	s.must(s.store.Resolve(s.Context(), s.app, all[0].ID, cloud.Ignored, "", "ann", 0, s.now))
	for _, test := range []struct {
		filter cloud.DeadLetterFilter
		want   int
	}{
		{cloud.DeadLetterFilter{ScriptID: script}, 1},
		{cloud.DeadLetterFilter{ScriptID: script}, 0},
		{cloud.DeadLetterFilter{Kind: cloud.EventHTTP}, 0},
		{cloud.DeadLetterFilter{Waiting: true, Before: all[0].ID, Limit: 1}, n - 2},
		{cloud.DeadLetterFilter{}, 0},
	} {
		test.filter.AppID = s.app
		got, err := s.store.ReplayAll(s.Context(), test.filter, "ann", 0, s.at(100))
		s.must(err)
		s.equal(got, test.want)
	}
	got := tags(s.claim(s.at(100)))
	slices.Sort(got)
	s.equal(got, []string{"1", "2", "3", "4", "5", "6"})
	for i, l := range s.letters() {
		want := cloud.Replayed
		if i == 0 {
			want = cloud.Ignored
		}
		s.equal(l.Resolution, want)
		s.equal(l.ResolvedBy, "ann")
	}
}

func (s *suite) sweep() {
	for i := range 5 {
		s.bury(s.delivery(s.app, fmt.Sprint(i)), i)
	}
	all := s.letters()
	s.must(s.store.Resolve(s.Context(), s.app, all[1].ID, cloud.Ignored, "", "ann", 0, s.at(100)))
	for _, want := range []int{2, 1, 0} {
		n, err := s.store.SweepDeadLetters(s.Context(), s.at(3), 2)
		s.must(err)
		s.equal(n, want)
	}
	left := s.letters()
	s.equal(len(left), 2)
	s.equal([]string{left[0].ID, left[1].ID}, []string{all[3].ID, all[4].ID})
}

func (s *suite) state() {
	d := s.put("x", s.at(5))
	want := func(status string, attempts int, next time.Time, letter string) {
		s.Helper()
		got, err := s.store.State(s.Context(), d.EventID)
		s.must(err)
		got.Executions = nil // what the log says of it is not the outbox's
		s.equal(got, cloud.EventState{ID: d.EventID, AppID: s.app, Status: status, Attempts: attempts, NextAt: next, DeadLetter: letter})
	}
	want("queued", 0, s.at(5), "")
	claimed := s.claimOne(s.at(5))
	want("running", 1, time.Time{}, "")
	s.settle(s.at(5), events.Outcome{Delivery: claimed, Fate: events.Retry, RetryAt: s.at(9), Reason: cloud.CodeTimeout})
	want("retrying", 1, s.at(9), "")
	l := s.die(s.at(9))
	want("dead", 2, time.Time{}, l.ID)
	s.must(s.store.Resolve(s.Context(), s.app, l.ID, cloud.Replayed, "", "ann", 0, s.at(20)))
	want("queued", 0, s.at(20), "")
	for _, id := range []string{cloud.NewID(), "x"} {
		_, err := s.store.State(s.Context(), id)
		s.code(err, cloud.CodeNotFound)
	}
}

func (s *suite) depth() {
	other := s.fixture.App("other")
	s.put("x", s.at(-5))
	s.put("later", s.at(50))
	s.putIn(other, "x", s.at(-2))
	depth, err := s.store.Depth(s.Context())
	s.must(err)
	s.equal(depth.EarliestDue.Equal(s.at(-5)), true)
	s.equal(depth.Waiting, map[string]int{s.app: 2, other: 1})

	claimed := s.claim(s.now)
	depth, err = s.store.Depth(s.Context())
	s.must(err)
	s.equal(depth.EarliestDue.Equal(s.at(50)), true)
	s.equal(depth.Waiting, map[string]int{s.app: 2, other: 1})

	for _, d := range claimed {
		s.settle(s.now, events.Outcome{Delivery: d, Fate: events.Dead, Reason: cloud.CodeTimeout})
	}
	s.must(s.store.Resolve(s.Context(), s.app, s.letter().ID, cloud.Ignored, "", "ann", 0, s.now))
	depth, err = s.store.Depth(s.Context())
	s.must(err)
	s.equal(depth.Waiting, map[string]int{s.app: 1})
	s.equal(depth.DeadLetters, map[string]int{other: 1})
}
