// Package executor makes executions happen: it keeps a worker process per app,
// gates how many executions run at once, carries requests in and answers out,
// enforces limits, serves host calls and records results.
package executor

import (
	"context"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// LogStore keeps execution records.
type LogStore interface {
	// AppendExecutions inserts the records in one transaction that need not be
	// durable at once. Records of apps that are gone are dropped silently.
	AppendExecutions(ctx context.Context, records []cloud.Execution) error

	// SweepExecutions deletes records that started before the given time, and of
	// each app all but the newest keep.
	SweepExecutions(ctx context.Context, before time.Time, keep int) error
}
