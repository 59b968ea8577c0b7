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
	session bool               // needs a log-in: an API key does not suffice
	known   bool               // needs that the caller may know of the app
	needs   []cloud.Capability // needs all of these, in the app if the path names one
	// origin says that the operation decides what runs: on the default app, which
	// shares the dashboard's origin, it needs cloud.InstanceAdmin too.
	origin bool
	// unclaimed says that the operation answers before the instance has an owner.
	unclaimed bool
	// via is what the audit log says of how the caller came, where that is neither
	// a session nor a key.
	via string
	// unaudited says that the operation leaves the control plane as it is, although
	// it may change data. All others but GET go into the audit log.
	unaudited bool
}

// audited tells whether an operation goes into the audit log.
func (r rule) audited(method string) bool { return method != http.MethodGet && !r.unaudited }

// access holds the rule of every operation by its id.
var access = map[string]rule{
	"health":  {open: true, unclaimed: true},
	"version": {open: true, unclaimed: true},
	"openapi": {open: true},
	"metrics": {needs: []cloud.Capability{cloud.InstanceAdmin}},

	"claim":             {open: true, unclaimed: true, via: "claim"},
	"log-in":            {open: true, via: "log-in"},
	"accept-invitation": {open: true, via: "invitation"},
	"log-out":           {session: true},

	"whoami":             {anybody: true},
	"set-password":       {anybody: true}, // with a key only a first one: cloud.Accounts
	"list-own-sessions":  {session: true},
	"end-own-session":    {session: true},
	"end-other-sessions": {session: true},
	"begin-totp":         {session: true},
	"confirm-totp":       {session: true},
	"disable-totp":       {session: true},
	"list-own-api-keys":  {anybody: true}, // what a key sees and makes is no more than itself
	"create-own-api-key": {anybody: true},
	"delete-own-api-key": {anybody: true},

	"list-users":     {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"create-user":    {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"get-user":       {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"update-user":    {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"delete-user":    {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"reset-user":     {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"list-api-keys":  {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"delete-api-key": {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"list-sessions":  {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"end-session":    {needs: []cloud.Capability{cloud.InstanceManageUsers}},
	"list-audit":     {needs: []cloud.Capability{cloud.InstanceManageUsers}},

	"energy": {needs: []cloud.Capability{cloud.InstanceManageDevice}},

	"list-apps":  {anybody: true}, // filtered to those the caller may know of
	"create-app": {needs: []cloud.Capability{cloud.InstanceCreateApp}},
	"get-app":    {known: true},
	"update-app": {needs: []cloud.Capability{cloud.AppAdmin}},
	"delete-app": {needs: []cloud.Capability{cloud.AppAdmin}},

	"list-members":  {needs: []cloud.Capability{cloud.AppReadScript}},
	"set-member":    {needs: []cloud.Capability{cloud.AppManageMembers}},
	"remove-member": {needs: []cloud.Capability{cloud.AppManageMembers}},

	"list-variables":  {needs: []cloud.Capability{cloud.AppReadScript}},
	"set-variable":    {needs: []cloud.Capability{cloud.AppWriteScript}, origin: true},
	"delete-variable": {needs: []cloud.Capability{cloud.AppWriteScript}, origin: true},
	"list-secrets":    {needs: []cloud.Capability{cloud.AppSecretsRead}},
	"set-secret":      {needs: []cloud.Capability{cloud.AppSecretsWrite}, origin: true},
	"delete-secret":   {needs: []cloud.Capability{cloud.AppSecretsWrite}, origin: true},

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
	"check-route":  {needs: []cloud.Capability{cloud.AppReadScript}, unaudited: true},
	"match-route":  {needs: []cloud.Capability{cloud.AppReadScript}},

	"list-triggers":  {needs: []cloud.Capability{cloud.AppReadScript}},
	"get-trigger":    {needs: []cloud.Capability{cloud.AppReadScript}},
	"add-trigger":    {needs: []cloud.Capability{cloud.AppManageTriggers}, origin: true},
	"update-trigger": {needs: []cloud.Capability{cloud.AppManageTriggers}, origin: true},
	"delete-trigger": {needs: []cloud.Capability{cloud.AppManageTriggers}, origin: true},
	"fire-trigger":   {needs: []cloud.Capability{cloud.AppManageTriggers}, origin: true, unaudited: true},

	"list-dead-letters":   {needs: []cloud.Capability{cloud.AppManageDeadLetters}},
	"get-dead-letter":     {needs: []cloud.Capability{cloud.AppManageDeadLetters}},
	"replay-dead-letter":  {needs: []cloud.Capability{cloud.AppManageDeadLetters}, unaudited: true}, // the dead letter says who did
	"replay-dead-letters": {needs: []cloud.Capability{cloud.AppManageDeadLetters}, unaudited: true},
	"resolve-dead-letter": {needs: []cloud.Capability{cloud.AppManageDeadLetters}, unaudited: true},

	"find-execution":  {anybody: true}, // of apps whose logs the caller may read
	"list-executions": {needs: []cloud.Capability{cloud.AppReadLogs}},
	"get-execution":   {needs: []cloud.Capability{cloud.AppReadLogs}},
	"tail-executions": {needs: []cloud.Capability{cloud.AppReadLogs}},

	"list-collections": {needs: []cloud.Capability{cloud.AppKvRead}},
	"list-keys":        {needs: []cloud.Capability{cloud.AppKvRead}},
	"get-key":          {needs: []cloud.Capability{cloud.AppKvRead}},
	"set-key":          {needs: []cloud.Capability{cloud.AppKvWrite}, unaudited: true},
	"delete-key":       {needs: []cloud.Capability{cloud.AppKvWrite}, unaudited: true},
}

// admit lets a request reach its operation if rule allows it, and answers it
// else, before its body is read.
func (m *Manager) admit(op huma.Operation, rule rule) func(huma.Context, func(huma.Context)) {
	return func(hctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hctx)
		c, err := m.admitted(r, rule)
		if err != nil {
			m.refuse(w, r, op.OperationID, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		ctx := context.WithValue(hctx.Context(), callerKey{}, c)
		if rule.audited(op.Method) {
			ctx = cloud.WithAudit(ctx, newAuditEntry(op, rule, r, c))
		}
		next(huma.WithContext(hctx, ctx))
	}
}

// admitted decides about a request. It may be asked again while the request
// lasts.
func (m *Manager) admitted(r *http.Request, rule rule) (*caller, error) {
	if !rule.unclaimed {
		if err := m.claimed(r.Context()); err != nil {
			return nil, err
		}
	}
	if err := cloud.CheckOrigin(r); err != nil {
		return nil, err
	}
	c := newCaller(r)
	if rule.open {
		return c, nil
	}
	token, err := credential(r)
	if err != nil {
		return nil, err
	}
	if c.principal, err = m.accounts.Authenticate(r.Context(), token); err != nil {
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
	if err := m.permitted(c, rule); err != nil {
		return nil, err
	}
	if ref := r.PathValue("user"); ref != "" && c.app.ID == "" {
		if c.user, err = m.userFor(r.Context(), ref); err != nil {
			return nil, err
		}
	}
	c.again = func(ctx context.Context) error {
		_, err := m.admitted(r.WithContext(ctx), rule)
		return err
	}
	return c, nil
}

// claimed is a CodeUnclaimed error while the instance has no owner, and
// CodeUnavailable if that cannot be told.
func (m *Manager) claimed(ctx context.Context) error {
	claimed, err := m.accounts.Claimed(ctx)
	switch {
	case err != nil:
		if cloud.CodeOf(err) == cloud.CodeInternal && ctx.Err() == nil {
			m.log.ErrorContext(ctx, "cannot tell whether the instance has an owner", "error", err)
		}
		return cloud.Errorf(cloud.CodeUnavailable, "cannot tell at this moment whether the instance has an owner; try again").Because(err)
	case !claimed:
		return cloud.Errorf(cloud.CodeUnclaimed, "this instance has no owner yet; claim it first, with pic login --claim or POST %s/claim", prefix)
	}
	return nil
}

// credential is the token that a request comes with: a bearer token decides
// alone, else it is the session cookie's.
func credential(r *http.Request) (string, error) {
	if token := cloud.BearerToken(r); token != "" {
		return token, nil
	}
	token, err := cloud.SessionToken(r)
	if err == nil && token == "" {
		err = errNoCredentials
	}
	return token, err
}

// appFor finds an app that p may know of. One that is hidden from p takes the
// same steps, and the same answer, as one that does not exist.
func (m *Manager) appFor(ctx context.Context, p *cloud.Principal, ref string) (cloud.App, error) {
	unknown := cloud.Errorf(cloud.CodeNotFound, "there is no app %q, or none that you may see", ref)
	if cloud.CheckSlug(strings.ToLower(ref)) != nil { // an id has the form of a slug
		return cloud.App{}, unknown
	}
	app, err := m.store.App(ctx, ref)
	if hidden := m.mayKnow(p, app.ID); err == nil {
		err = hidden
	}
	if cloud.CodeOf(err) == cloud.CodeNotFound {
		return cloud.App{}, unknown.Because(err)
	}
	return app, err
}

// userFor finds a user by id or name.
func (m *Manager) userFor(ctx context.Context, ref string) (cloud.User, error) {
	user, err := m.accounts.User(ctx, ref)
	if cloud.CodeOf(err) == cloud.CodeNotFound {
		err = cloud.Errorf(cloud.CodeNotFound, "there is no user %q", ref).Because(err)
	}
	return user, err
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
	if rule.session && c.principal.SessionID == "" {
		return errNoSession
	}
	if !rule.anybody && !rule.session && !rule.known && len(rule.needs) == 0 {
		return cloud.Errorf(cloud.CodeForbidden, "nobody may do this")
	}
	return nil
}

var (
	errNoCredentials = cloud.Errorf(cloud.CodeUnauthorized, "log in, or send an API key as Authorization: Bearer pic_…")
	errNoSession     = cloud.Errorf(cloud.CodeForbidden, "an API key may not do this, whatever its scopes: log in with name and password")
)

func message(err error) string {
	if e, ok := errors.AsType[*cloud.Error](err); ok {
		return e.Message
	}
	return err.Error()
}
