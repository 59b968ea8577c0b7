package caddycloud

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/examples"
	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/orchestrator"
	"github.com/picloud/picloud/services/postgres"
)

// Prepare brings the database to the schema of this program, and gives a new
// instance its default app with a script at /hello. If tokenPath is not empty
// and no such file exists, it writes a new API key of the owner there, readable
// by the file's owner alone. It may run while servers do, and more than once.
func Prepare(ctx context.Context, database, tokenPath string, logger *slog.Logger) error {
	if err := postgres.Migrate(ctx, database, logger); err != nil {
		return err
	}
	pool, err := postgres.NewPool(ctx, database)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := seed(ctx, pool, logger); err != nil {
		return fmt.Errorf("seeding the database: %w", err)
	}
	if tokenPath == "" {
		return nil
	}
	if err := writeOwnerToken(ctx, authz.NewKeys(postgres.NewKeys(pool), nil), tokenPath); err != nil {
		return fmt.Errorf("writing the owner's API key: %w", err)
	}
	return nil
}

// seed puts the first script into the default app once; who removes it does not
// get it back. A seeding that was cut off is done again from the start.
func seed(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) error {
	instance := postgres.NewInstance(pool)
	app, seeded, err := instance.Seed(ctx, time.Now())
	if err != nil || seeded {
		return err
	}
	m, err := manager.New(manager.Config{
		Store:        postgres.NewApps(pool, nil),
		Builder:      build.New(build.Config{Command: BuildCommand}),
		Authorizer:   authz.Policy{},
		Router:       orchestrator.NewCatalog(orchestrator.CatalogConfig{}),
		Authenticate: authz.NewKeys(postgres.NewKeys(pool), nil).Authenticate,
		Logger:       logger,
	})
	if err != nil {
		return err
	}
	_, err = m.Deploy(ctx, app.ID, []manager.ScriptDraft{{
		Name: "hello", Kind: cloud.Endpoint, Language: cloud.TypeScript, Source: examples.Hello,
		Routes: []manager.RouteDraft{{Method: cloud.AnyMethod, Path: "/hello"}},
	}}, "PiCloud")
	if err != nil {
		return err
	}
	return instance.MarkSeeded(ctx, time.Now())
}

// writeOwnerToken leaves an existing file alone. The file appears whole or not
// at all.
func writeOwnerToken(ctx context.Context, keys *authz.Keys, path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	token, err := keys.CreateOwnerKey(ctx, "owner-token")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".owner-token-") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if _, err := fmt.Fprintln(f, token); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
