package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
)

// Keys keeps users and their API keys: an authz.KeyStore.
type Keys struct{ pool *pgxpool.Pool }

var _ authz.KeyStore = (*Keys)(nil)

// NewKeys returns a store on pool.
func NewKeys(pool *pgxpool.Pool) *Keys { return &Keys{pool: pool} }

// PrincipalByKey implements authz.KeyStore.
func (s *Keys) PrincipalByKey(ctx context.Context, hash [32]byte, now time.Time) (*cloud.Principal, error) {
	unknown := cloud.Errorf(cloud.CodeUnauthorized, "the API key is not valid here, or has expired")
	return selectOne(ctx, s.pool, scanPrincipal, unknown, `
		SELECT u.id, u.name, u.role, k.id, k.scopes, coalesce(k.app_id::text, '')
		FROM api_keys k JOIN users u ON u.id = k.user_id
		WHERE k.hash = $1 AND u.active AND (k.expires_at IS NULL OR k.expires_at > $2)`, hash[:], now)
}

func scanPrincipal(row pgx.CollectableRow) (*cloud.Principal, error) {
	p := &cloud.Principal{Key: &cloud.Key{}}
	err := row.Scan(&p.UserID, &p.Name, &p.Role, &p.Key.ID, &p.Key.Scopes, &p.Key.AppID)
	return p, err
}

// CreateOwnerKey implements authz.KeyStore.
func (s *Keys) CreateOwnerKey(ctx context.Context, name string, hash [32]byte) error {
	return inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		// One at a time, so that two starts do not make two owners.
		if _, err := tx.Exec(ctx, `SELECT FROM instance FOR NO KEY UPDATE`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO users (id, name, role)
			SELECT $1, 'owner', 'owner' WHERE NOT EXISTS (SELECT FROM users WHERE role = 'owner')`, cloud.NewID())
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO api_keys (id, user_id, name, hash, scopes)
			SELECT $1, id, $2, $3, $4 FROM users WHERE role = 'owner' ORDER BY active DESC, created_at LIMIT 1`,
			cloud.NewID(), name, hash[:], cloud.Scopes)
		return err
	})
}
