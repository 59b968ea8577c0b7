package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
)

var _ secrets.Vault = (*Env)(nil)

// resealBatch bounds how many values one call of Reseal takes.
const resealBatch = 100

// sealedRow is a sealed value of somebody's.
type sealedRow struct {
	Owner, Name string // Name tells the values of an owner apart
	Sealed      cloud.Sealed
}

// sealedTables are where sealed values are: how they are found that are sealed
// with another key than $1, at most $2 of them, and how $3 and $4 become a row's.
var sealedTables = []struct {
	purpose        func(owner, name string) string
	search, update string
}{
	{
		purpose: cloud.SecretPurpose,
		search: `SELECT app_id::text, name, key_id, sealed FROM app_env WHERE key_id <> $1
			ORDER BY app_id, name LIMIT $2 FOR NO KEY UPDATE`,
		update: `UPDATE app_env SET key_id = $3, sealed = $4 WHERE app_id = $1 AND name = $2`,
	},
	{
		purpose: func(userID, _ string) string { return cloud.TOTPPurpose(userID) },
		search: `SELECT id::text, '', totp_key_id, totp_sealed FROM users WHERE totp_key_id <> $1
			ORDER BY id LIMIT $2 FOR NO KEY UPDATE`,
		update: `UPDATE users SET totp_key_id = $3, totp_sealed = $4 WHERE id = $1 AND $2::text = ''`,
	},
}

// KeyIDs implements secrets.Vault.
func (s *Env) KeyIDs(ctx context.Context) ([]string, error) {
	return selectAll(ctx, s.pool, pgx.RowTo[string], `
		SELECT key_id FROM app_env WHERE key_id IS NOT NULL
		UNION SELECT totp_key_id FROM users WHERE totp_key_id IS NOT NULL
		ORDER BY 1`)
}

// Reseal implements secrets.Vault. Values that others are changing are left for
// last, and then waited for.
func (s *Env) Reseal(ctx context.Context, keyID string, reseal func(purpose string, s cloud.Sealed) (cloud.Sealed, error)) (n int, err error) {
	err = inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		for _, locked := range []string{` SKIP LOCKED`, ``} {
			for _, table := range sealedTables {
				rows, err := selectAll(ctx, tx, scanSealed, table.search+locked, keyID, resealBatch)
				if err != nil {
					return err
				}
				batch := &pgx.Batch{}
				for _, row := range rows {
					sealed, err := reseal(table.purpose(row.Owner, row.Name), row.Sealed)
					if err != nil {
						return err
					}
					batch.Queue(table.update, row.Owner, row.Name, sealed.KeyID, sealed.Box)
				}
				if n = len(rows); n > 0 {
					return tx.SendBatch(ctx, batch).Close()
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func scanSealed(row pgx.CollectableRow) (r sealedRow, err error) {
	err = row.Scan(&r.Owner, &r.Name, &r.Sealed.KeyID, &r.Sealed.Box)
	return r, err
}
