package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
)

const routeColumns = `id, app_id, script_id, method, host, path, mode`

func scanRoute(row pgx.CollectableRow) (r cloud.Route, err error) {
	err = row.Scan(&r.ID, &r.AppID, &r.ScriptID, &r.Method, &r.Host, &r.Path, &r.Mode)
	return r, err
}

func routes(ctx context.Context, q querier, appID string) ([]cloud.Route, error) {
	if !cloud.IsID(appID) {
		return nil, nil
	}
	return selectAll(ctx, q, scanRoute, `
		SELECT `+routeColumns+` FROM routes WHERE app_id = $1
		ORDER BY path COLLATE "C", host COLLATE "C", method COLLATE "C"`, appID)
}

const domainColumns = `id, app_id, host, created_at`

func scanDomain(row pgx.CollectableRow) (d cloud.Domain, err error) {
	err = row.Scan(&d.ID, &d.AppID, &d.Host, &d.CreatedAt)
	d.CreatedAt = d.CreatedAt.UTC()
	return d, err
}

func domains(ctx context.Context, q querier, appID string) ([]cloud.Domain, error) {
	if !cloud.IsID(appID) {
		return nil, nil
	}
	return selectAll(ctx, q, scanDomain, `
		SELECT `+domainColumns+` FROM domains WHERE app_id = $1 ORDER BY host COLLATE "C"`, appID)
}
