package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/manager"
)

// Apps is the control plane's store: a manager.Store.
type Apps struct {
	pool *pgxpool.Pool
	now  func() time.Time
}

var _ manager.Store = (*Apps)(nil)

// NewApps returns a store on pool. Nil now means time.Now.
func NewApps(pool *pgxpool.Pool, now func() time.Time) *Apps {
	if now == nil {
		now = time.Now
	}
	return &Apps{pool: pool, now: now}
}

const appColumns = `apps.id, apps.slug, apps.name, apps.created_at, apps.updated_at`

func scanApp(row pgx.CollectableRow) (a cloud.App, err error) {
	err = row.Scan(&a.ID, &a.Slug, &a.Name, &a.CreatedAt, &a.UpdatedAt)
	a.CreatedAt, a.UpdatedAt = a.CreatedAt.UTC(), a.UpdatedAt.UTC()
	return a, err
}

func noApp(ref string) *cloud.Error {
	return cloud.Errorf(cloud.CodeNotFound, "there is no app %q", ref)
}

// Apps implements manager.Store.
func (s *Apps) Apps(ctx context.Context) ([]cloud.App, error) {
	return selectAll(ctx, s.pool, scanApp, `SELECT `+appColumns+` FROM apps ORDER BY slug COLLATE "C"`)
}

// App implements manager.Store.
func (s *Apps) App(ctx context.Context, ref string) (cloud.App, error) {
	id := "00000000-0000-0000-0000-000000000000"
	if cloud.IsID(ref) {
		id = ref
	}
	// A slug goes before an id, which may look like one, and both before a former
	// slug.
	return selectOne(ctx, s.pool, scanApp, noApp(ref), `
		SELECT `+appColumns+` FROM apps LEFT JOIN app_aliases former ON former.app_id = apps.id AND former.slug = $1
		WHERE apps.slug = $1 OR apps.id = $2 OR former.slug = $1
		ORDER BY apps.slug = $1 DESC, apps.id = $2 DESC LIMIT 1`, ref, id)
}

// CreateApp implements manager.Store.
func (s *Apps) CreateApp(ctx context.Context, app cloud.App, adminID string) (cloud.App, error) {
	app.ID = cloud.NewID()
	app.CreatedAt = stamp(s.now())
	app.UpdatedAt = app.CreatedAt
	err := inChange(ctx, s.pool, s.now, func(tx pgx.Tx) error {
		auditApp(ctx, app.ID, app.Slug)
		_, err := tx.Exec(ctx, `INSERT INTO apps (id, slug, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)`,
			app.ID, app.Slug, app.Name, app.CreatedAt)
		if err != nil {
			return err
		}
		if err := takeOver(ctx, tx, app.Slug); err != nil {
			return err
		}
		if adminID != "" {
			_, err := tx.Exec(ctx, `INSERT INTO app_members (app_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)`,
				app.ID, adminID, cloud.AppAdminRole, app.CreatedAt)
			if err != nil {
				return err
			}
		}
		return notify(ctx, tx, app.ID)
	})
	if err != nil {
		return cloud.App{}, err
	}
	return app, nil
}

// takeOver ends the redirect of a former slug that an app takes.
func takeOver(ctx context.Context, tx pgx.Tx, slug string) error {
	rows, _ := tx.Query(ctx, `DELETE FROM app_aliases WHERE slug = $1 RETURNING app_id::text`, slug)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := notify(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// ChangeApp implements manager.Store.
func (s *Apps) ChangeApp(ctx context.Context, appID string, change func(ctx context.Context, tx manager.AppTx) error) error {
	return inAppChange(ctx, s.pool, s.now, appID, func(tx pgx.Tx) error {
		return change(ctx, &appTx{tx: tx, appID: appID, now: stamp(s.now())})
	})
}

// Scripts implements manager.Store.
func (s *Apps) Scripts(ctx context.Context, appID string) ([]cloud.Script, error) {
	return scripts(ctx, s.pool, appID, false)
}

// Script implements manager.Store.
func (s *Apps) Script(ctx context.Context, appID, ref string) (cloud.Script, error) {
	missing := cloud.Errorf(cloud.CodeNotFound, "the app has no script %q", ref)
	if !cloud.IsID(appID) {
		return cloud.Script{}, missing
	}
	id := "00000000-0000-0000-0000-000000000000"
	if cloud.IsID(ref) {
		id = ref
	}
	return selectOne(ctx, s.pool, scanScript, missing, `
		SELECT `+scriptColumns+`, source FROM scripts WHERE app_id = $1 AND (name = $2 OR id = $3)
		ORDER BY name = $2 DESC LIMIT 1`, appID, ref, id)
}

// Versions implements manager.Store.
func (s *Apps) Versions(ctx context.Context, appID, scriptID string) ([]cloud.ScriptVersion, error) {
	if !cloud.IsID(appID) || !cloud.IsID(scriptID) {
		return nil, nil
	}
	return selectAll(ctx, s.pool, scanVersion, `
		SELECT version, kind, language, '', created_at, created_by
		FROM script_versions WHERE app_id = $1 AND script_id = $2 ORDER BY version DESC`, appID, scriptID)
}

// Version implements manager.Store.
func (s *Apps) Version(ctx context.Context, appID, scriptID string, version int) (cloud.ScriptVersion, error) {
	return scriptVersion(ctx, s.pool, appID, scriptID, version)
}

// Routes implements manager.Store.
func (s *Apps) Routes(ctx context.Context, appID string) ([]cloud.Route, error) {
	return routes(ctx, s.pool, appID)
}

// Domains implements manager.Store.
func (s *Apps) Domains(ctx context.Context, appID string) ([]cloud.Domain, error) {
	return domains(ctx, s.pool, appID)
}
