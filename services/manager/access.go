package manager

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/picloud/picloud/services/cloud"
)

// rule says who may use an operation. The zero rule lets nobody in.
type rule struct {
	open    bool               // needs no credentials
	anybody bool               // needs credentials and nothing more
	known   bool               // needs that the caller may know of the app
	needs   []cloud.Capability // needs all of these, in the app if the path names one
	// origin says that the operation decides what runs: on the default app, which
	// shares the dashboard's origin, it needs cloud.InstanceAdmin too.
	origin bool
}

// access holds the rule of every operation by its id.
var access = map[string]rule{
	"health":     {open: true},
	"version":    {open: true},
	"openapi":    {open: true},
	"whoami":     {anybody: true},
	"list-apps":  {anybody: true}, // filtered to those the caller may know of
	"create-app": {needs: []cloud.Capability{cloud.InstanceCreateApp}},
	"get-app":    {known: true},
	"update-app": {needs: []cloud.Capability{cloud.AppAdmin}},
	"delete-app": {needs: []cloud.Capability{cloud.AppAdmin}},

	"list-domains":  {needs: []cloud.Capability{cloud.AppReadScript}},
	"add-domain":    {needs: []cloud.Capability{cloud.AppManageDomains}},
	"delete-domain": {needs: []cloud.Capability{cloud.AppManageDomains}},

	"list-scripts":    {needs: []cloud.Capability{cloud.AppReadScript}},
	"get-script":      {needs: []cloud.Capability{cloud.AppReadScript}},
	"save-script":     {needs: []cloud.Capability{cloud.AppWriteScript}, origin: true},
	"delete-script":   {needs: []cloud.Capability{cloud.AppWriteScript}, origin: true},
	"list-versions":   {needs: []cloud.Capability{cloud.AppReadScript}},
	"get-version":     {needs: []cloud.Capability{cloud.AppReadScript}},
	"rollback-script": {needs: []cloud.Capability{cloud.AppWriteScript}, origin: true},
	"deploy":          {needs: []cloud.Capability{cloud.AppWriteScript, cloud.AppWriteRoute}, origin: true},

	"list-routes":  {needs: []cloud.Capability{cloud.AppReadScript}},
	"add-route":    {needs: []cloud.Capability{cloud.AppWriteRoute}, origin: true},
	"delete-route": {needs: []cloud.Capability{cloud.AppWriteRoute}, origin: true},
	"check-route":  {needs: []cloud.Capability{cloud.AppReadScript}},
	"match-route":  {needs: []cloud.Capability{cloud.AppReadScript}},

	"list-executions": {needs: []cloud.Capability{cloud.AppReadLogs}},
	"get-execution":   {needs: []cloud.Capability{cloud.AppReadLogs}},
	"tail-executions": {needs: []cloud.Capability{cloud.AppReadLogs}},

	"list-collections": {needs: []cloud.Capability{cloud.AppKvRead}},
	"list-keys":        {needs: []cloud.Capability{cloud.AppKvRead}},
	"get-key":          {needs: []cloud.Capability{cloud.AppKvRead}},
	"set-key":          {needs: []cloud.Capability{cloud.AppKvWrite}},
	"delete-key":       {needs: []cloud.Capability{cloud.AppKvWrite}},
}

// caller is who makes a request that was let in, and to which app.
type caller struct {
	principal *cloud.Principal // nil for open operations
	app       cloud.App        // zero if the path names none
	origin    origin
}

// call is the context of a data call by the caller.
func (c *caller) call() cloud.Call {
	return cloud.Call{AppID: c.app.ID, Principal: c.principal}
}

type callerKey struct{}

// admit lets a request reach its operation if rule allows it, and answers it
// else, before its body is read.
func (m *Manager) admit(operation string, rule rule) func(huma.Context, func(huma.Context)) {
	return func(hctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hctx)
		c, err := m.admitted(r, rule)
		if err != nil {
			m.refuse(w, r, operation, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next(huma.WithValue(hctx, callerKey{}, c))
	}
}

func (m *Manager) admitted(r *http.Request, rule rule) (*caller, error) {
	c := &caller{origin: originOf(r)}
	if rule.open {
		return c, nil
	}
	token := cloud.BearerToken(r)
	if token == "" {
		return nil, errNoCredentials
	}
	var err error
	if c.principal, err = m.identify(r.Context(), token); err != nil {
		return nil, err
	}
	if c.principal == nil {
		return nil, errNoCredentials
	}
	if ref := r.PathValue("app"); ref != "" {
		if c.app, err = m.appFor(r.Context(), c.principal, ref); err != nil {
			return nil, err
		}
	}
	return c, m.permitted(c, rule)
}

// appFor finds an app that p may know of.
func (m *Manager) appFor(ctx context.Context, p *cloud.Principal, ref string) (cloud.App, error) {
	unknown := cloud.Errorf(cloud.CodeNotFound, "there is no app %q, or none that you may see", ref)
	if cloud.CheckSlug(strings.ToLower(ref)) != nil { // an id has the form of a slug
		return cloud.App{}, unknown
	}
	app, err := m.store.App(ctx, ref)
	if err == nil {
		err = m.mayKnow(p, app.ID)
	}
	if cloud.CodeOf(err) == cloud.CodeNotFound {
		return cloud.App{}, unknown.Because(err)
	}
	return app, err
}

// mayKnow is a CodeNotFound error if p may not even know of the app.
func (m *Manager) mayKnow(p *cloud.Principal, appID string) error {
	err := m.authz.Authorize(p, cloud.AppReadScript, appID)
	if cloud.CodeOf(err) == cloud.CodeForbidden {
		return nil
	}
	return err
}

func (m *Manager) permitted(c *caller, rule rule) error {
	for _, capability := range rule.needs {
		if err := m.authz.Authorize(c.principal, capability, c.app.ID); err != nil {
			return err
		}
	}
	if rule.origin && c.app.Slug == cloud.DefaultApp {
		if err := m.authz.Authorize(c.principal, cloud.InstanceAdmin, c.app.ID); err != nil {
			return cloud.Errorf(cloud.CodeForbidden, "what runs in the app %q shares the dashboard's origin, so changing it takes more rights than in other apps: %s", cloud.DefaultApp, message(err)).Because(err)
		}
	}
	if !rule.anybody && !rule.known && len(rule.needs) == 0 {
		return cloud.Errorf(cloud.CodeForbidden, "nobody may do this")
	}
	return nil
}

var errNoCredentials = cloud.Errorf(cloud.CodeUnauthorized, "send an API key as Authorization: Bearer pic_…")

func message(err error) string {
	if e, ok := errors.AsType[*cloud.Error](err); ok {
		return e.Message
	}
	return err.Error()
}
