package postgres_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

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
