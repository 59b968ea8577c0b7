// Package orchestrator decides what happens next: it leads a request from its
// host to an app and from its path to a route and script.
package orchestrator

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// Source is where the tables of the hot path come from.
type Source interface {
	// LoadApp returns one app, and false if it does not exist (any more).
	// CodeUnavailable while the database is away.
	LoadApp(ctx context.Context, appID string) (cloud.AppState, bool, error)

	// Watch calls connected when it has begun to listen, after which no change is
	// missed, with a function that reads all apps, changed with the app's id for each change that any process commits,
	// and due after connected, and when another process has put something into the
	// outbox or changed a schedule. It returns nil when ctx ends, and otherwise why it
	// ended: the connection was lost, the database has a schema that this program
	// cannot work on, or a function returned an error.
	Watch(ctx context.Context, connected func(load func() ([]cloud.AppState, error)) error, changed func(appID string) error, due func()) error
}
