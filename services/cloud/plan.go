package cloud

import "context"

// Plan is what the orchestrator decided about a request: which script of which
// app runs, and for whom. The executor carries it out.
type Plan struct {
	App       App
	Script    Runnable
	RouteID   string // "" when the script was addressed by its id
	Params    map[string]string
	Principal *Principal
	Env       *Env
	// Sandboxed answers come from the dashboard's origin and get
	// "Content-Security-Policy: sandbox".
	Sandboxed bool
	// URL overrides the request's URL as the script sees it; "" leaves it.
	URL string
}

// Runnable is a script that is ready to run.
type Runnable struct {
	ID      string
	AppID   string
	Name    string
	Version int
	Limits  Limits // with the defaults filled in
	Build   *Build // shared and immutable
}

type planKey struct{}

// WithPlan returns a context that carries plan.
func WithPlan(ctx context.Context, plan *Plan) context.Context {
	return context.WithValue(ctx, planKey{}, plan)
}

// PlanFrom is the plan in ctx, or nil.
func PlanFrom(ctx context.Context) *Plan {
	p, _ := ctx.Value(planKey{}).(*Plan)
	return p
}
