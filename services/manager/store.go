// Package manager is the control plane: it keeps what exists (apps, domains,
// scripts, routes) and serves it as an HTTP API.
package manager

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// Store keeps the control plane. Methods answer CodeUnavailable while the
// database is away, and CodeNotFound for what does not exist. A change that
// returned without error is durable, recorded in the audit log (cloud.WithAudit),
// and other processes are told of it.
type Store interface {
	// Apps returns all apps by slug.
	Apps(ctx context.Context) ([]cloud.App, error)

	// App finds an app by its slug, a former slug, or its id. CodeNotFound.
	App(ctx context.Context, ref string) (cloud.App, error)

	// CreateApp inserts app; id and times are set by the store. The user with the id
	// adminID, if not "", becomes its app_admin. A slug in use by another app:
	// CodeConflict about "slug"; no such user: CodeNotFound. A former slug of another
	// app is taken over.
	CreateApp(ctx context.Context, app cloud.App, adminID string) (cloud.App, error)

	// ChangeApp runs change in one transaction that holds the app's lock, so that
	// changes of one app come one after the other. An error of change rolls
	// everything back and is returned as it is. CodeNotFound.
	ChangeApp(ctx context.Context, appID string, change func(ctx context.Context, tx AppTx) error) error

	// Scripts returns the app's scripts by name, without their sources.
	Scripts(ctx context.Context, appID string) ([]cloud.Script, error)

	// Script finds a script by name or id. CodeNotFound.
	Script(ctx context.Context, appID, ref string) (cloud.Script, error)

	// Versions returns the kept versions of a script, newest first, without
	// their sources.
	Versions(ctx context.Context, appID, scriptID string) ([]cloud.ScriptVersion, error)

	// Version returns one kept version. CodeNotFound.
	Version(ctx context.Context, appID, scriptID string, version int) (cloud.ScriptVersion, error)

	// Routes returns the app's routes by path, host and method.
	Routes(ctx context.Context, appID string) ([]cloud.Route, error)

	// Domains returns the app's domain claims by host.
	Domains(ctx context.Context, appID string) ([]cloud.Domain, error)

	// Triggers returns the app's triggers, the oldest first.
	Triggers(ctx context.Context, appID string) ([]cloud.Trigger, error)

	// Trigger returns one trigger. CodeNotFound.
	Trigger(ctx context.Context, appID, id string) (cloud.Trigger, error)

	// Executions returns the records that filter selects, newest first, with their
	// lines.
	Executions(ctx context.Context, filter cloud.ExecutionFilter) ([]cloud.Execution, error)

	// Execution returns one record. CodeNotFound.
	Execution(ctx context.Context, appID, id string) (cloud.Execution, error)

	// FindExecution returns one record of whichever app. CodeNotFound.
	FindExecution(ctx context.Context, id string) (cloud.Execution, error)

	// Audit returns the entries that filter selects, newest first.
	Audit(ctx context.Context, filter cloud.AuditFilter) ([]cloud.AuditEntry, error)
}

// AppTx reads and changes one app inside Store.ChangeApp. Reads see the changes
// made before.
type AppTx interface {
	// App is the app as it stands.
	App(ctx context.Context) (cloud.App, error)

	// Rename sets slug and name; a slug that is given up becomes a former slug.
	// CodeConflict about "slug" if another app has it.
	Rename(ctx context.Context, slug, name string) error

	// Delete removes the app and everything in it.
	Delete(ctx context.Context) error

	// Scripts returns all scripts by name, with their sources and, of endpoints,
	// the Imports of their builds.
	Scripts(ctx context.Context) ([]cloud.Script, error)

	// SaveScript inserts the script, or updates the one with the same name: kind,
	// language, source and limits, with a new version. It keeps KeptVersions
	// versions. build is nil for a module. It returns the script as saved.
	SaveScript(ctx context.Context, script cloud.Script, build *cloud.Build, by string) (cloud.Script, error)

	// SetBuild replaces the build of an endpoint without a new version, after a
	// module it imports has changed.
	SetBuild(ctx context.Context, scriptID string, build *cloud.Build) error

	// DeleteScript removes a script with its versions, routes and triggers.
	DeleteScript(ctx context.Context, scriptID string) error

	// Version returns one kept version. CodeNotFound.
	Version(ctx context.Context, scriptID string, version int) (cloud.ScriptVersion, error)

	// Routes returns all routes by path, host and method.
	Routes(ctx context.Context) ([]cloud.Route, error)

	// AddRoute inserts a route; the store sets its id. CodeRouteConflict if a
	// route with equal method, host and path shape exists.
	AddRoute(ctx context.Context, route cloud.Route) (cloud.Route, error)

	// DeleteRoute removes a route. CodeNotFound.
	DeleteRoute(ctx context.Context, id string) error

	// Domains returns all claims by host.
	Domains(ctx context.Context) ([]cloud.Domain, error)

	// DomainsOfOthers returns the claims of all other apps by host, to which none is
	// added until the transaction ends.
	DomainsOfOthers(ctx context.Context) ([]cloud.Domain, error)

	// AddDomain inserts a claim. CodeConflict about "host" if any app has it.
	AddDomain(ctx context.Context, host string) (cloud.Domain, error)

	// DeleteDomain removes a claim. CodeNotFound.
	DeleteDomain(ctx context.Context, host string) error

	// Triggers returns all triggers, the oldest first.
	Triggers(ctx context.Context) ([]cloud.Trigger, error)

	// Trigger returns one trigger, which nothing else changes until the transaction
	// ends, the next run of its schedule included. CodeNotFound.
	Trigger(ctx context.Context, id string) (cloud.Trigger, error)

	// AddTrigger inserts a trigger that events.Check has completed; the store sets
	// its app, id and times. CodeNotFound if the app has no such script, or there is
	// no such user.
	AddTrigger(ctx context.Context, trigger cloud.Trigger) (cloud.Trigger, error)

	// UpdateTrigger stores ScriptID, Filter, Enabled, Retry, UserID, Scopes and
	// NextAt of the trigger with the id of trigger, and returns it as it is then.
	// Deliveries that wait already stay as they are. CodeNotFound.
	UpdateTrigger(ctx context.Context, trigger cloud.Trigger) (cloud.Trigger, error)

	// DeleteTrigger removes a trigger. Deliveries that wait already are made
	// nevertheless. CodeNotFound.
	DeleteTrigger(ctx context.Context, id string) error
}
