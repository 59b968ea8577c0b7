package eventstest

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

var boom = &cloud.ScriptError{Name: "TypeError", Message: "boom \"é\"", Stack: "at f (main.ts:1:2)", Code: "E_BOOM"}

func (s *suite) done() {
	s.put("x", s.now)
	s.equal(s.settle(s.now, events.Outcome{Delivery: s.claimOne(s.now)}), 0)
	s.wantNoNext()
	s.equal(len(s.claim(s.at(1000))), 0)
	s.equal(len(s.letters()), 0)
}

func (s *suite) dropped() {
	s.put("x", s.now)
	s.equal(s.settle(s.now, events.Outcome{Delivery: s.claimOne(s.now), Fate: events.Dropped}), 0)
	s.wantNoNext()
	s.equal(len(s.letters()), 0)
}

func (s *suite) retry() {
	s.put("x", s.now)
	d := s.claimOne(s.now)
	s.equal(s.settle(s.now, events.Outcome{Delivery: d, Fate: events.Retry, RetryAt: s.at(30), Reason: cloud.CodeScriptThrew, Error: boom}), 0)
	s.wantNext(s.at(30))
	s.equal(len(s.claim(s.at(29))), 0)
	d.Attempt, d.DueAt, d.LastError = 2, s.at(30), boom
	again := s.claimOne(s.at(30))
	s.same(again, d)
	s.settle(s.at(30), events.Outcome{Delivery: again, Fate: events.Retry, RetryAt: s.at(40), Reason: cloud.CodeTimeout})
	d.Attempt, d.DueAt, d.LastError = 3, s.at(40), nil
	s.same(s.claimOne(s.at(40)), d)
}

func (s *suite) release() {
	s.put("x", s.now)
	first := s.claimOne(s.now)
	s.settle(s.now, events.Outcome{Delivery: first, Fate: events.Retry, RetryAt: s.at(1), Reason: cloud.CodeScriptThrew, Error: boom})
	d := s.claimOne(s.at(1))
	s.equal(d.Attempt, 2)
	s.settle(s.at(1), events.Outcome{Delivery: d, Fate: events.Release, RetryAt: s.at(5)})
	s.wantNext(s.at(5))
	d.DueAt = s.at(5)
	s.same(s.claimOne(s.at(5)), d)
}

func (s *suite) strangeErrors() {
	strange := &cloud.ScriptError{Name: "a\x00b", Message: "\xff\xfe \u2028 " + strings.Repeat("x", 100_000), Stack: "\x00", Code: "\xc3"}
	s.put("x", s.now)
	s.settle(s.now, events.Outcome{Delivery: s.claimOne(s.now), Fate: events.Retry, RetryAt: s.at(1), Reason: cloud.CodeScriptThrew, Error: strange})
	d := s.claimOne(s.at(1))
	s.equal(d.LastError != nil, true)
	s.fixture.SetTrigger(s.handler("handler"))
	s.equal(s.settle(s.at(1), events.Outcome{Delivery: d, Fate: events.Dead, Reason: cloud.CodeScriptThrew, Error: strange}), 1)
	s.equal(s.letter().LastError != nil, true)
	s.claimOne(s.at(1))
}

// die makes a dead letter of what is due, which must be one delivery.
func (s *suite) die(now time.Time) cloud.DeadLetter {
	s.Helper()
	s.settle(now, events.Outcome{Delivery: s.claimOne(now), Fate: events.Dead, Reason: cloud.CodeScriptThrew, Error: boom})
	letters := s.letters()
	if len(letters) == 0 {
		s.Fatal("there is no dead letter")
	}
	l, err := s.store.DeadLetter(s.Context(), s.app, letters[len(letters)-1].ID)
	s.must(err)
	return l
}

func (s *suite) dead() {
	d := s.delivery(s.app, "x")
	d.TriggerID, d.UserID, d.CauseID = cloud.NewID(), s.fixture.User("ann"), cloud.NewID()
	d.Scopes = []cloud.Scope{cloud.ScopeScriptRead, cloud.ScopeAppAdmin}
	s.must(s.store.Enqueue(s.Context(), d))
	claimed := s.claimOne(s.now)
	s.equal(s.settle(s.at(3), events.Outcome{Delivery: claimed, Fate: events.Dead, Reason: cloud.CodeScriptThrew, Error: boom}), 0)
	s.wantNoNext()
	l := s.letter()
	s.equal(cloud.IsID(l.ID), true)
	d.Attempt, d.LastError, d.DueAt = 1, boom, time.Time{}
	s.same(l.Delivery, d)
	l.Delivery = cloud.Delivery{}
	s.equal(l, cloud.DeadLetter{ID: l.ID, Script: "script", Reason: cloud.CodeScriptThrew, DiedAt: s.at(3)})
}

func (s *suite) attemptTooMany() {
	d := s.delivery(s.app, "x")
	d.Retry.Attempts = 1
	s.must(s.store.Enqueue(s.Context(), d))
	s.claimOne(s.now)
	second := s.claimOne(s.at(60)) // the first was cut off with its process
	s.equal(second.Attempt, 2)
	s.settle(s.at(60), events.Outcome{Delivery: second, Fate: events.Dead, Reason: cloud.CodeWorkerDied})
	l := s.letter()
	s.equal(l.Attempt, 1)
	s.equal(l.LastError == nil, true)
}

func (s *suite) settleMany() {
	for i, tag := range []string{"done", "retry", "dead", "dropped", "release"} {
		s.put(tag, s.at(i-10))
	}
	d := s.claim(s.now)
	s.settle(s.now,
		events.Outcome{Delivery: d[0], Fate: events.Done},
		events.Outcome{Delivery: d[1], Fate: events.Retry, RetryAt: s.at(10)},
		events.Outcome{Delivery: d[2], Fate: events.Dead, Reason: cloud.CodeTimeout},
		events.Outcome{Delivery: d[3], Fate: events.Dropped},
		events.Outcome{Delivery: d[4], Fate: events.Release, RetryAt: s.at(20)})
	s.equal(s.letter().EventID, d[2].EventID)
	left := s.claim(s.at(1000))
	s.equal(tags(left), []string{"retry", "release"})
	s.equal([]int{left[0].Attempt, left[1].Attempt}, []int{2, 1})
}

func (s *suite) settleStale() {
	for _, fate := range []events.Fate{events.Done, events.Retry, events.Release, events.Dead, events.Dropped} {
		s.put("x", s.now)
		stale := s.claimOne(s.now)
		fresh := s.claimOne(s.at(60))
		s.equal(s.settle(s.at(61), events.Outcome{Delivery: stale, Fate: fate, RetryAt: s.at(62), Reason: cloud.CodeTimeout}), 0)
		s.wantNext(s.at(120))
		s.equal(len(s.letters()), 0)
		s.settle(s.at(61), events.Outcome{Delivery: fresh})
		s.wantNoNext()
	}
}

// An answer that was lost on its way makes the caller settle again.
func (s *suite) settleTwice() {
	s.fixture.SetTrigger(s.handler("handler"))
	s.put("x", s.now)
	d := s.claimOne(s.now)
	retry := events.Outcome{Delivery: d, Fate: events.Retry, RetryAt: s.at(10), Reason: cloud.CodeTimeout}
	s.settle(s.now, retry)
	retry.RetryAt = s.at(5)
	s.settle(s.now, retry)
	s.wantNext(s.at(10))
	d = s.claimOne(s.at(10))
	dead := events.Outcome{Delivery: d, Fate: events.Dead, Reason: cloud.CodeTimeout}
	s.equal(s.settle(s.at(10), dead), 1)
	s.equal(s.settle(s.at(10), dead), 0)
	s.letter()
	s.claimOne(s.at(10)) // one event for the handler
}

func (s *suite) settlePassed() {
	s.put("x", s.now)
	s.settle(s.at(1000), events.Outcome{Delivery: s.claimOne(s.now)})
	s.wantNoNext()
}

// handler is an enabled dead_letter trigger of a script of its own.
func (s *suite) handler(script string) cloud.Trigger {
	return cloud.Trigger{
		ID: cloud.NewID(), AppID: s.app, ScriptID: s.fixture.Script(s.app, script), Kind: cloud.EventDeadLetter, Enabled: true, UserID: s.user,
		Retry: cloud.RetryPolicy{Attempts: 1, Backoff: cloud.Constant, Base: time.Second, Cap: time.Second}, CreatedAt: s.now, UpdatedAt: s.now,
	}
}

func (s *suite) deadLetterTriggers() {
	first, second, off, elsewhere, nobodys := s.handler("first"), s.handler("second"), s.handler("off"), s.handler("elsewhere"), s.handler("nobodys")
	nobodys.UserID = ""
	first.UserID, first.Scopes = s.fixture.User("ann"), []cloud.Scope{cloud.ScopeAppAdmin}
	off.Enabled = false
	elsewhere.AppID = s.fixture.App("other")
	elsewhere.ScriptID = s.fixture.Script(elsewhere.AppID, "elsewhere")
	other := s.schedule("0 12 * * *", s.at(1000))
	for _, t := range []cloud.Trigger{first, second, off, elsewhere, nobodys, other} {
		s.fixture.SetTrigger(t)
	}
	d := s.put("x", s.now)
	claimed := s.claimOne(s.now)
	s.equal(s.settle(s.at(5), events.Outcome{Delivery: claimed, Fate: events.Dead, Reason: cloud.CodeScriptThrew, Error: boom}), 2)
	l := s.letter()
	got := s.claim(s.at(5))
	s.equal(len(got), 2)
	if got[0].TriggerID != first.ID {
		got[0], got[1] = got[1], got[0]
	}
	s.equal(got[0].EventID, got[1].EventID)
	if got[0].EventID == d.EventID {
		s.Fatal("the event about a dead letter has the id of what died")
	}
	for i, t := range []cloud.Trigger{first, second} {
		want := cloud.Delivery{
			ID: got[i].ID, EventID: got[i].EventID, AppID: s.app, TriggerID: t.ID, ScriptID: t.ScriptID, Kind: cloud.EventDeadLetter,
			UserID: t.UserID, Scopes: t.Scopes, Depth: d.Depth + 1, Attempt: 1, Retry: t.Retry, At: s.at(5), DueAt: s.at(5),
		}
		var err error
		want.Payload, err = events.DeadLetterPayload(l)
		s.must(err)
		s.same(got[i], want)
	}
	var payload struct {
		DeadLetterID string
		Attempts     int
		LastError    cloud.ScriptError
		Original     struct{ ID, Kind, Op, Tag string }
	}
	s.must(json.Unmarshal(got[0].Payload, &payload))
	s.equal(payload.DeadLetterID, l.ID)
	s.equal(payload.Attempts, 1)
	s.equal(payload.LastError, *boom)
	s.equal(payload.Original, struct{ ID, Kind, Op, Tag string }{d.EventID, "kv", "set", "x"})
}

// dieWithHandlers makes a dead letter and claims the event for each of so many
// handlers, in the order of their names.
func (s *suite) dieWithHandlers(names ...string) (cloud.DeadLetter, []cloud.Delivery) {
	s.Helper()
	claimed := make([]cloud.Delivery, len(names))
	scripts := map[string]int{}
	for i, name := range names {
		t := s.handler(name)
		scripts[t.ScriptID] = i
		s.fixture.SetTrigger(t)
	}
	s.put("x", s.now)
	l := s.die(s.now)
	for _, d := range s.claim(s.now) {
		claimed[scripts[d.ScriptID]] = d
	}
	return l, claimed
}

// wantResolution compares how the only dead letter was settled.
func (s *suite) wantResolution(r cloud.Resolution, by, note string, at time.Time) {
	s.Helper()
	l := s.letter()
	type resolution struct {
		r        cloud.Resolution
		by, note string
		at       time.Time
	}
	s.equal(resolution{l.Resolution, l.ResolvedBy, l.Note, l.ResolvedAt}, resolution{r, by, note, at})
}

func (s *suite) handlerSucceeds() {
	_, handlers := s.dieWithHandlers("good")
	s.wantResolution("", "", "", time.Time{})
	s.equal(s.settle(s.at(7), events.Outcome{Delivery: handlers[0]}), 0)
	s.wantResolution(cloud.HandledByScript, "script good", "", s.at(7))
	s.wantNoNext()
}

func (s *suite) handlerFails() {
	_, handlers := s.dieWithHandlers("bad")
	s.equal(s.settle(s.at(7), events.Outcome{Delivery: handlers[0], Fate: events.Dead, Reason: cloud.CodeTimeout}), 0)
	s.wantResolution(cloud.HandlerFailed, "script bad", "", s.at(7)) // and no further dead letter
	s.wantNoNext()
}

func (s *suite) handlersDisagree() {
	_, handlers := s.dieWithHandlers("bad", "good", "late")
	s.settle(s.at(7), events.Outcome{Delivery: handlers[0], Fate: events.Dead, Reason: cloud.CodeTimeout})
	s.settle(s.at(8), events.Outcome{Delivery: handlers[1]})
	s.wantResolution(cloud.HandledByScript, "script good", "", s.at(8))
	s.settle(s.at(9), events.Outcome{Delivery: handlers[2], Fate: events.Dead, Reason: cloud.CodeTimeout})
	s.wantResolution(cloud.HandledByScript, "script good", "", s.at(8))
}

func (s *suite) handlerLate() {
	l, handlers := s.dieWithHandlers("good", "bad")
	s.must(s.store.Resolve(s.Context(), s.app, l.ID, cloud.Ignored, "never mind", "ann", 0, s.at(1)))
	s.settle(s.at(7), events.Outcome{Delivery: handlers[0]}, events.Outcome{Delivery: handlers[1], Fate: events.Dead})
	s.wantResolution(cloud.Ignored, "ann", "never mind", s.at(1))
}

func (s *suite) handlerOfNothing() {
	for _, payload := range []string{`{}`, `{"deadLetterId":"x"}`, `{"deadLetterId":7}`, `{"deadLetterId":"00000000-0000-7000-8000-000000000000"}`} {
		for _, fate := range []events.Fate{events.Done, events.Dead} {
			d := s.delivery(s.app, "x")
			d.Kind, d.Payload = cloud.EventDeadLetter, json.RawMessage(payload)
			s.must(s.store.Enqueue(s.Context(), d))
			s.equal(s.settle(s.now, events.Outcome{Delivery: s.claimOne(s.now), Fate: fate, Reason: cloud.CodeTimeout}), 0)
			s.wantNoNext()
			s.equal(len(s.letters()), 0)
		}
	}
}
