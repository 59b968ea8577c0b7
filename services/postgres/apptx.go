package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
)

// appTx is a manager.AppTx.
type appTx struct {
	tx    pgx.Tx
	appID string
	now   time.Time
}

func (t *appTx) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, sql, args...)
	return tag.RowsAffected(), translate(err)
}

func (t *appTx) App(ctx context.Context) (cloud.App, error) {
	return selectOne(ctx, t.tx, scanApp, noApp(t.appID), `SELECT `+appColumns+` FROM apps WHERE id = $1`, t.appID)
}

func (t *appTx) Rename(ctx context.Context, slug, name string) error {
	app, err := t.App(ctx)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE apps SET slug = $2, name = $3, updated_at = $4 WHERE id = $1`, t.appID, slug, name, t.now)
	if err != nil || app.Slug == slug {
		return err
	}
	if err := takeOver(ctx, t.tx, slug); err != nil {
		return translate(err)
	}
	_, err = t.exec(ctx, `
		INSERT INTO app_aliases (app_id, slug) VALUES ($1, $2)
		ON CONFLICT (slug) DO UPDATE SET app_id = excluded.app_id`, t.appID, app.Slug)
	return err
}

func (t *appTx) Delete(ctx context.Context) error {
	_, err := t.exec(ctx, `DELETE FROM apps WHERE id = $1`, t.appID)
	return err
}

func (t *appTx) Scripts(ctx context.Context) ([]cloud.Script, error) {
	return scripts(ctx, t.tx, t.appID, true)
}

func (t *appTx) SaveScript(ctx context.Context, script cloud.Script, build *cloud.Build, by string) (cloud.Script, error) {
	limits, err := encodeLimits(script.Limits)
	if err != nil {
		return cloud.Script{}, err
	}
	b := storedBuild(build)
	saved, err := selectOne(ctx, t.tx, scanScriptInChange, noApp(t.appID), `
		INSERT INTO scripts (app_id, id, name, kind, language, version, source, limits,
		                     code, source_map, hash, exports, imports, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9, $10, $11, $12, $13, $13)
		ON CONFLICT (app_id, name) DO UPDATE SET
			kind = excluded.kind, language = excluded.language, version = scripts.version + 1,
			source = excluded.source, limits = excluded.limits,
			code = excluded.code, source_map = excluded.source_map, hash = excluded.hash,
			exports = excluded.exports, imports = excluded.imports, updated_at = excluded.updated_at
		RETURNING `+scriptColumns+`, ''`,
		t.appID, cloud.NewID(), script.Name, script.Kind, script.Language, script.Source, limits,
		b.code, b.sourceMap, b.hash, b.exports, b.imports, t.now)
	if err != nil {
		return cloud.Script{}, err
	}
	saved.Source = script.Source
	_, err = t.exec(ctx, `
		INSERT INTO script_versions (app_id, script_id, version, kind, language, source, created_at, created_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		t.appID, saved.ID, saved.Version, saved.Kind, saved.Language, saved.Source, t.now, by)
	if err != nil {
		return cloud.Script{}, err
	}
	_, err = t.exec(ctx, `DELETE FROM script_versions WHERE app_id = $1 AND script_id = $2 AND version <= $3`,
		t.appID, saved.ID, saved.Version-cloud.KeptVersions)
	return saved, err
}

// buildColumns are a build as stored; code and hash are null where there is none.
type buildColumns struct {
	code, hash       *string
	sourceMap        []byte
	exports, imports []string
}

func storedBuild(b *cloud.Build) buildColumns {
	c := buildColumns{exports: []string{}, imports: []string{}}
	if b == nil {
		return c
	}
	c.code, c.hash, c.sourceMap = &b.Code, &b.Hash, b.SourceMap
	c.exports = append(c.exports, b.Exports...)
	c.imports = append(c.imports, b.Imports...)
	return c
}

func (t *appTx) SetBuild(ctx context.Context, scriptID string, build *cloud.Build) error {
	b := storedBuild(build)
	n, err := t.exec(ctx, `
		UPDATE scripts SET code = $3, source_map = $4, hash = $5, exports = $6, imports = $7
		WHERE app_id = $1 AND id = $2 AND kind = 'endpoint'`,
		t.appID, scriptID, b.code, b.sourceMap, b.hash, b.exports, b.imports)
	if err == nil && n == 0 {
		return cloud.Errorf(cloud.CodeNotFound, "the app has no endpoint %s", scriptID)
	}
	return err
}

func (t *appTx) DeleteScript(ctx context.Context, scriptID string) error {
	return t.delete(ctx, "script", `DELETE FROM scripts WHERE app_id = $1 AND id = $2`, scriptID)
}

// delete runs a statement that deletes one thing of the app by its id.
func (t *appTx) delete(ctx context.Context, what, sql, id string) error {
	missing := cloud.Errorf(cloud.CodeNotFound, "the app has no %s %q", what, id)
	if !cloud.IsID(id) {
		return missing
	}
	n, err := t.exec(ctx, sql, t.appID, id)
	if err == nil && n == 0 {
		return missing
	}
	return err
}

func (t *appTx) Version(ctx context.Context, scriptID string, version int) (cloud.ScriptVersion, error) {
	return scriptVersion(ctx, t.tx, t.appID, scriptID, version)
}

func (t *appTx) Routes(ctx context.Context) ([]cloud.Route, error) {
	return routes(ctx, t.tx, t.appID)
}

func (t *appTx) AddRoute(ctx context.Context, route cloud.Route) (cloud.Route, error) {
	pattern, err := cloud.ParsePathPattern(route.Path)
	if err != nil {
		return cloud.Route{}, err
	}
	route.ID, route.AppID = cloud.NewID(), t.appID
	_, err = t.exec(ctx, `
		INSERT INTO routes (app_id, id, script_id, method, host, path, shape, mode, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		t.appID, route.ID, route.ScriptID, route.Method, route.Host, route.Path, pattern.Shape(), route.Mode, t.now)
	if err != nil {
		return cloud.Route{}, err
	}
	return route, nil
}

func (t *appTx) DeleteRoute(ctx context.Context, id string) error {
	return t.delete(ctx, "route", `DELETE FROM routes WHERE app_id = $1 AND id = $2`, id)
}

func (t *appTx) Domains(ctx context.Context) ([]cloud.Domain, error) {
	return domains(ctx, t.tx, t.appID)
}

// DomainsOfOthers implements manager.AppTx. Its lock is taken after the app's own,
// and nobody who has it waits for another app's.
func (t *appTx) DomainsOfOthers(ctx context.Context) ([]cloud.Domain, error) {
	if _, err := t.exec(ctx, `SELECT pg_advisory_xact_lock('domains'::regclass::bigint)`); err != nil {
		return nil, err
	}
	return selectAll(ctx, t.tx, scanDomain, `
		SELECT `+domainColumns+` FROM domains WHERE app_id <> $1 ORDER BY host COLLATE "C"`, t.appID)
}

func (t *appTx) AddDomain(ctx context.Context, host string) (cloud.Domain, error) {
	d := cloud.Domain{ID: cloud.NewID(), AppID: t.appID, Host: strings.ToLower(host), CreatedAt: t.now}
	_, err := t.exec(ctx, `INSERT INTO domains (app_id, id, host, created_at) VALUES ($1, $2, $3, $4)`, t.appID, d.ID, d.Host, d.CreatedAt)
	if err != nil {
		return cloud.Domain{}, err
	}
	return d, nil
}

func (t *appTx) DeleteDomain(ctx context.Context, host string) error {
	n, err := t.exec(ctx, `DELETE FROM domains WHERE app_id = $1 AND host = lower($2)`, t.appID, host)
	if err == nil && n == 0 {
		return cloud.Errorf(cloud.CodeNotFound, "the app has not claimed the host %q", host)
	}
	return err
}
