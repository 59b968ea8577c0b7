package orchestrator

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// ExecutePrefix is the path on instance hosts under which a script is reached by
// its id.
const ExecutePrefix = "/api/v1/execute/"

var errNotLoaded = cloud.Errorf(cloud.CodeUnavailable, "PiCloud is starting and waits for its database; try again")

var errUnclaimed = cloud.Errorf(cloud.CodeUnclaimed, "this instance has no owner yet; claim it first, with pic login --claim or POST /api/v1/claim")

// Dispatcher decides for each request which script runs, and hands it on with a
// cloud.Plan in its context.
type Dispatcher struct {
	Catalog *Catalog
	// Authenticate finds the principal of an API key or a session's token:
	// cloud.Accounts has such a method.
	Authenticate func(ctx context.Context, token string) (*cloud.Principal, error)
	Authorizer   cloud.Authorizer
	// Claimed tells whether the instance has an owner: until then, nothing runs. Nil:
	// it has. What cannot be told counts as claimed, and so does what a snapshot
	// answers: it does so before the database can be asked, which must not hold it up.
	Claimed func(ctx context.Context) (bool, error)
	// Accept stores a request to an async route: when it returns without error, the
	// request is durable and will be run. CodeTooLarge. Nil: none is taken.
	Accept func(ctx context.Context, plan *cloud.Plan, request cloud.StoredRequest) (eventID string, at time.Time, err error)
}

// ServeHTTP answers what leads nowhere, and what is to be run later, itself, and
// else calls next.
func (d *Dispatcher) ServeHTTP(w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) error) error {
	t := d.Catalog.await(r.Context())
	if t == nil {
		cloud.ProblemOf(errNotLoaded).WriteTo(w)
		return nil
	}
	host := cloud.NormalHost(r.Host)
	a := t.hosts.find(host)
	if a == nil {
		cloud.ProblemOf(cloud.Errorf(cloud.CodeHostUnknown, "no app here answers to the host %q", host)).WriteTo(w)
		return nil
	}
	if t.fresh && d.Claimed != nil {
		if claimed, err := d.Claimed(r.Context()); err == nil && !claimed {
			answer(w, errUnclaimed)
			return nil
		}
	}
	if slug := appSlug(host); slug != "" && a.state.App.Slug != slug && !t.hosts.instance.IsInstance(host) {
		redirectToCurrent(w, r, slug, a.state.App.Slug)
		return nil
	}
	instance := t.hosts.instance.IsInstance(host)
	plan, mode, err := d.plan(t, a, host, instance, r)
	switch {
	case err != nil:
		answer(w, err)
		return nil
	case mode == cloud.Async:
		d.accept(w, r, plan, instance)
		return nil
	}
	return next(w, r.WithContext(cloud.WithPlan(r.Context(), plan)))
}

func (d *Dispatcher) plan(t *table, a *app, host string, instance bool, r *http.Request) (*cloud.Plan, cloud.DispatchMode, error) {
	if instance && strings.HasPrefix(r.URL.Path, ExecutePrefix) {
		plan, err := d.planByID(t, r)
		return plan, cloud.Sync, err
	}
	m, err := a.router.match(host, r.Method, r.URL)
	if err != nil {
		return nil, "", err
	}
	script, ok := a.scripts[m.Route.ScriptID]
	if !ok {
		return nil, "", cloud.Errorf(cloud.CodeRouteUnknown, "the route %s leads to a script that cannot run", m.Route.Path)
	}
	if a.failure != nil {
		return nil, "", a.failure
	}
	plan := &cloud.Plan{App: a.state.App, Script: script, RouteID: m.Route.ID, Params: m.Params, Env: a.env}
	plan.Principal, err = d.opportunistic(r, instance)
	return plan, m.Route.Mode, err
}

// credential is the token that the request comes with, or "": a bearer token that
// means to be PiCloud's, else the session cookie, which only instance hosts take.
// On an app's own host a cookie of that name is nobody's.
func credential(r *http.Request, instance bool) (string, error) {
	if token := cloud.BearerToken(r); cloud.OwnToken(token) {
		return token, nil
	}
	if !instance {
		return "", nil
	}
	token, err := cloud.SessionToken(r)
	if err != nil || !strings.HasPrefix(token, cloud.SessionPrefix) {
		return "", err
	}
	return token, nil
}

// opportunistic is the principal of a route that is open to all: anonymous
// unless the request carries a valid credential. Only a database that is away is
// an error, since taking its user for a stranger could show them less or more.
func (d *Dispatcher) opportunistic(r *http.Request, instance bool) (*cloud.Principal, error) {
	token, err := credential(r, instance)
	if err != nil || token == "" || d.Authenticate == nil {
		return nil, nil //nolint:nilerr // what a page of another origin sends is a stranger's
	}
	p, err := d.Authenticate(r.Context(), token)
	switch {
	case err == nil:
		return p, nil
	case cloud.CodeOf(err) == cloud.CodeUnavailable:
		return nil, err
	default:
		return nil, nil
	}
}

// planByID serves ExecutePrefix + script id [+ "/" rest]: the script sees the
// rest as its path.
func (d *Dispatcher) planByID(t *table, r *http.Request) (*cloud.Plan, error) {
	token, err := credential(r, true)
	if err != nil {
		return nil, err
	}
	if token == "" || d.Authenticate == nil {
		return nil, cloud.Errorf(cloud.CodeUnauthorized, "running a script by its id needs an API key, as Authorization: Bearer pic_…, or a session: log in")
	}
	// Running is a deed, also by GET.
	if token != cloud.BearerToken(r) && !cloud.ByOwnPage(r) {
		return nil, cloud.Errorf(cloud.CodeUnauthorized, "the session cookie runs a script by its id for pages of this origin alone; programs use Authorization: Bearer")
	}
	principal, err := d.Authenticate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	id, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), ExecutePrefix), "/")
	unknown := cloud.Errorf(cloud.CodeNotFound, "no endpoint script has the id %q", id)
	a := t.scripts[id]
	if a == nil {
		return nil, unknown
	}
	if err := d.Authorizer.Authorize(principal, cloud.AppInvoke, a.state.App.ID); err != nil {
		if cloud.CodeOf(err) == cloud.CodeNotFound {
			return nil, unknown
		}
		return nil, err
	}
	if a.failure != nil {
		return nil, a.failure
	}
	return &cloud.Plan{
		App: a.state.App, Script: a.scripts[id], Principal: principal, Env: a.env, Sandboxed: true,
		URL: requestURL(r, "/"+rest),
	}, nil
}

func requestURL(r *http.Request, path string) string {
	u := url.URL{Scheme: "http", Host: r.Host, RawQuery: r.URL.RawQuery}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if decoded, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = decoded, path
	}
	return u.String()
}

// redirectToCurrent leads a request for a former slug to the current one, with
// method and body kept (RFC 9110, section 15.4.9).
func redirectToCurrent(w http.ResponseWriter, r *http.Request, former, current string) {
	u := *r.URL
	u.Scheme, u.Host = "http", current+strings.TrimPrefix(strings.ToLower(r.Host), former)
	if r.TLS != nil {
		u.Scheme = "https"
	}
	http.Redirect(w, r, u.String(), http.StatusPermanentRedirect)
}

func answer(w http.ResponseWriter, err error) {
	if e, ok := errors.AsType[*cloud.Error](err); ok {
		if d, ok := e.Details.(Allowed); ok {
			w.Header().Set("Allow", strings.Join(d.Allow, ", "))
		}
		if e.Code == cloud.CodeUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="picloud"`)
		}
	}
	cloud.ProblemOf(err).WriteTo(w)
}
