package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
)

// Instance is what the database knows of itself.
type Instance struct{ pool *pgxpool.Pool }

// NewInstance returns the instance behind pool.
func NewInstance(pool *pgxpool.Pool) *Instance { return &Instance{pool: pool} }

// Seed makes the default app if there is none, and returns it. Seeded tells
// whether MarkSeeded was called before, on this database, by any process: what a
// fresh install gets is put there once, and stays away when a user removes it.
func (i *Instance) Seed(ctx context.Context, now time.Time) (app cloud.App, seeded bool, err error) {
	err = inTransaction(ctx, i.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT seeded_at IS NOT NULL FROM instance FOR NO KEY UPDATE`).Scan(&seeded); err != nil {
			return err
		}
		id := cloud.NewID()
		tag, err := tx.Exec(ctx, `
			INSERT INTO apps (id, slug, name, created_at, updated_at) VALUES ($1, $2, 'Default', $3, $3)
			ON CONFLICT ON CONSTRAINT apps_slug_key DO NOTHING`, id, cloud.DefaultApp, stamp(now))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			if err := notify(ctx, tx, id); err != nil {
				return err
			}
		}
		app, err = selectOne(ctx, tx, scanApp, noApp(cloud.DefaultApp), `SELECT `+appColumns+` FROM apps WHERE slug = $1`, cloud.DefaultApp)
		return err
	})
	return app, seeded, err
}

// MarkSeeded notes that the seeding is complete.
func (i *Instance) MarkSeeded(ctx context.Context, now time.Time) error {
	return inTransaction(ctx, i.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE instance SET seeded_at = coalesce(seeded_at, $1)`, now)
		return err
	})
}
