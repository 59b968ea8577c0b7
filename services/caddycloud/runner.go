package caddycloud

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/executor"
)

// runner makes attempts at deliveries: it finds the script and in whose name it
// runs, as both are now, and has the executor run it.
type runner struct {
	// plan finds a script that is ready to run. CodeNotFound if it is gone,
	// CodeUnavailable while nobody knows.
	plan func(appID, scriptID string) (*cloud.Plan, error)
	// reload makes plan know what other processes have committed.
	reload     func(ctx context.Context, appID string) error
	principals *principals
	run        func(begin, ctx context.Context, plan *cloud.Plan, inv executor.Invocation) (executor.Outcome, error)
	used       func() // called for each attempt
}

// Run implements events.Config.Run.
func (r *runner) Run(begin, ctx context.Context, d cloud.Delivery) (events.Result, error) {
	r.used()
	plan, err := r.plan(d.AppID, d.ScriptID)
	if cloud.CodeOf(err) == cloud.CodeNotFound {
		if err := r.reload(begin, d.AppID); err != nil {
			return events.Result{}, notRun(err)
		}
		plan, err = r.plan(d.AppID, d.ScriptID)
	}
	if cloud.CodeOf(err) == cloud.CodeNotFound {
		return hopeless(cloud.CodeNotFound, "the script that it is for is gone"), nil
	}
	if err != nil {
		return events.Result{}, notRun(err)
	}
	if plan.Principal, err = r.principal(begin, d); err != nil {
		return events.Result{}, notRun(err)
	}
	// Anonymous are requests to async routes alone.
	if plan.Principal == nil && (d.UserID != "" || d.Kind != cloud.EventHTTP) {
		return hopeless(cloud.CodeForbidden, "the user in whose name it runs is gone or not active"), nil
	}
	inv, err := invocation(d)
	if err != nil {
		return hopeless(cloud.CodeInternal, "what is stored of the event cannot be read"), nil //nolint:nilerr // another attempt reads no better
	}
	o, err := r.run(begin, ctx, plan, inv)
	if err != nil {
		return events.Result{}, notRun(err)
	}
	return events.Result{Code: o.Code, Error: o.Error, Final: o.NoRetry}, nil
}

// principal is in whose name the delivery runs; nil if that is nobody.
func (r *runner) principal(ctx context.Context, d cloud.Delivery) (*cloud.Principal, error) {
	if d.UserID == "" {
		return nil, nil
	}
	p, err := r.principals.of(ctx, d.UserID)
	if p == nil || d.Scopes == nil {
		return p, err
	}
	narrowed := *p
	narrowed.Key = &cloud.Key{Scopes: d.Scopes, AppID: d.AppID}
	return &narrowed, nil
}

// invocation is what the script is run for.
func invocation(d cloud.Delivery) (inv executor.Invocation, err error) {
	inv = executor.Invocation{
		Handler: events.Handler(d.Kind), Trigger: string(d.Kind),
		EventID: d.EventID, CauseID: d.CauseID, Depth: d.Depth, Attempt: d.Attempt,
	}
	if d.Kind == cloud.EventHTTP {
		inv.Trigger, inv.Request = "async", &cloud.StoredRequest{}
		return inv, json.Unmarshal(d.Payload, inv.Request)
	}
	inv.Event, err = events.ForHandler(d)
	return inv, err
}

// hopeless is a failure that another attempt would repeat.
func hopeless(code cloud.Code, message string) events.Result {
	return events.Result{Code: code, Error: &cloud.ScriptError{Name: "Error", Message: message, Code: string(code)}, Final: true}
}

func notRun(err error) error { return fmt.Errorf("%w: %w", events.ErrNotRun, err) }
