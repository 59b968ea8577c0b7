// Package orchestrator decides what happens next: it leads a request from its
// host to an app and from its path to a route and script.
package orchestrator

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// Source is where the tables of the hot path come from.
type Source interface {
	// Load returns all apps. CodeUnavailable while the database is away.
	Load(ctx context.Context) ([]cloud.AppState, error)

	// LoadApp returns one app, and false if it does not exist (any more).
	LoadApp(ctx context.Context, appID string) (cloud.AppState, bool, error)

	// Watch calls connected when it has begun to listen, after which no change is
	// missed, changed with the app's id for each change that any process commits, and
	// due after connected, and when another process has put something into the
	// outbox or changed a schedule. It returns nil when ctx ends, and otherwise why it
	// ended: the connection was lost, the database has a schema that this program
	// cannot work on, or a function returned an error.
	Watch(ctx context.Context, connected func() error, changed func(appID string) error, due func()) error
}
