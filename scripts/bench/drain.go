package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/postgres"
)

// payloadText is how many bytes of text an event of the comparison carries.
const payloadText = 64

// fill puts n deliveries to a script into the outbox that are due, in batches of a
// transaction each, as a change in the app would.
func fill(ctx context.Context, pool *pgxpool.Pool, n int, appID, scriptID, userID string) error {
	const batch = 1000
	for first := 0; first < n; first += batch {
		_, err := pool.Exec(ctx, `
			INSERT INTO outbox (app_id, event_id, script_id, kind, op, payload, user_id, depth, max_attempts, backoff, base_ms, cap_ms, at, due_at)
			SELECT $1, gen_random_uuid(), $2, 'kv', 'set',
			       json_build_object('collection', 'bench', 'key', i::text, 'value', lpad('', $5, '0')),
			       nullif($6, '')::uuid, 1, 5, 'exponential', 1000, 3600000, now(), now()
			FROM generate_series($3::integer, $4) i`,
			appID, scriptID, first, min(first+batch, n)-1, payloadText, userID)
		if err != nil {
			return err
		}
	}
	return nil
}

// counted is a store that counts what is settled.
type counted struct {
	events.Store
	left atomic.Int64
	done chan struct{} // closed when nothing is left
}

func (c *counted) Settle(ctx context.Context, now time.Time, outcomes []events.Outcome) (int, error) {
	emitted, err := c.Store.Settle(ctx, now, outcomes)
	if err == nil && c.left.Add(-int64(len(outcomes))) == 0 {
		close(c.done)
	}
	return emitted, err
}

// drain delivers n due events to a handler that does nothing, and prints the
// seconds that took.
func drain(ctx context.Context, n, atOnce int) error {
	pool, err := postgres.NewPool(ctx, os.Getenv("PICLOUD_DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	store := &counted{Store: postgres.NewEvents(pool, nil), done: make(chan struct{})}
	store.left.Store(int64(n))
	d := events.New(events.Config{
		Store: store,
		Run: func(context.Context, context.Context, cloud.Delivery) (events.Result, error) {
			return events.Result{}, nil
		},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Capacity: atOnce, PerApp: atOnce,
	})
	began := time.Now()
	d.Start()
	defer d.Stop(ctx)
	select {
	case <-store.done:
		fmt.Println(time.Since(began).Seconds())
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// written is what PostgreSQL has written so far: bytes of WAL, and of pages in
// its tables and indexes. It makes a checkpoint, so that nothing waits.
func written(ctx context.Context, conn *pgx.Conn) (wal, pages int64, err error) {
	if _, err := conn.Exec(ctx, `CHECKPOINT`); err != nil {
		return 0, 0, err
	}
	var version int
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::integer`).Scan(&version); err != nil {
		return 0, 0, err
	}
	blocks := `(SELECT sum(writes) FROM pg_stat_io WHERE object = 'relation')`
	if version < 160000 {
		blocks = `(SELECT buffers_checkpoint + buffers_clean + buffers_backend FROM pg_stat_bgwriter)`
	}
	err = conn.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, `+blocks+`::bigint * 8192`).Scan(&wal, &pages)
	return wal, pages, err
}
