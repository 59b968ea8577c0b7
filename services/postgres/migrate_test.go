package postgres_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/picloud/picloud/migrations"
	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

func migrate(t *testing.T, url string) (log string, err error) {
	t.Helper()
	var b bytes.Buffer
	err = postgres.Migrate(t.Context(), url, slog.New(slog.NewTextHandler(&b, nil)))
	return b.String(), err
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	url := cloudtest.EmptyURL(t)
	pool := cloudtest.Pool(t, url)
	schema, err := postgres.ReadSchema(t.Context(), pool)
	must(t, err)
	if schema.Current != 0 || schema.Known == 0 || schema.Check() == nil {
		t.Errorf("schema of an empty database: %+v, %v", schema, schema.Check())
	}

	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs { // at the same time
		wg.Go(func() { _, errs[i] = migrate(t, url+"&pool_max_conns=3") })
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	log, err := migrate(t, url) // and again
	must(t, err)
	equal(t, log, "")

	schema, err = postgres.ReadSchema(t.Context(), pool)
	must(t, err)
	equal(t, schema, postgres.Schema{Current: schema.Known, Known: schema.Known, Floor: schema.Floor})
	must(t, schema.Check())
	createApp(t, pool, "works")
}

func TestMigrate_NewerSchema(t *testing.T) {
	t.Parallel()
	url := cloudtest.URL(t)
	pool := cloudtest.Pool(t, url)
	exec := func(sql string, args ...any) {
		_, err := pool.Exec(t.Context(), sql, args...)
		must(t, err)
	}
	known, err := postgres.ReadSchema(t.Context(), pool)
	must(t, err)
	exec(`INSERT INTO schema_version (version_id, is_applied) VALUES ($1, true)`, known.Known+2)

	t.Run("that older programs can work on is warned about", func(t *testing.T) {
		log, err := migrate(t, url)
		must(t, err)
		if !strings.Contains(log, "level=WARN") || !strings.Contains(log, "newer than this program") {
			t.Errorf("log %q, want a warning", log)
		}
		s, err := postgres.ReadSchema(t.Context(), pool)
		must(t, err)
		equal(t, s.Newer(), true)
		must(t, s.Check())
	})
	t.Run("that they cannot work on is refused and left alone", func(t *testing.T) {
		exec(`UPDATE schema_compatibility SET floor = $1`, known.Known+1)
		_, err := migrate(t, url)
		if err == nil || !strings.Contains(err.Error(), "Nothing was changed") {
			t.Errorf("error %v, want a refusal", err)
		}
		s, err := postgres.ReadSchema(t.Context(), pool)
		must(t, err)
		equal(t, s.Current, known.Known+2)
	})
}

func TestMigrate_Away(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres:///x?host=/nonexistent&user=x",
		"postgres://127.0.0.1:1/x?user=x",
	} {
		_, err := migrate(t, url)
		wantCode(t, err, cloud.CodeUnavailable)
	}
	err := postgres.Migrate(t.Context(), "postgres://x:secret@h:port/", slog.New(slog.DiscardHandler))
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one without the password", err)
	}
}

// migrateTo brings an empty database to a step.
func migrateTo(t *testing.T, url string, step int64) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	store, err := database.NewStore(database.DialectPostgres, "schema_version")
	must(t, err)
	p, err := goose.NewProvider(goose.DialectCustom, db, migrations.Files,
		goose.WithStore(store), goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	must(t, err)
	_, err = p.UpTo(t.Context(), step)
	must(t, err)
}

func TestMigrate_Step2(t *testing.T) {
	t.Parallel()
	url := cloudtest.EmptyURL(t)
	pool := cloudtest.Pool(t, url)
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := pool.Exec(t.Context(), sql, args...)
		must(t, err)
	}
	migrateTo(t, url, 1)
	app, owner := cloud.NewID(), cloud.NewID()
	exec(`INSERT INTO apps (id, slug, name, created_at, updated_at) VALUES ($1, 'app', 'App', $2, $2)`, app, noon)
	// What a program of step 1 writes and reads.
	insertUser := func(id, name string) {
		t.Helper()
		exec(`INSERT INTO users (id, name, role) VALUES ($1, $2, 'owner')`, id, name)
	}
	insertKey := func(userID, token string) {
		t.Helper()
		h := hash(token)
		exec(`INSERT INTO api_keys (id, user_id, name, hash, scopes) VALUES ($1, $2, 'owner-token', $3, $4)`, cloud.NewID(), userID, h[:], cloud.Scopes)
	}
	keyHolder := func(token string) (name string) {
		t.Helper()
		h := hash(token)
		must(t, pool.QueryRow(t.Context(), `
			SELECT u.name FROM api_keys k JOIN users u ON u.id = k.user_id
			WHERE k.hash = $1 AND u.active AND (k.expires_at IS NULL OR k.expires_at > $2)`, h[:], noon).Scan(&name))
		return name
	}
	insertUser(owner, "owner")
	insertKey(owner, "before")
	pool.Reset() // no statement prepared on the old tables

	_, err := migrate(t, url)
	must(t, err)
	s := postgres.NewAccounts(pool, nil)

	t.Run("what was there works on", func(t *testing.T) {
		owned, err := s.Owned(t.Context())
		must(t, err)
		equal(t, owned, true)
		p, used, err := s.PrincipalByKey(t.Context(), hash("before"), noon)
		must(t, err)
		equal(t, used.IsZero(), true)
		equal(t, []any{p.UserID, p.Name, p.Role, p.Key.Name, p.Key.Scopes}, []any{owner, "owner", cloud.Owner, "owner-token", cloud.Scopes})
		u, err := s.User(t.Context(), "OWNER")
		must(t, err)
		equal(t, u, cloud.User{ID: owner, Name: "owner", Role: cloud.Owner, Active: true, Access: cloud.AccessNone, CreatedAt: u.CreatedAt})
		must(t, s.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error {
			must(t, tx.SetPassword(ctx, owner, "$hash", time.Time{}))
			_, err := tx.SetMember(ctx, app, owner, cloud.AppAdminRole)
			return err
		}))
		must(t, postgres.NewEnv(pool, nil).SetVariable(t.Context(), app, "V", "x"))
	})
	t.Run("an older program works on it", func(t *testing.T) {
		schema, err := postgres.ReadSchema(t.Context(), pool)
		must(t, err)
		equal(t, schema.Floor, int64(1))
		must(t, postgres.Schema{Current: schema.Current, Known: 1, Floor: schema.Floor}.Check())
		equal(t, keyHolder("before"), "owner")
		second := cloud.NewID()
		insertUser(second, "Second")
		insertKey(second, "after")
		equal(t, keyHolder("after"), "Second")
		// And this one on what the older wrote.
		p, _, err := s.PrincipalByKey(t.Context(), hash("after"), noon)
		must(t, err)
		equal(t, p.Name, "Second")
		must(t, s.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error { return tx.DeleteUser(ctx, second) }))
		_, _, err = s.PrincipalByKey(t.Context(), hash("after"), noon)
		wantCode(t, err, cloud.CodeUnauthorized)
	})
}

func TestMigrate_Step3(t *testing.T) {
	t.Parallel()
	url := cloudtest.EmptyURL(t)
	pool := cloudtest.Pool(t, url)
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := pool.Exec(t.Context(), sql, args...)
		must(t, err)
	}
	migrateTo(t, url, 2)
	app, user, script := cloud.NewID(), cloud.NewID(), cloud.NewID()
	// What a program of step 2 writes.
	insertExecution := func(id string) {
		t.Helper()
		exec(`INSERT INTO executions (app_id, id, script_id, script_name, version, trigger, request_id, method, path,
		                              status, code, started_at, duration_ns, cpu_ns, peak_memory, lines, truncated)
		      VALUES ($1, $2, $3, 's', 1, 'http', '', 'GET', '/', 200, '', $4, 0, 0, 0, '[]', false)`, app, id, script, noon)
	}
	set := func(value string) (version int) {
		t.Helper()
		must(t, pool.QueryRow(t.Context(), `
			INSERT INTO kv_entries AS e (app_id, collection, key, value, version, expires_at, updated_at)
			VALUES ($1, 'c', 'k', $2, 1, NULL, $3)
			ON CONFLICT ON CONSTRAINT kv_entries_pkey DO UPDATE SET value = excluded.value, version = e.version + 1
			RETURNING version`, app, value, noon).Scan(&version))
		return version
	}
	exec(`INSERT INTO apps (id, slug, name, created_at, updated_at) VALUES ($1, 'app', 'App', $2, $2)`, app, noon)
	exec(`INSERT INTO users (id, name, role) VALUES ($1, 'ann', 'owner')`, user)
	exec(`INSERT INTO scripts (app_id, id, name, kind, language, version, source, limits, code, created_at, updated_at)
	      VALUES ($1, $2, 's', 'endpoint', 'javascript', 1, '', '{}', '', $3, $3)`, app, script, noon)
	before := cloud.NewID()
	insertExecution(before)
	equal(t, set(`1`), 1)
	pool.Reset() // no statement prepared on the old tables

	_, err := migrate(t, url)
	must(t, err)
	t.Run("what was there works on", func(t *testing.T) {
		got, err := postgres.NewApps(pool, nil).Execution(t.Context(), app, before)
		must(t, err)
		equal(t, got, cloud.Execution{
			ID: before, AppID: app, ScriptID: script, ScriptName: "s", Version: 1, Trigger: "http", Method: "GET", Path: "/", Status: 200, StartedAt: noon,
		})
		addTrigger(t, pool, cloud.Trigger{AppID: app, ScriptID: script, UserID: user, Kind: cloud.EventKV, Enabled: true, Retry: cloud.DefaultRetry})
		e, err := postgres.NewKV(pool, nil).Set(t.Context(), cloud.Cause{}, app, "c", "k", []byte(`2`), time.Time{}, nil, noon)
		must(t, err)
		equal(t, e.Version, int64(2))
		equal(t, len(claimAll(t, postgres.NewEvents(pool, nil), noon)), 1)
	})
	t.Run("an older program works on it", func(t *testing.T) {
		schema, err := postgres.ReadSchema(t.Context(), pool)
		must(t, err)
		must(t, postgres.Schema{Current: schema.Current, Known: 2, Floor: schema.Floor}.Check())
		insertExecution(cloud.NewID())
		equal(t, set(`3`), 3)
		exec(`DELETE FROM scripts WHERE id = $1`, script)
		exec(`DELETE FROM users WHERE id = $1`, user)
		exec(`DELETE FROM apps WHERE id = $1`, app)
	})
}
