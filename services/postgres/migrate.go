package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/picloud/picloud/migrations"
)

const schemaTable = "schema_version"

// migrationLock is the key of the advisory lock that migrations hold: "picloud"
// in ASCII.
const migrationLock = 0x7069636c6f7564

// Schema says how the database's schema relates to what this program knows.
type Schema struct {
	Current int64 // the last step applied; 0 for an empty database
	Known   int64 // the last step this program knows
	Floor   int64 // the lowest step that a program must know to work on the schema
}

// Check returns an error when this program cannot work on the schema, which says
// what to do.
func (s Schema) Check() error {
	switch {
	case s.Current < s.Known:
		return fmt.Errorf("the database's schema is at step %d, this program needs step %d: run `picloud migrate`", s.Current, s.Known)
	case s.Floor > s.Known:
		return fmt.Errorf("the database's schema is at step %d and needs a PiCloud that knows step %d; this program knows %d: start the newer PiCloud again, or restore the data from before its update. Nothing was changed", s.Current, s.Floor, s.Known)
	}
	return nil
}

// Newer tells whether a newer program has been here.
func (s Schema) Newer() bool { return s.Current > s.Known }

// ReadSchema reads the state of the schema without changing it.
func ReadSchema(ctx context.Context, pool *pgxpool.Pool) (Schema, error) {
	conn, err := acquire(ctx, pool)
	if err != nil {
		return Schema{}, err
	}
	defer conn.Release()
	s, err := readSchema(ctx, conn.Conn())
	return s, translate(err)
}

func readSchema(ctx context.Context, conn *pgx.Conn) (Schema, error) {
	known, err := knownStep()
	if err != nil {
		return Schema{}, err
	}
	s := Schema{Known: known}
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('`+schemaTable+`') IS NOT NULL`).Scan(&exists); err != nil || !exists {
		return s, err
	}
	if err := conn.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+schemaTable+` WHERE is_applied`).Scan(&s.Current); err != nil || s.Current == 0 {
		return s, err
	}
	err = conn.QueryRow(ctx, `SELECT floor FROM schema_compatibility`).Scan(&s.Floor)
	return s, err
}

// knownStep is the last step that this program knows.
func knownStep() (last int64, err error) {
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		step, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		last = max(last, step)
	}
	return last, nil
}

// Migrate brings the database's schema up to what this program knows. Programs
// that do so at the same time wait for each other. On the schema of a newer
// program it changes nothing: it warns if this one can work on it, and fails if
// not. Each step is one transaction.
func Migrate(ctx context.Context, url string, logger *slog.Logger) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("database connection string: %w", err)
	}
	for _, pools := range []string{"pool_max_conns", "pool_min_conns", "pool_min_idle_conns", "pool_max_conn_lifetime", "pool_max_conn_idle_time", "pool_health_check_period", "pool_max_conn_lifetime_jitter", "pool_ping_timeout"} {
		delete(cfg.RuntimeParams, pools) // of the string's other readers
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	// The lock belongs to this connection: it goes away with it, whatever happens.
	lock, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return translate(err)
	}
	defer func() { _ = lock.Close(context.WithoutCancel(ctx)) }()
	if _, err := lock.Exec(ctx, `SELECT pg_advisory_lock($1)`, migrationLock); err != nil {
		return translate(err)
	}
	s, err := readSchema(ctx, lock)
	if err != nil {
		return translate(err)
	}
	if s.Current >= s.Known {
		if err := s.Check(); err != nil {
			return err
		}
		if s.Newer() {
			logger.Warn("the database's schema is newer than this program, which can work on it", "schema", s.Current, "known", s.Known)
		}
		return nil
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	return applySteps(ctx, db, logger)
}

func applySteps(ctx context.Context, db *sql.DB, logger *slog.Logger) error {
	store, err := database.NewStore(database.DialectPostgres, schemaTable)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectCustom, db, migrations.Files,
		goose.WithStore(store), goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	applied, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	for _, step := range applied {
		logger.Info("database schema migrated", "step", step.Source.Version, "file", step.Source.Path, "duration", step.Duration)
	}
	return nil
}
