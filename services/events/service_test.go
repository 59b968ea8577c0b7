package events_test

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// desk is a service on a store in memory.
type desk struct {
	*testing.T
	store   *events.Memory
	service *events.Service
	pokes   int
}

func newDesk(t *testing.T) *desk {
	d := &desk{T: t, store: events.NewMemory()}
	d.service = events.NewService(events.ServiceConfig{
		Store: d.store, Authorizer: authz.Policy{}, Poke: func() { d.pokes++ }, Now: func() time.Time { return noon },
	})
	return d
}

// claim is all that is due at noon.
func (d *desk) claim() []cloud.Delivery {
	d.Helper()
	claimed, err := d.store.Claim(d.Context(), events.Claim{Now: noon, Until: noon.Add(time.Minute), Limit: 100, PerApp: 100})
	if err != nil {
		d.Fatal(err)
	}
	return claimed
}

// die makes a dead letter of the app and returns its id.
func (d *desk) die(app string) string { d.Helper(); return d.dieAt(app, 1) }

func (d *desk) dieAt(app string, depth int) string {
	d.Helper()
	err := d.store.Enqueue(d.Context(), cloud.Delivery{
		EventID: cloud.NewID(), AppID: app, ScriptID: "script", Kind: cloud.EventKV, Op: "set", Payload: []byte(`{"key":"k"}`), Depth: depth,
		Retry: cloud.DefaultRetry, At: noon, DueAt: noon,
	})
	if err != nil {
		d.Fatal(err)
	}
	for _, claimed := range d.claim() {
		if _, err := d.store.Settle(d.Context(), noon, []events.Outcome{{Delivery: claimed, Fate: events.Dead, Reason: cloud.CodeTimeout}}); err != nil {
			d.Fatal(err)
		}
	}
	letters, err := d.store.DeadLetters(d.Context(), cloud.DeadLetterFilter{AppID: app, Limit: 1})
	if err != nil || len(letters) != 1 {
		d.Fatalf("dead letters %v (error %v)", letters, err)
	}
	return letters[0].ID
}

func (d *desk) letter(app, id string) cloud.DeadLetter {
	d.Helper()
	l, err := d.store.DeadLetter(d.Context(), app, id)
	if err != nil {
		d.Fatal(err)
	}
	return l
}

func wantCode(t *testing.T, err error, want cloud.Code) {
	t.Helper()
	if cloud.CodeOf(err) != want {
		t.Fatalf("error %v, want code %q", err, want)
	}
}

func TestService_Accept(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	request := cloud.StoredRequest{
		Method: "POST", URL: "http://shop.localhost/orders/7?x=1", Header: http.Header{"X-A": {"1", "2"}},
		Body: []byte{0, 1, 0xff}, Params: map[string]string{"id": "7"},
	}
	plan := &cloud.Plan{App: cloud.App{ID: "app"}, Script: cloud.Runnable{ID: "script"}}
	for _, test := range []struct {
		name      string
		principal *cloud.Principal
		user      string
		scopes    []cloud.Scope
	}{
		{"anonymous", nil, "", nil},
		{"with a session", &cloud.Principal{UserID: "ann", SessionID: "s"}, "ann", nil},
		{"with a key", &cloud.Principal{UserID: "ann", Key: &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeLogRead}}}, "ann", []cloud.Scope{cloud.ScopeLogRead}},
		{"with a key that may nothing", &cloud.Principal{UserID: "ann", Key: &cloud.Key{}}, "ann", []cloud.Scope{}},
		{"with a key for the app", &cloud.Principal{UserID: "ann", Key: &cloud.Key{AppID: "app", Scopes: []cloud.Scope{cloud.ScopeLogRead}}}, "ann", []cloud.Scope{cloud.ScopeLogRead}},
		{"with a key for another app", &cloud.Principal{UserID: "ann", Key: &cloud.Key{AppID: "other", Scopes: []cloud.Scope{cloud.ScopeLogRead}}}, "ann", []cloud.Scope{}},
	} {
		plan.Principal = test.principal
		pokes := d.pokes
		id, at, err := d.service.Accept(t.Context(), plan, request)
		if err != nil || !at.Equal(noon) || d.pokes != pokes+1 {
			t.Fatalf("%s: accepted at %s, %d pokes, error %v", test.name, at, d.pokes-pokes, err)
		}
		claimed := d.claim()
		if len(claimed) != 1 {
			t.Fatalf("%s: %d deliveries", test.name, len(claimed))
		}
		got := claimed[0]
		var stored cloud.StoredRequest
		if err := json.Unmarshal(got.Payload, &stored); err != nil || !reflect.DeepEqual(stored, request) {
			t.Errorf("%s: stored %+v (error %v)", test.name, stored, err)
		}
		got.Payload = nil
		want := cloud.Delivery{
			ID: got.ID, EventID: id, AppID: "app", ScriptID: "script", Kind: cloud.EventHTTP, UserID: test.user, Scopes: test.scopes,
			Attempt: 1, Retry: cloud.DefaultRetry, At: noon, DueAt: noon,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.name, got, want)
		}
	}
}

// lossy is a store that does what it is asked, and whose answers are lost.
type lossy struct{ *events.Memory }

var errLost = cloud.Errorf(cloud.CodeUnavailable, "the answer was lost")

func (l lossy) Enqueue(ctx context.Context, d cloud.Delivery) error {
	return cmp.Or(l.Memory.Enqueue(ctx, d), error(errLost))
}

func (l lossy) Resolve(ctx context.Context, appID, id string, r cloud.Resolution, note, by string, depth int, now time.Time) error {
	return cmp.Or(l.Memory.Resolve(ctx, appID, id, r, note, by, depth, now), error(errLost))
}

func (l lossy) ReplayAll(ctx context.Context, f cloud.DeadLetterFilter, by string, depth int, now time.Time) (int, error) {
	_, err := l.Memory.ReplayAll(ctx, f, by, depth, now)
	return 0, cmp.Or(err, error(errLost))
}

// What is due although nobody was told so does not wait for the next poke.
func TestService_AnswerLost(t *testing.T) {
	t.Parallel()
	call := cloud.Call{AppID: "app", Principal: owner}
	for name, do := range map[string]func(s *events.Service, id string) error{
		"accept": func(s *events.Service, _ string) error {
			_, _, err := s.Accept(t.Context(), &cloud.Plan{App: cloud.App{ID: "app"}}, cloud.StoredRequest{})
			return err
		},
		"fire": func(s *events.Service, _ string) error {
			_, err := s.Fire(t.Context(), cloud.Trigger{AppID: "app", Kind: cloud.EventKV}, nil)
			return err
		},
		"replay": func(s *events.Service, id string) error { return s.Replay(t.Context(), call, id) },
		"replay all": func(s *events.Service, _ string) error {
			_, err := s.ReplayAll(t.Context(), call, cloud.DeadLetterFilter{})
			return err
		},
	} {
		d := newDesk(t)
		id := d.die("app")
		service := events.NewService(events.ServiceConfig{
			Store: lossy{d.store}, Authorizer: authz.Policy{}, Poke: func() { d.pokes++ }, Now: func() time.Time { return noon },
		})
		wantCode(t, do(service, id), cloud.CodeUnavailable)
		if d.pokes != 1 || len(d.claim()) != 1 {
			t.Errorf("%s: %d pokes", name, d.pokes)
		}
	}
}

func TestService_AcceptBounds(t *testing.T) {
	t.Parallel()
	plan := &cloud.Plan{App: cloud.App{ID: "app"}, Script: cloud.Runnable{ID: "script"}}
	for _, test := range []struct {
		name       string
		body, head int
		want       cloud.Code
	}{
		{"the largest body", cloud.MaxEventPayload, 100, ""},
		{"a larger body", cloud.MaxEventPayload + 1, 0, cloud.CodeTooLarge},
		{"the head of a large request", cloud.MaxEventPayload, 200 << 10, cloud.CodeTooLarge},
		{"a huge head", 0, cloud.MaxStoredRequest, cloud.CodeTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			_, _, err := d.service.Accept(t.Context(), plan, cloud.StoredRequest{
				Method: "POST", URL: "http://localhost/", Header: http.Header{"X": {strings.Repeat("x", test.head)}}, Body: make([]byte, test.body),
			})
			wantCode(t, err, test.want)
			if accepted := test.want == ""; (len(d.claim()) == 1) != accepted || (d.pokes == 1) != accepted {
				t.Errorf("%d pokes", d.pokes)
			}
		})
	}
}

func TestService_Fire(t *testing.T) {
	t.Parallel()
	retry := cloud.RetryPolicy{Attempts: 2, Backoff: cloud.Constant, Base: time.Second, Cap: time.Second}
	for _, test := range []struct {
		name    string
		kind    cloud.EventKind
		payload string
		want    string // "" if it is refused with the code
		code    cloud.Code
	}{
		{name: "a payload", kind: cloud.EventKV, payload: `{"key":"k"}`, want: `{"key":"k"}`},
		{name: "a sample of kv", kind: cloud.EventKV, want: `{"collection":"test","key":"test","value":{"test":true}}`},
		{name: "a sample of cron", kind: cloud.EventCron, want: `{"cron":"@daily","scheduledTime":1772366400000}`},
		{name: "no object", kind: cloud.EventKV, payload: `[1]`, code: cloud.CodeInvalid},
		{name: "null", kind: cloud.EventKV, payload: `null`, code: cloud.CodeInvalid},
		{name: "no JSON", kind: cloud.EventKV, payload: `{"a":`, code: cloud.CodeInvalid},
		{name: "nothing", kind: cloud.EventKV, payload: " ", code: cloud.CodeInvalid},
		{name: "a large payload", kind: cloud.EventKV, payload: `{"a":"` + strings.Repeat("x", cloud.MaxEventPayload) + `"}`, code: cloud.CodeLimit},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			trigger := cloud.Trigger{
				ID: "trigger", AppID: "app", ScriptID: "script", Kind: test.kind, UserID: "ann", Scopes: []cloud.Scope{cloud.ScopeAppAdmin},
				Retry: retry, Filter: cloud.TriggerFilter{Schedule: "@daily"}, // and disabled: it is fired all the same
			}
			id, err := d.service.Fire(t.Context(), trigger, json.RawMessage([]byte(test.payload)[:len(test.payload):len(test.payload)]))
			if test.payload == "" {
				id, err = d.service.Fire(t.Context(), trigger, nil)
			}
			wantCode(t, err, test.code)
			claimed := d.claim()
			if test.code != "" {
				if len(claimed) != 0 || d.pokes != 0 {
					t.Errorf("%d deliveries, %d pokes", len(claimed), d.pokes)
				}
				return
			}
			want := []cloud.Delivery{{
				ID: claimed[0].ID, EventID: id, AppID: "app", TriggerID: "trigger", ScriptID: "script", Kind: test.kind, Op: "test",
				Payload: json.RawMessage(test.want), UserID: "ann", Scopes: trigger.Scopes, Attempt: 1, Retry: retry, At: noon, DueAt: noon,
			}}
			if !reflect.DeepEqual(claimed, want) || d.pokes != 1 {
				t.Errorf("%d pokes\ngot  %+v\nwant %+v", d.pokes, claimed, want)
			}
		})
	}
}

// Every way to the dead letters has the same gate.
func TestService_Gate(t *testing.T) {
	t.Parallel()
	principal := func(role cloud.InstanceRole, apps map[string]cloud.AppRole, key *cloud.Key) *cloud.Principal {
		return &cloud.Principal{UserID: "u", Name: "ann", Role: role, Apps: apps, Key: key}
	}
	for _, caller := range []struct {
		name      string
		principal *cloud.Principal
		allowed   bool
	}{
		{"nobody", nil, false},
		{"an owner", principal(cloud.Owner, nil, nil), true},
		{"an admin of the app", principal(cloud.Member, map[string]cloud.AppRole{"app": cloud.AppAdminRole}, nil), true},
		{"an editor of the app", principal(cloud.Member, map[string]cloud.AppRole{"app": cloud.Editor}, nil), false},
		{"an admin of another app", principal(cloud.Member, map[string]cloud.AppRole{"other": cloud.AppAdminRole}, nil), false},
		{"an owner's key for reading", principal(cloud.Owner, nil, &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeScriptRead}}), false},
		{"an owner's key for the app", principal(cloud.Owner, nil, &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeAppAdmin}, AppID: "app"}), true},
		{"an owner's key for another app", principal(cloud.Owner, nil, &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeAppAdmin}, AppID: "other"}), false},
	} {
		for _, byScript := range []bool{false, true} {
			call := cloud.Call{AppID: "app", Principal: caller.principal, ByScript: byScript}
			for name, do := range map[string]func(d *desk, id string) error{
				"replay":  func(d *desk, id string) error { return d.service.Replay(t.Context(), call, id) },
				"resolve": func(d *desk, id string) error { return d.service.Resolve(t.Context(), call, id, "") },
				"resolve as": func(d *desk, id string) error {
					return d.service.ResolveAs(t.Context(), call, id, cloud.Ignored, "")
				},
				"replay all": func(d *desk, _ string) error {
					_, err := d.service.ReplayAll(t.Context(), call, cloud.DeadLetterFilter{})
					return err
				},
				"list": func(d *desk, _ string) error {
					_, err := d.service.DeadLetters(t.Context(), call, cloud.DeadLetterFilter{Limit: 1})
					return err
				},
				"get": func(d *desk, id string) error { _, err := d.service.DeadLetter(t.Context(), call, id); return err },
			} {
				d := newDesk(t)
				id := d.die("app")
				err := do(d, id)
				if caller.allowed != (err == nil) || !caller.allowed && cloud.CodeOf(err) != cloud.CodeForbidden {
					t.Errorf("%s by %s (by a script: %t): %v", name, caller.name, byScript, err)
				}
				if !caller.allowed && (d.letter("app", id).Resolution != "" || len(d.claim()) != 0) {
					t.Errorf("%s by %s (by a script: %t) changed something", name, caller.name, byScript)
				}
			}
		}
	}
}

var owner = &cloud.Principal{UserID: "u", Name: "ann", Role: cloud.Owner}

func TestService_Replay(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id, call := d.die("app"), cloud.Call{AppID: "app", Principal: owner}
	if err := d.service.Replay(t.Context(), call, id); err != nil {
		t.Fatal(err)
	}
	if l := d.letter("app", id); l.Resolution != cloud.Replayed || l.ResolvedBy != "ann" || !l.ResolvedAt.Equal(noon) {
		t.Errorf("%+v", l)
	}
	if claimed := d.claim(); len(claimed) != 1 || claimed[0].Attempt != 1 || d.pokes != 1 {
		t.Errorf("%d pokes, deliveries %+v", d.pokes, claimed)
	}
	wantCode(t, d.service.Replay(t.Context(), call, id), cloud.CodeConflict)
	wantCode(t, d.service.Replay(t.Context(), call, cloud.NewID()), cloud.CodeNotFound)
	wantCode(t, d.service.Replay(t.Context(), call, "x"), cloud.CodeNotFound)
	wantCode(t, d.service.Replay(t.Context(), cloud.Call{AppID: "other", Principal: owner}, id), cloud.CodeNotFound)
	if d.pokes != 1 {
		t.Errorf("%d pokes", d.pokes)
	}
}

// A script that replays what dies again comes to an end.
func TestService_ReplayByScript(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		call cloud.Call
		want int // how deep what was replayed is; that which died was 3 deep
		code cloud.Code
	}{
		{name: "by hand", call: cloud.Call{Depth: 7}, want: 3},
		{name: "by a script near the top", call: cloud.Call{ByScript: true, Depth: 1}, want: 3},
		{name: "by a script", call: cloud.Call{ByScript: true, Depth: 4}, want: 5},
		{name: "by a deep script", call: cloud.Call{ByScript: true, Depth: cloud.MaxDepth - 1}, want: cloud.MaxDepth},
		{name: "by too deep a script", call: cloud.Call{ByScript: true, Depth: cloud.MaxDepth}, code: cloud.CodeLimit},
	} {
		test.call.AppID, test.call.Principal = "app", owner
		for way, do := range map[string]func(d *desk, id string) error{
			"one": func(d *desk, id string) error { return d.service.Replay(t.Context(), test.call, id) },
			"all": func(d *desk, _ string) error {
				_, err := d.service.ReplayAll(t.Context(), test.call, cloud.DeadLetterFilter{})
				return err
			},
		} {
			t.Run(test.name+", "+way, func(t *testing.T) {
				t.Parallel()
				d := newDesk(t)
				id := d.dieAt("app", 3)
				wantCode(t, do(d, id), test.code)
				claimed := d.claim()
				if test.code != "" {
					if len(claimed) != 0 || d.letter("app", id).Resolution != "" {
						t.Errorf("replayed %+v", claimed)
					}
					return
				}
				if len(claimed) != 1 || claimed[0].Depth != test.want {
					t.Errorf("replayed %+v, want depth %d", claimed, test.want)
				}
			})
		}
	}
}

func TestService_ReplayAll(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.die("app")
	d.die("app")
	elsewhere := d.die("other")
	call := cloud.Call{AppID: "app", Principal: owner}
	for _, test := range []struct {
		filter cloud.DeadLetterFilter
		want   int
	}{
		{cloud.DeadLetterFilter{AppID: "other", Kind: cloud.EventHTTP}, 0},
		{cloud.DeadLetterFilter{AppID: "other"}, 2}, // the app is the call's
		{cloud.DeadLetterFilter{}, 0},
	} {
		if n, err := d.service.ReplayAll(t.Context(), call, test.filter); err != nil || n != test.want {
			t.Errorf("%+v: %d (error %v), want %d", test.filter, n, err, test.want)
		}
	}
	if len(d.claim()) != 2 || d.pokes != 1 || d.letter("other", elsewhere).Resolution != "" {
		t.Errorf("%d pokes", d.pokes)
	}
}

func TestService_Resolve(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(d *desk, call cloud.Call, id string) error
		want cloud.Resolution // "" if it is refused
		code cloud.Code
	}{
		{name: "by hand", want: cloud.Ignored, do: func(d *desk, call cloud.Call, id string) error {
			return d.service.Resolve(d.Context(), call, id, "never mind")
		}},
		{name: "by a script", want: cloud.HandledByScript, do: func(d *desk, call cloud.Call, id string) error {
			call.ByScript = true
			return d.service.Resolve(d.Context(), call, id, "never mind")
		}},
		{name: "as handled", want: cloud.HandledByScript, do: func(d *desk, call cloud.Call, id string) error {
			return d.service.ResolveAs(d.Context(), call, id, cloud.HandledByScript, "never mind")
		}},
		{name: "as replayed", code: cloud.CodeInvalid, do: func(d *desk, call cloud.Call, id string) error {
			return d.service.ResolveAs(d.Context(), call, id, cloud.Replayed, "never mind")
		}},
		{name: "as nothing", code: cloud.CodeInvalid, do: func(d *desk, call cloud.Call, id string) error {
			return d.service.ResolveAs(d.Context(), call, id, "", "never mind")
		}},
		{name: "at length", code: cloud.CodeInvalid, do: func(d *desk, call cloud.Call, id string) error {
			return d.service.Resolve(d.Context(), call, id, strings.Repeat("x", 1001))
		}},
		{name: "what is not there", code: cloud.CodeNotFound, do: func(d *desk, call cloud.Call, _ string) error {
			return d.service.Resolve(d.Context(), call, cloud.NewID(), "never mind")
		}},
		{name: "what has no id", code: cloud.CodeNotFound, do: func(d *desk, call cloud.Call, _ string) error {
			return d.service.Resolve(d.Context(), call, "1", "never mind")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			id := d.die("app")
			wantCode(t, test.do(d, cloud.Call{AppID: "app", Principal: owner}, id), test.code)
			l := d.letter("app", id)
			if l.Resolution != test.want || test.want != "" && (l.Note != "never mind" || l.ResolvedBy != "ann" || !l.ResolvedAt.Equal(noon)) {
				t.Errorf("%+v", l)
			}
			if d.pokes != 0 || len(d.claim()) != 0 {
				t.Error("something is due")
			}
		})
	}
}

func TestService_State(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.die("app")
	event := d.letter("app", id).EventID
	got, err := d.service.State(t.Context(), event)
	want := cloud.EventState{ID: event, AppID: "app", Status: "dead", Attempts: 1, DeadLetter: id}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (error %v), want %+v", got, err, want)
	}
	for _, id := range []string{"x", cloud.NewID()} {
		_, err := d.service.State(t.Context(), id)
		wantCode(t, err, cloud.CodeNotFound)
	}
}

func TestDeadLetterPayload(t *testing.T) {
	t.Parallel()
	delivery := cloud.Delivery{
		EventID: "event", Kind: cloud.EventKV, Op: "set", Payload: json.RawMessage(`{"key":"k"}`), At: noon,
		Attempt: 6, Retry: cloud.DefaultRetry, ID: 7, DueAt: noon,
	}
	id := cloud.NewID()
	l := events.NewDeadLetter(events.Outcome{Delivery: delivery, Error: &cloud.ScriptError{Name: "Error", Message: "boom"}, Reason: cloud.CodeScriptThrew}, id, "script", noon)
	payload, err := events.DeadLetterPayload(l)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"deadLetterId":"` + id + `","attempts":5,"lastError":{"name":"Error","message":"boom","stack":""},` +
		`"original":{"at":1772366400000,"id":"event","key":"k","kind":"kv","op":"set"}}`
	if string(payload) != want {
		t.Errorf("got  %s\nwant %s", payload, want)
	}
	event := cloud.Delivery{Kind: cloud.EventDeadLetter, Payload: payload}
	for fate, want := range map[events.Fate]cloud.Resolution{
		events.Done: cloud.HandledByScript, events.Dead: cloud.HandlerFailed, events.Retry: "", events.Release: "", events.Dropped: "",
	} {
		about, r, ok := events.Handled(events.Outcome{Delivery: event, Fate: fate})
		if ok != (want != "") || r != want || ok && about != id {
			t.Errorf("fate %d says %q of %q (%t), want %q", fate, r, about, ok, want)
		}
	}
	event.Kind = cloud.EventKV
	if _, _, ok := events.Handled(events.Outcome{Delivery: event}); ok {
		t.Error("an event of another kind is about a dead letter")
	}
	for _, omitted := range []string{`[]`, `{`, `{"value":"` + strings.Repeat("x", cloud.MaxEventPayload) + `"}`} {
		l.Payload = json.RawMessage(omitted)
		payload, err := events.DeadLetterPayload(l)
		want := `"original":{"at":1772366400000,"id":"event","kind":"kv","op":"set","payloadOmitted":true}}`
		if err != nil || !strings.HasSuffix(string(payload), want) {
			t.Errorf("got  %.200s (error %v)\nwant …%s", payload, err, want)
		}
	}
}
