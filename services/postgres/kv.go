package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/kv"
)

// KV keeps the entries of the kv service: a kv.Store. Every change is one
// statement.
type KV struct {
	pool   *pgxpool.Pool
	getter getter
}

var _ kv.Store = (*KV)(nil)

// NewKV returns a store on pool.
func NewKV(pool *pgxpool.Pool) *KV {
	return &KV{pool: pool, getter: getter{pool: pool, waiting: map[string][]*get{}}}
}

// operationTimeout bounds one statement of the kv store, so that a database that
// hangs costs its callers no more.
const operationTimeout = 10 * time.Second

func scanEntry(row pgx.CollectableRow) (e cloud.KVEntry, err error) {
	var expires *time.Time
	var value []byte
	err = row.Scan(&e.Key, &value, &e.Version, &expires, &e.UpdatedAt)
	return entryOf(e, value, expires), err
}

// entryOf completes an entry with what a row holds in another form.
func entryOf(e cloud.KVEntry, value []byte, expires *time.Time) cloud.KVEntry {
	e.Value = value
	if expires != nil {
		e.ExpiresAt = expires.UTC()
	}
	e.UpdatedAt = e.UpdatedAt.UTC()
	return e
}

// Get implements kv.Store.
func (s *KV) Get(ctx context.Context, appID, collection, key string, now time.Time) (cloud.KVEntry, bool, error) {
	return s.getter.get(ctx, appID, collection, key, now)
}

func list[T any](ctx context.Context, s *KV, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return selectAll(ctx, s.pool, scan, sql, args...)
}

// The three ways to set an entry; $4 is the value, $5 the expiry, $6 now.
const (
	kvUpsert = `
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		VALUES ($1, $2, $3, $4, 1, $5, $6)
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = excluded.value, expires_at = excluded.expires_at, updated_at = excluded.updated_at,
			version = CASE WHEN e.expires_at <= $6 THEN 1 ELSE e.version + 1 END
		RETURNING version`
	kvInsert = `
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		VALUES ($1, $2, $3, $4, 1, $5, $6)
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = excluded.value, expires_at = excluded.expires_at, updated_at = excluded.updated_at, version = 1
		WHERE e.expires_at <= $6
		RETURNING version`
	kvReplace = `
		UPDATE kv_entries SET value = $4, expires_at = $5, updated_at = $6, version = version + 1
		WHERE app_id = $1 AND collection = $2 AND key = $3 AND (expires_at IS NULL OR expires_at > $6) AND version = $7
		RETURNING version`
)

// Set implements kv.Store.
func (s *KV) Set(ctx context.Context, appID, collection, key string, value json.RawMessage, expires time.Time, ifVersion *int64, now time.Time) (cloud.KVEntry, error) {
	e := cloud.KVEntry{Key: key, Value: value, UpdatedAt: stamp(now)}
	var until *time.Time
	if !expires.IsZero() {
		e.ExpiresAt = stamp(expires)
		until = &e.ExpiresAt
	}
	sql, args := kvUpsert, []any{appID, collection, key, []byte(value), until, e.UpdatedAt}
	switch {
	case ifVersion != nil && *ifVersion == 0:
		sql = kvInsert
	case ifVersion != nil:
		sql, args = kvReplace, append(args, *ifVersion)
	}
	versions, err := list(ctx, s, pgx.RowTo[int64], sql, args...)
	switch {
	case err != nil:
		return cloud.KVEntry{}, about("value", err)
	case len(versions) == 0:
		return cloud.KVEntry{}, kv.Conflict(key, *ifVersion)
	}
	e.Version = versions[0]
	return e, nil
}

// about names the argument that a CodeInvalid error of the database is about.
func about(field string, err error) error {
	var e *cloud.Error
	if errors.As(err, &e) && e.Code == cloud.CodeInvalid && e.Field == "" {
		named := *e
		named.Field = field
		return &named
	}
	return err
}

// Delete implements kv.Store.
func (s *KV) Delete(ctx context.Context, appID, collection, key string, now time.Time) (bool, error) {
	live, err := list(ctx, s, pgx.RowTo[bool], `
		DELETE FROM kv_entries WHERE app_id = $1 AND collection = $2 AND key = $3
		RETURNING expires_at IS NULL OR expires_at > $4`, appID, collection, key, now)
	return len(live) == 1 && live[0], err
}

// Increment implements kv.Store. PostgreSQL's float8 is JavaScript's number, and
// to_jsonb writes the shortest text that reads back as the same.
func (s *KV) Increment(ctx context.Context, appID, collection, key string, by float64, now time.Time) (float64, error) {
	sums, err := list(ctx, s, pgx.RowTo[float64], `
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		VALUES ($1, $2, $3, to_jsonb($4::float8), 1, NULL, $5)
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = CASE WHEN e.expires_at <= $5 THEN excluded.value ELSE to_jsonb((e.value #>> '{}')::float8 + $4::float8) END,
			version = CASE WHEN e.expires_at <= $5 THEN 1 ELSE e.version + 1 END,
			expires_at = CASE WHEN e.expires_at <= $5 THEN NULL ELSE e.expires_at END,
			updated_at = excluded.updated_at
		WHERE e.expires_at <= $5 OR jsonb_typeof(e.value) = 'number'
		RETURNING (value #>> '{}')::float8`, appID, collection, key, by, stamp(now))
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "22003": // numeric_value_out_of_range
		return 0, kv.NotFinite(key)
	case err != nil:
		return 0, err
	case len(sums) == 0:
		return 0, kv.NoNumber(key)
	}
	return sums[0], nil
}

// GetMany implements kv.Store.
func (s *KV) GetMany(ctx context.Context, appID, collection string, keys []string, now time.Time) ([]cloud.KVEntry, error) {
	return list(ctx, s, scanEntry, `
		SELECT key, value, version, expires_at, updated_at FROM kv_entries
		WHERE app_id = $1 AND collection = $2 AND key = ANY($3) AND (expires_at IS NULL OR expires_at > $4)`,
		appID, collection, keys, now)
}

// List implements kv.Store. The range scan begins at the prefix or after the
// last key, and ends behind the prefix.
func (s *KV) List(ctx context.Context, appID, collection, prefix, after string, limit int, values bool, now time.Time) ([]cloud.KVEntry, error) {
	value := `NULL::jsonb`
	if values {
		value = `value`
	}
	sql := `
		SELECT key, ` + value + `, version, expires_at, updated_at FROM kv_entries
		WHERE app_id = $1 AND collection = $2 AND key >= $3 AND key > $4 AND (expires_at IS NULL OR expires_at > $5)`
	args := []any{appID, collection, prefix, after, now, limit}
	if end, ok := afterPrefix(prefix); ok {
		sql += ` AND key < $7`
		args = append(args, end)
	}
	return list(ctx, s, scanEntry, sql+` ORDER BY key LIMIT $6`, args...)
}

// afterPrefix is the first text behind all that start with prefix, in the order
// of UTF-8's bytes, which is that of the code points; false if there is none.
func afterPrefix(prefix string) (string, bool) {
	for prefix != "" {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch last {
		case utf8.MaxRune:
			continue
		case 0xD7FF: // before the surrogates, which are no characters
			last = 0xE000
		default:
			last++
		}
		return prefix + string(last), true
	}
	return "", false
}

// Collections implements kv.Store. It skips from name to name by the index.
func (s *KV) Collections(ctx context.Context, appID, after string, limit int, now time.Time) ([]string, error) {
	names, err := list(ctx, s, pgx.RowTo[string], `
		WITH RECURSIVE names AS (
			(SELECT collection FROM kv_entries
			 WHERE app_id = $1 AND collection > $2 AND (expires_at IS NULL OR expires_at > $3)
			 ORDER BY collection LIMIT 1)
			UNION ALL
			SELECT (SELECT e.collection FROM kv_entries e
			        WHERE e.app_id = $1 AND e.collection > names.collection AND (e.expires_at IS NULL OR e.expires_at > $3)
			        ORDER BY e.collection LIMIT 1)
			FROM names WHERE names.collection IS NOT NULL
		)
		SELECT collection FROM names WHERE collection IS NOT NULL LIMIT $4`, appID, after, now, limit)
	slices.SortFunc(names, strings.Compare)
	return names, err
}

// Sweep implements kv.Store.
func (s *KV) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	swept, err := list(ctx, s, pgx.RowTo[int32], `
		DELETE FROM kv_entries e USING (
			SELECT app_id, collection, key FROM kv_entries WHERE expires_at <= $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) expired
		WHERE e.app_id = expired.app_id AND e.collection = expired.collection AND e.key = expired.key
		RETURNING 1`, now, limit)
	return len(swept), err
}
