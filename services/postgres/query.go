package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
)

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// query runs a statement. On a pool the wait for a free connection is bounded.
func query(ctx context.Context, q querier, sql string, args ...any) (pgx.Rows, func(), error) {
	release := func() {}
	if pool, ok := q.(*pgxpool.Pool); ok {
		conn, err := acquire(ctx, pool)
		if err != nil {
			return nil, nil, err
		}
		q, release = conn, conn.Release
	}
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		release()
		return nil, nil, translate(err)
	}
	return rows, release, nil
}

// selectAll returns all rows, nil if there are none.
func selectAll[T any](ctx context.Context, q querier, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	return again(q, func() ([]T, error) {
		rows, release, err := query(ctx, q, sql, args...)
		if err != nil {
			return nil, err
		}
		defer release()
		var all []T
		all, err = pgx.AppendRows(all, rows, scan)
		return all, translate(err)
	})
}

// selectOne returns the first row, or missing if there is none.
func selectOne[T any](ctx context.Context, q querier, scan pgx.RowToFunc[T], missing *cloud.Error, sql string, args ...any) (T, error) {
	return again(q, func() (one T, err error) {
		rows, release, err := query(ctx, q, sql, args...)
		if err != nil {
			return one, err
		}
		defer release()
		one, err = pgx.CollectOneRow(rows, scan)
		if errors.Is(err, pgx.ErrNoRows) {
			return one, missing
		}
		return one, translate(err)
	})
}

// again runs f a second time where it found a dead connection in the pool and
// nothing was sent: the database has been restarted since the last use, and the
// other idle connections are dead as well.
func again[T any](q querier, f func() (T, error)) (T, error) {
	result, err := f()
	var noConnection *pgconn.ConnectError
	if pool, ok := q.(*pgxpool.Pool); ok && pgconn.SafeToRetry(err) && !errors.As(err, &noConnection) {
		pool.Reset()
		return f()
	}
	return result, err
}

// stamp is t as the database keeps it: in UTC, to the microsecond.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
