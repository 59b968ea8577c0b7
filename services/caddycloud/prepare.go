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
	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/orchestrator"
	"github.com/picloud/picloud/services/postgres"
)

// Preparation is what Prepare needs.
type Preparation struct {
	Database  string // PostgreSQL URL
	SecretKey SecretKey
	// CreateSecretKey makes the key file of SecretKey if it is missing and nothing
	// in the database is sealed.
	CreateSecretKey bool
	// OwnerToken is where a new API key of the owner is written, readable by the
	// file's owner alone, unless the file exists; "": nowhere. It claims an
	// instance that has no owner.
	OwnerToken string
	Logger     *slog.Logger
}

// Prepare brings the database to the schema of this program, makes sure that the
// master key opens what is sealed in it, and gives a new instance its default app
// with a script at /hello. It may run while servers do, and more than once.
func Prepare(ctx context.Context, p Preparation) error {
	if err := postgres.Migrate(ctx, p.Database, p.Logger); err != nil {
		return err
	}
	pool, err := postgres.NewPool(ctx, p.Database)
	if err != nil {
		return err
	}
	defer pool.Close()
	keyring, err := p.SecretKey.checked(ctx, postgres.NewEnv(pool, nil), p.CreateSecretKey)
	if err != nil {
		return err
	}
	users, err := accounts.New(accounts.Config{Store: postgres.NewAccounts(pool, nil), Sealer: keyring, Logger: p.Logger})
	if err != nil {
		return err
	}
	if err := seed(ctx, pool, users, p.Logger); err != nil {
		return fmt.Errorf("seeding the database: %w", err)
	}
	if p.OwnerToken == "" {
		return nil
	}
	if err := writeOwnerToken(ctx, users, p.OwnerToken); err != nil {
		return fmt.Errorf("writing the owner's API key: %w", err)
	}
	return nil
}

// seed puts the first script into the default app once; who removes it does not
// get it back. A seeding that was cut off is done again from the start.
func seed(ctx context.Context, pool *pgxpool.Pool, users cloud.Accounts, logger *slog.Logger) error {
	instance := postgres.NewInstance(pool)
	app, seeded, err := instance.Seed(ctx, time.Now())
	if err != nil || seeded {
		return err
	}
	m, err := manager.New(manager.Config{
		Store:      postgres.NewApps(pool, nil),
		Builder:    build.New(build.Config{Command: BuildCommand}),
		Authorizer: authz.Policy{},
		Router:     orchestrator.NewCatalog(orchestrator.CatalogConfig{}),
		Accounts:   users,
		Logger:     logger,
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
func writeOwnerToken(ctx context.Context, users *accounts.Service, path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	token, err := users.CreateOwnerKey(ctx, "owner-token")
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
