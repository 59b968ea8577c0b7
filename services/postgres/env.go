package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
)

// Env keeps the variables and secrets of apps: a secrets.Store.
type Env struct {
	pool *pgxpool.Pool
	now  func() time.Time
}

var _ secrets.Store = (*Env)(nil)

// NewEnv returns a store on pool. Nil now means time.Now.
func NewEnv(pool *pgxpool.Pool, now func() time.Time) *Env {
	if now == nil {
		now = time.Now
	}
	return &Env{pool: pool, now: now}
}

// The two kinds of rows in app_env: the column that only they have.
const (
	isVariable = "value"
	isSecret   = "sealed"
)

// Secret implements secrets.Store.
func (s *Env) Secret(ctx context.Context, appID, name string) (cloud.Sealed, bool, error) {
	if !cloud.IsID(appID) {
		return cloud.Sealed{}, false, nil
	}
	found, err := selectAll(ctx, s.pool, pgx.RowToStructByPos[cloud.Sealed], `
		SELECT key_id, sealed FROM app_env WHERE app_id = $1 AND name = $2 AND sealed IS NOT NULL`, appID, text(name))
	if err != nil || len(found) == 0 {
		return cloud.Sealed{}, false, err
	}
	return found[0], true, nil
}

// SetSecret implements secrets.Store.
func (s *Env) SetSecret(ctx context.Context, appID, name string, sealed cloud.Sealed, size int) error {
	return s.set(ctx, appID, envRow{name: name, kind: isSecret, keyID: &sealed.KeyID, box: sealed.Box, size: size})
}

// SetVariable implements secrets.Store.
func (s *Env) SetVariable(ctx context.Context, appID, name, value string) error {
	return s.set(ctx, appID, envRow{name: name, kind: isVariable, value: &value, size: len(value)})
}

// envRow is a row of app_env to be.
type envRow struct {
	name, kind   string
	value, keyID *string
	box          []byte
	size         int
}

// set stores a row, under the lock of the app so that what is counted stays so.
func (s *Env) set(ctx context.Context, appID string, row envRow) error {
	return inAppChange(ctx, s.pool, s.now, appID, func(tx pgx.Tx) error {
		if err := checkRoom(ctx, tx, appID, row); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO app_env (app_id, name, value, key_id, sealed, size, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT ON CONSTRAINT app_env_pkey DO UPDATE SET
				value = excluded.value, key_id = excluded.key_id, sealed = excluded.sealed,
				size = excluded.size, updated_at = excluded.updated_at`,
			appID, row.name, row.value, row.keyID, row.box, row.size, stamp(s.now()))
		return about("value", translate(err))
	})
}

// checkRoom refuses a row that the app's other variables and secrets leave no
// room for, or whose name is one of the other kind.
func checkRoom(ctx context.Context, tx pgx.Tx, appID string, row envRow) error {
	var (
		others, size int
		taken        bool
	)
	err := tx.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE name <> $2), coalesce(sum(size) FILTER (WHERE name <> $2), 0),
		       coalesce(bool_or(name = $2 AND `+row.kind+` IS NULL), false)
		FROM app_env WHERE app_id = $1`, appID, row.name).Scan(&others, &size, &taken)
	switch {
	case err != nil:
		return about("name", translate(err))
	case taken && row.kind == isSecret:
		return &cloud.Error{Code: cloud.CodeConflict, Field: "name", Message: fmt.Sprintf("the app has a variable %s; delete it first, or take another name", row.name)}
	case taken:
		return &cloud.Error{Code: cloud.CodeConflict, Field: "name", Message: fmt.Sprintf("the app has a secret %s; delete it first, or take another name", row.name)}
	case others >= cloud.MaxEnvNames:
		return cloud.Errorf(cloud.CodeLimit, "the app has %d variables and secrets, and may have no more", others)
	case size+row.size > cloud.MaxEnvValues:
		return cloud.Errorf(cloud.CodeLimit, "the app's variables and secrets would have %d bytes together; at most %d are allowed", size+row.size, cloud.MaxEnvValues)
	}
	return nil
}

// DeleteSecret implements secrets.Store.
func (s *Env) DeleteSecret(ctx context.Context, appID, name string) (bool, error) {
	return s.delete(ctx, appID, name, isSecret)
}

// DeleteVariable implements secrets.Store.
func (s *Env) DeleteVariable(ctx context.Context, appID, name string) (bool, error) {
	return s.delete(ctx, appID, name, isVariable)
}

// errUnchanged ends a change that turned out to be none, so that nothing is
// recorded and nobody told.
var errUnchanged = cloud.Errorf(cloud.CodeNotFound, "nothing was there to delete")

func (s *Env) delete(ctx context.Context, appID, name, kind string) (bool, error) {
	if !cloud.IsID(appID) {
		return false, nil
	}
	err := inAppChange(ctx, s.pool, s.now, appID, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM app_env WHERE app_id = $1 AND name = $2 AND `+kind+` IS NOT NULL`, appID, text(name))
		if err == nil && tag.RowsAffected() == 0 {
			return errUnchanged
		}
		return err
	})
	if cloud.CodeOf(err) == cloud.CodeNotFound { // the app too may be gone
		return false, nil
	}
	return err == nil, err
}

// Secrets implements secrets.Store.
func (s *Env) Secrets(ctx context.Context, appID string) ([]cloud.EnvEntry, error) {
	return s.entries(ctx, appID, isSecret)
}

// Variables implements secrets.Store.
func (s *Env) Variables(ctx context.Context, appID string) ([]cloud.EnvEntry, error) {
	return s.entries(ctx, appID, isVariable)
}

func (s *Env) entries(ctx context.Context, appID, kind string) ([]cloud.EnvEntry, error) {
	if !cloud.IsID(appID) {
		return nil, nil
	}
	return selectAll(ctx, s.pool, scanEnvEntry, `
		SELECT name, coalesce(value, ''), updated_at FROM app_env
		WHERE app_id = $1 AND `+kind+` IS NOT NULL ORDER BY name`, appID)
}

func scanEnvEntry(row pgx.CollectableRow) (e cloud.EnvEntry, err error) {
	err = row.Scan(&e.Name, &e.Value, &e.UpdatedAt)
	e.UpdatedAt = e.UpdatedAt.UTC()
	return e, err
}
