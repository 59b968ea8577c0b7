package caddycloud

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/executor"
)

func TestRunner(t *testing.T) {
	t.Parallel()
	ann := &cloud.Principal{UserID: "ann", Name: "ann", Role: cloud.Owner}
	found := func(string, string) (*cloud.Plan, error) { return &cloud.Plan{Script: cloud.Runnable{Name: "s"}}, nil }
	fails := func(code cloud.Code) func(string, string) (*cloud.Plan, error) {
		return func(string, string) (*cloud.Plan, error) { return nil, cloud.Errorf(code, "no") }
	}
	thrown := &cloud.ScriptError{Name: "Error", Message: "thrown"}
	delivery := cloud.Delivery{AppID: "app", ScriptID: "script", EventID: "event", Kind: cloud.EventKV, Op: "set", UserID: "ann", Payload: json.RawMessage(`{"key":"k"}`), Depth: 2, Attempt: 3, CauseID: "cause"}
	with := func(change func(*cloud.Delivery)) cloud.Delivery {
		d := delivery
		change(&d)
		return d
	}
	for name, test := range map[string]struct {
		d       cloud.Delivery
		plan    func(string, string) (*cloud.Plan, error)
		outcome executor.Outcome
		late    bool  // the script is known when what others have committed is
		away    error // when that is asked for
		fails   error // of the executor

		want      events.Result // the error's text aside, where the platform made it
		notRun    bool
		principal *cloud.Principal // that it ran for; the rest did not run
		ran       bool
	}{
		"delivered":         {d: delivery, plan: found, ran: true, principal: ann},
		"failed":            {d: delivery, plan: found, ran: true, principal: ann, outcome: executor.Outcome{Code: cloud.CodeScriptThrew, Error: thrown}, want: events.Result{Code: cloud.CodeScriptThrew, Error: thrown}},
		"not to be retried": {d: delivery, plan: found, ran: true, principal: ann, outcome: executor.Outcome{Code: cloud.CodeScriptThrew, Error: thrown, NoRetry: true}, want: events.Result{Code: cloud.CodeScriptThrew, Error: thrown, Final: true}},
		"with the scopes of a key": {
			d: with(func(d *cloud.Delivery) { d.Scopes = []cloud.Scope{cloud.ScopeScriptRead} }), plan: found, ran: true,
			principal: &cloud.Principal{UserID: "ann", Name: "ann", Role: cloud.Owner, Key: &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeScriptRead}, AppID: "app"}},
		},
		"with a key without scopes": {
			d: with(func(d *cloud.Delivery) { d.Scopes = []cloud.Scope{} }), plan: found, ran: true,
			principal: &cloud.Principal{UserID: "ann", Name: "ann", Role: cloud.Owner, Key: &cloud.Key{Scopes: []cloud.Scope{}, AppID: "app"}},
		},
		"a stranger's request":                 {d: with(func(d *cloud.Delivery) { d.Kind, d.UserID, d.Payload = cloud.EventHTTP, "", json.RawMessage(`{}`) }), plan: found, ran: true},
		"a stranger's trigger":                 {d: with(func(d *cloud.Delivery) { d.UserID = "" }), plan: found, want: events.Result{Code: cloud.CodeForbidden, Final: true}},
		"a user who is gone":                   {d: with(func(d *cloud.Delivery) { d.UserID = "bob" }), plan: found, want: events.Result{Code: cloud.CodeForbidden, Final: true}},
		"a gone user's request":                {d: with(func(d *cloud.Delivery) { d.Kind, d.UserID = cloud.EventHTTP, "bob" }), plan: found, want: events.Result{Code: cloud.CodeForbidden, Final: true}},
		"a script that is gone":                {d: delivery, plan: fails(cloud.CodeNotFound), want: events.Result{Code: cloud.CodeNotFound, Final: true}},
		"a script made elsewhere a moment ago": {d: delivery, plan: found, late: true, ran: true, principal: ann},
		"a script that may be elsewhere":       {d: delivery, plan: fails(cloud.CodeNotFound), away: cloud.Errorf(cloud.CodeUnavailable, "away"), notRun: true},
		"nothing loaded yet":                   {d: delivery, plan: fails(cloud.CodeUnavailable), notRun: true},
		"users cannot be asked":                {d: with(func(d *cloud.Delivery) { d.UserID = "away" }), plan: found, notRun: true},
		"no place":                             {d: delivery, plan: found, ran: true, principal: ann, fails: executor.ErrNotRun, notRun: true},
		"a payload that is none":               {d: with(func(d *cloud.Delivery) { d.Payload = json.RawMessage(`7`) }), plan: found, want: events.Result{Code: cloud.CodeInternal, Final: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ran *cloud.Plan
			var inv executor.Invocation
			late := test.late
			r := &runner{
				used: func() {},
				plan: func(appID, scriptID string) (*cloud.Plan, error) {
					if late {
						return nil, cloud.Errorf(cloud.CodeNotFound, "not yet")
					}
					return test.plan(appID, scriptID)
				},
				reload: func(context.Context, string) error {
					late = false
					return test.away
				},
				principals: &principals{find: func(_ context.Context, ids []string) (map[string]*cloud.Principal, error) {
					if ids[0] == "away" {
						return nil, cloud.Errorf(cloud.CodeUnavailable, "away")
					}
					return map[string]*cloud.Principal{"ann": ann}, nil
				}},
				run: func(_, _ context.Context, plan *cloud.Plan, i executor.Invocation) (executor.Outcome, error) {
					ran, inv = plan, i
					return test.outcome, test.fails
				},
			}
			got, err := r.Run(t.Context(), t.Context(), test.d)
			if (err != nil) != test.notRun || err != nil && !errors.Is(err, events.ErrNotRun) {
				t.Errorf("error %v, not run: want %v", err, test.notRun)
			}
			if test.want.Error == nil && got.Error != nil {
				if got.Error.Message == "" || got.Error.Code != string(got.Code) {
					t.Errorf("got the error %+v", got.Error)
				}
				got.Error = nil
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if (ran != nil) != test.ran {
				t.Fatalf("ran %v, want %v", ran != nil, test.ran)
			}
			if ran == nil {
				return
			}
			if !reflect.DeepEqual(ran.Principal, test.principal) {
				t.Errorf("ran for %+v, want %+v", ran.Principal, test.principal)
			}
			if inv.EventID != "event" || inv.CauseID != "cause" || inv.Depth != 2 || inv.Attempt != 3 || inv.Handler != events.Handler(test.d.Kind) || (inv.Request == nil) != (test.d.Kind != cloud.EventHTTP) {
				t.Errorf("ran %+v", inv)
			}
		})
	}
}

// TestPrincipals_share shows that those who come while a question is under way
// share the next.
func TestPrincipals_share(t *testing.T) {
	t.Parallel()
	asked := make(chan []string)
	answer := make(chan struct{})
	p := &principals{find: func(_ context.Context, ids []string) (map[string]*cloud.Principal, error) {
		asked <- ids
		<-answer
		found := map[string]*cloud.Principal{}
		for _, id := range ids {
			found[id] = &cloud.Principal{UserID: id}
		}
		return found, nil
	}}
	var callers sync.WaitGroup
	ask := func(id string) {
		callers.Go(func() {
			if got, err := p.of(t.Context(), id); err != nil || got.UserID != id {
				t.Errorf("%s: %v, %v", id, got, err)
			}
		})
	}
	ask("first")
	if ids := <-asked; !reflect.DeepEqual(ids, []string{"first"}) {
		t.Fatalf("asked for %v", ids)
	}
	for _, id := range []string{"ann", "bob", "ann"} {
		ask(id)
	}
	for waiting := 0; waiting < 2; {
		p.mu.Lock()
		if p.next != nil {
			waiting = len(p.next.users)
		}
		p.mu.Unlock()
	}
	answer <- struct{}{}
	if ids := <-asked; len(ids) != 2 {
		t.Errorf("asked for %v, want the two at once", ids)
	}
	close(answer)
	go func() {
		for range asked { // of an ann who came late
		}
	}()
	callers.Wait()
	close(asked)
}
