package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/kv"
)

// KV keeps the entries of the kv service: a kv.Store. A change and its event are
// one statement.
type KV struct {
	pool    *pgxpool.Pool
	emitter *Emitter
	getter  getter
	loud    sync.Map // by id, apps whose triggers a change has met; the others may have some too
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

// The ways to change an entry. $1, $2 and $3 are app, collection and key, $4 is
// now; of sets $5 is the value and $6 the expiry. Where %s stands is a condition.
var (
	kvUpsert = newKVChange("set", 6, `
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		SELECT $1::uuid, $2::text, $3::text, $5::jsonb, 1, $6::timestamptz, $4::timestamptz WHERE %s
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = excluded.value, expires_at = excluded.expires_at, updated_at = excluded.updated_at,
			version = CASE WHEN e.expires_at <= $4 THEN 1 ELSE e.version + 1 END`,
		`version`)
	kvInsert = newKVChange("set", 6, `
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		SELECT $1::uuid, $2::text, $3::text, $5::jsonb, 1, $6::timestamptz, $4::timestamptz WHERE %s
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = excluded.value, expires_at = excluded.expires_at, updated_at = excluded.updated_at, version = 1
		WHERE e.expires_at <= $4`,
		`version`)
	kvReplace = newKVChange("set", 7, `
		UPDATE kv_entries SET value = $5, expires_at = $6, updated_at = $4, version = version + 1
		WHERE app_id = $1 AND collection = $2 AND key = $3 AND (expires_at IS NULL OR expires_at > $4) AND version = $7 AND %s`,
		`version`)

	// PostgreSQL's float8 is JavaScript's number, and to_jsonb writes the shortest
	// text that reads back as the same.
	kvIncrement = newKVChange("set", 5, `
		INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
		SELECT $1::uuid, $2::text, $3::text, to_jsonb($5::float8), 1, NULL, $4::timestamptz WHERE %s
		ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET
			value = CASE WHEN e.expires_at <= $4 THEN excluded.value ELSE to_jsonb((e.value #>> '{}')::float8 + $5::float8) END,
			version = CASE WHEN e.expires_at <= $4 THEN 1 ELSE e.version + 1 END,
			expires_at = CASE WHEN e.expires_at <= $4 THEN NULL ELSE e.expires_at END,
			updated_at = excluded.updated_at
		WHERE e.expires_at <= $4 OR jsonb_typeof(e.value) = 'number'`,
		`(value #>> '{}')::float8`)

	kvDelete = newKVChange("delete", 4, `
		DELETE FROM kv_entries WHERE app_id = $1 AND collection = $2 AND key = $3 AND %s`,
		`expires_at IS NULL OR expires_at > $4`)
)

// kvChange is a change of an entry in two statements. To prepare for events costs
// as much as to change the entry; so quiet does that alone, and nothing at all in an
// app with triggers, and loud does both.
type kvChange struct{ quiet, loud string }

const kvTriggers = `EXISTS (SELECT FROM triggers WHERE app_id = $1 AND kind = 'kv' AND enabled)`

// newKVChange makes the statements from one with so many parameters, and from what
// it returns; of a delete, whether the entry was there.
func newKVChange(op string, parameters int, change, result string) kvChange {
	value, where := `, 'value', changed.value`, ``
	if op == "delete" {
		value, where = ``, `WHERE result`
	}
	n := parameters
	return kvChange{
		quiet: fmt.Sprintf(change, `NOT `+kvTriggers) + ` RETURNING ` + result,
		loud: `WITH changed AS (` + fmt.Sprintf(change, `true`) + ` RETURNING ` + result + ` AS result, value),
			event AS (` + fmt.Sprintf(`
				SELECT $1::uuid AS app_id, $%d::uuid AS event_id, 'kv' AS kind, '%s' AS op, $2::text AS place, $3::text AS name,
				       json_build_object('collection', $2::text, 'key', $3::text%s) AS payload,
				       json_build_object('collection', $2::text, 'key', $3::text, 'valueOmitted', true) AS lesser,
				       $%d::integer AS depth, $%d::uuid AS cause_id, $4::timestamptz AS at
				FROM changed %s`, n+1, op, value, n+2, n+3, where) + `
			),` + emission(n+4) + `
			SELECT result, (SELECT count(*) FROM matched), ` + kvTriggers + `, (SELECT count(*) FROM told) FROM changed`,
	}
}

// kvChanged is what a loud statement returns.
type kvChanged[T any] struct {
	result   T
	matched  int  // triggers
	triggers bool // the app has some
}

func scanChanged[T any](row pgx.CollectableRow) (c kvChanged[T], err error) {
	err = row.Scan(&c.result, &c.matched, &c.triggers, nil)
	return c, err
}

// changeEntry changes an entry, and tells who is to know. It returns false if
// there is no entry to change. args are those of both statements.
func changeEntry[T any](ctx context.Context, s *KV, cause cloud.Cause, change kvChange, appID string, args ...any) (result T, ok bool, err error) {
	args = append([]any{appID}, args...)
	if _, loud := s.loud.Load(appID); !loud {
		results, err := list(ctx, s, pgx.RowTo[T], change.quiet, args...)
		if err != nil {
			return result, false, err
		}
		if len(results) > 0 {
			return results[0], true, nil
		}
	}
	var execution *string
	if cloud.IsID(cause.ExecutionID) {
		execution = &cause.ExecutionID
	}
	changes, err := list(ctx, s, scanChanged[T], change.loud, append(args, cloud.NewID(), cause.Depth+1, execution, s.emitter.notice)...)
	if err != nil {
		s.emitter.unsure(err)
		return result, false, err
	}
	if len(changes) == 0 {
		return result, false, nil
	}
	if changes[0].triggers {
		s.loud.Store(appID, nil)
	} else {
		s.loud.Delete(appID)
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
	change, args := kvUpsert, []any{collection, key, e.UpdatedAt, []byte(value), until}
	switch {
	case ifVersion != nil && *ifVersion == 0:
		change = kvInsert
	case ifVersion != nil:
		change, args = kvReplace, append(args, *ifVersion)
	}
	version, ok, err := changeEntry[int64](ctx, s, cause, change, appID, args...)
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

// Delete implements kv.Store.
func (s *KV) Delete(ctx context.Context, cause cloud.Cause, appID, collection, key string, now time.Time) (bool, error) {
	was, _, err := changeEntry[bool](ctx, s, cause, kvDelete, appID, collection, key, stamp(now))
	return was, err
}

// Increment implements kv.Store.
func (s *KV) Increment(ctx context.Context, cause cloud.Cause, appID, collection, key string, by float64, now time.Time) (float64, error) {
	sum, ok, err := changeEntry[float64](ctx, s, cause, kvIncrement, appID, collection, key, stamp(now), by)
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
