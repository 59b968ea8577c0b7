package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// SweepAudit is one sweep of the audit log.
func SweepAudit(ctx context.Context, pool *pgxpool.Pool, now time.Time, appID string) error {
	return inTransaction(ctx, pool, func(tx pgx.Tx) error { return sweepAudit(ctx, tx, now, appID) })
}

// Sizes of batches.
const (
	AuditSweep  = auditSweep
	ResealBatch = resealBatch
	ReplayBatch = replayBatch
)

// What the dispatcher's statements are.
const (
	Dispatching = dispatching
	Claim       = claim
	NextDue     = nextDue
)
