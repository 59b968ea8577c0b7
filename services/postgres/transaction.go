package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// acquire takes a connection from the pool, to be released by the caller. It
// answers CodeUnavailable when none is free in time. A database that has only just
// gone away may be starting again, and is waited for.
func acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	conn, err := acquireRetrying(wait, pool)
	if err != nil {
		return nil, translate(err)
	}
	return conn, nil
}

// inTransaction runs f in a transaction that commits if f returns nil. Errors
// are translated.
func inTransaction(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx) error) error {
	conn, err := acquire(ctx, pool)
	if err != nil {
		return err
	}
	defer conn.Release()
	return translate(pgx.BeginFunc(ctx, conn, f))
}
