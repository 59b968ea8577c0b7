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
// statement, which emits its event too.
type KV struct {
	pool    *pgxpool.Pool
	emitter *Emitter
	getter  getter
}

var _ kv.Store = (*KV)(nil)

// NewKV returns a store on pool. With a nil emitter nobody in this process is told
// of events.
func NewKV(pool *pgxpool.Pool, emitter *Emitter) *KV {
	return &KV{pool: pool, emitter: emitter.orNobody(), getter: getter{pool: pool, waiting: map[string][]*get{}}}
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

// kvEvent is the part of a statement that emits the events of its CTE "changed".
// $2 and $3 are collection and key; the rest stands where kvCause puts it.
func kvEvent(op, where string) string {
	value := ``
	if op == "set" {
		value = `, 'value', changed.value`
	}
	return `,
		event AS (
			SELECT $1::uuid AS app_id, $4::uuid AS event_id, 'kv' AS kind, '` + op + `' AS op, $2::text AS place, $3::text AS name,
			       json_build_object('collection', $2::text, 'key', $3::text` + value + `) AS payload,
			       json_build_object('collection', $2::text, 'key', $3::text, 'valueOmitted', true) AS lesser,
			       $5::integer AS depth, $6::uuid AS cause_id, $7::timestamptz AS at
			FROM changed ` + where + `
		),` + emission(8)
}

// kvCause are the first parameters of a statement with a kvEvent.
func (s *KV) kvCause(c cloud.Cause, appID, collection, key string, now time.Time) []any {
	var cause *string
	if cloud.IsID(c.ExecutionID) {
		cause = &c.ExecutionID
	}
	return []any{appID, collection, key, cloud.NewID(), c.Depth + 1, cause, stamp(now), s.emitter.notice}
}

// The three ways to set an entry; $7 is now, $9 the value, $10 the expiry.
var (
	kvUpsert = kvSet(`
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		VALUES ($1, $2, $3, $9, 1, $10, $7)
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = excluded.value, expires_at = excluded.expires_at, updated_at = excluded.updated_at,
			version = CASE WHEN e.expires_at <= $7 THEN 1 ELSE e.version + 1 END`)
	kvInsert = kvSet(`
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		VALUES ($1, $2, $3, $9, 1, $10, $7)
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = excluded.value, expires_at = excluded.expires_at, updated_at = excluded.updated_at, version = 1
		WHERE e.expires_at <= $7`)
	kvReplace = kvSet(`
		UPDATE kv_entries SET value = $9, expires_at = $10, updated_at = $7, version = version + 1
		WHERE app_id = $1 AND collection = $2 AND key = $3 AND (expires_at IS NULL OR expires_at > $7) AND version = $11`)
)

func kvSet(change string) string {
	return `WITH changed AS (` + change + ` RETURNING value, version)` + kvEvent("set", "") + `
		SELECT version, (SELECT count(*) FROM matched), (SELECT count(*) FROM told) FROM changed`
}

// kvChange is what a statement that changes an entry returns.
type kvChange[T any] struct {
	result  T
	matched int // triggers
}

func scanChange[T any](row pgx.CollectableRow) (c kvChange[T], err error) {
	err = row.Scan(&c.result, &c.matched, nil)
	return c, err
}

// changeEntry runs a statement that changes an entry, and tells who is to know. It
// returns false if there is no entry to change.
func changeEntry[T any](ctx context.Context, s *KV, cause cloud.Cause, appID, sql string, args ...any) (result T, ok bool, err error) {
	changes, err := list(ctx, s, scanChange[T], sql, args...)
	if err != nil || len(changes) == 0 {
		return result, false, err
	}
	s.emitter.emitted(appID, cloud.EventKV, cause.Depth+1, changes[0].matched)
	return changes[0].result, true, nil
}

// Set implements kv.Store.
func (s *KV) Set(ctx context.Context, cause cloud.Cause, appID, collection, key string, value json.RawMessage, expires time.Time, ifVersion *int64, now time.Time) (cloud.KVEntry, error) {
	e := cloud.KVEntry{Key: key, Value: value, UpdatedAt: stamp(now)}
	var until *time.Time
	if !expires.IsZero() {
		e.ExpiresAt = stamp(expires)
		until = &e.ExpiresAt
	}
	sql, args := kvUpsert, append(s.kvCause(cause, appID, collection, key, now), []byte(value), until)
	switch {
	case ifVersion != nil && *ifVersion == 0:
		sql = kvInsert
	case ifVersion != nil:
		sql, args = kvReplace, append(args, *ifVersion)
	}
	version, ok, err := changeEntry[int64](ctx, s, cause, appID, sql, args...)
	switch {
	case err != nil:
		return cloud.KVEntry{}, about("value", err)
	case !ok:
		return cloud.KVEntry{}, kv.Conflict(key, *ifVersion)
	}
	e.Version = version
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

var kvDelete = `
	WITH changed AS (
		DELETE FROM kv_entries WHERE app_id = $1 AND collection = $2 AND key = $3
		RETURNING expires_at IS NULL OR expires_at > $7 AS live
	)` + kvEvent("delete", "WHERE live") + `
	SELECT live, (SELECT count(*) FROM matched), (SELECT count(*) FROM told) FROM changed`

// Delete implements kv.Store.
func (s *KV) Delete(ctx context.Context, cause cloud.Cause, appID, collection, key string, now time.Time) (bool, error) {
	live, _, err := changeEntry[bool](ctx, s, cause, appID, kvDelete, s.kvCause(cause, appID, collection, key, now)...)
	return live, err
}

// PostgreSQL's float8 is JavaScript's number, and to_jsonb writes the shortest
// text that reads back as the same.
var kvIncrement = `
	WITH changed AS (
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		VALUES ($1, $2, $3, to_jsonb($9::float8), 1, NULL, $7)
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = CASE WHEN e.expires_at <= $7 THEN excluded.value ELSE to_jsonb((e.value #>> '{}')::float8 + $9::float8) END,
			version = CASE WHEN e.expires_at <= $7 THEN 1 ELSE e.version + 1 END,
			expires_at = CASE WHEN e.expires_at <= $7 THEN NULL ELSE e.expires_at END,
			updated_at = excluded.updated_at
		WHERE e.expires_at <= $7 OR jsonb_typeof(e.value) = 'number'
		RETURNING value
	)` + kvEvent("set", "") + `
	SELECT (value #>> '{}')::float8, (SELECT count(*) FROM matched), (SELECT count(*) FROM told) FROM changed`

// Increment implements kv.Store.
func (s *KV) Increment(ctx context.Context, cause cloud.Cause, appID, collection, key string, by float64, now time.Time) (float64, error) {
	sum, ok, err := changeEntry[float64](ctx, s, cause, appID, kvIncrement, append(s.kvCause(cause, appID, collection, key, now), by)...)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "22003": // numeric_value_out_of_range
		return 0, kv.NotFinite(key)
	case err != nil:
		return 0, err
	case !ok:
		return 0, kv.NoNumber(key)
	}
	return sum, nil
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
