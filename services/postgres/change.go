package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
)

// inChange runs f, a change of the control plane, in a transaction that commits
// if f returns nil, and records the audit entry that ctx carries with it. Errors
// are translated.
func inChange(ctx context.Context, pool *pgxpool.Pool, now func() time.Time, f func(tx pgx.Tx) error) error {
	return inTransaction(ctx, pool, func(tx pgx.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return record(ctx, tx, stamp(now()))
	})
}

// inAppChange is inChange for one app, whose lock it holds so that changes of an
// app come one after the other; others may read the app meanwhile and write its
// data. All who watch are told. CodeNotFound.
func inAppChange(ctx context.Context, pool *pgxpool.Pool, now func() time.Time, appID string, f func(tx pgx.Tx) error) error {
	if !cloud.IsID(appID) {
		return noApp(appID)
	}
	return inChange(ctx, pool, now, func(tx pgx.Tx) error {
		slug, err := selectOne(ctx, tx, pgx.RowTo[string], noApp(appID), `SELECT slug FROM apps WHERE id = $1 FOR NO KEY UPDATE`, appID)
		if err != nil {
			return err
		}
		auditApp(ctx, appID, slug)
		if err := f(tx); err != nil {
			return err
		}
		return notify(ctx, tx, appID)
	})
}

// notify tells all who watch, once the transaction commits, that an app has
// changed, by its id, or that something is due. Equal notifications of a
// transaction arrive once.
func notify(ctx context.Context, tx pgx.Tx, notice string) error {
	_, err := tx.Exec(ctx, `SELECT pg_notify('picloud_' || replace(id::text, '-', '_'), $1) FROM instance`, notice)
	return err
}
