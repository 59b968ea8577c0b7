package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/orchestrator"
)

// Source is where the hot path's tables come from: an orchestrator.Source.
type Source struct {
	pool     *pgxpool.Pool
	defaults cloud.Limits
	own      *Emitter
}

var _ orchestrator.Source = (*Source)(nil)

// NewSource returns a source on pool that fills in what scripts did not ask for
// from defaults. What own has told of already, Watch leaves out; nil has told of
// nothing.
func NewSource(pool *pgxpool.Pool, defaults cloud.Limits, own *Emitter) *Source {
	return &Source{pool: pool, defaults: defaults, own: own.orNobody()}
}

// LoadApp implements orchestrator.Source.
func (s *Source) LoadApp(ctx context.Context, appID string) (cloud.AppState, bool, error) {
	if !cloud.IsID(appID) {
		return cloud.AppState{}, false, nil
	}
	conn, err := acquire(ctx, s.pool)
	if err != nil {
		return cloud.AppState{}, false, err
	}
	defer conn.Release()
	states, err := s.load(ctx, conn.Conn(), &appID)
	if err != nil || len(states) == 0 {
		return cloud.AppState{}, false, err
	}
	return states[0], true, nil
}

// load reads one app, or all for nil, as they stand at one moment. It takes two
// round trips, or one on a connection that has done it before. Who gets an error
// gives the connection up.
func (s *Source) load(ctx context.Context, conn *pgx.Conn, appID *string) (states []cloud.AppState, err error) {
	const one = ` WHERE ($1::uuid IS NULL OR app_id = $1)`
	byID := map[string]*cloud.AppState{}
	b := &pgx.Batch{}
	b.Queue(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
	b.Queue(`SELECT `+appColumns+` FROM apps WHERE ($1::uuid IS NULL OR id = $1) ORDER BY slug COLLATE "C"`, appID).Query(func(rows pgx.Rows) error {
		apps, err := pgx.CollectRows(rows, scanApp)
		states = make([]cloud.AppState, len(apps))
		for i, app := range apps {
			states[i].App = app
			byID[app.ID] = &states[i]
		}
		return err
	})
	each(b, pgx.RowToStructByPos[struct{ AppID, Slug string }], func(a struct{ AppID, Slug string }) {
		byID[a.AppID].FormerSlugs = append(byID[a.AppID].FormerSlugs, a.Slug)
	}, `SELECT app_id::text, slug FROM app_aliases`+one+` ORDER BY slug COLLATE "C"`, appID)
	each(b, scanDomain, func(d cloud.Domain) {
		byID[d.AppID].Domains = append(byID[d.AppID].Domains, d)
	}, `SELECT `+domainColumns+` FROM domains`+one+` ORDER BY host COLLATE "C"`, appID)
	each(b, scanRoute, func(r cloud.Route) {
		byID[r.AppID].Routes = append(byID[r.AppID].Routes, r)
	}, `SELECT `+routeColumns+` FROM routes`+one+` ORDER BY path COLLATE "C", host COLLATE "C", method COLLATE "C"`, appID)
	each(b, s.scanRunnable, func(r cloud.Runnable) {
		byID[r.AppID].Scripts = append(byID[r.AppID].Scripts, r)
	}, `
		SELECT id, app_id, name, version, limits, code, source_map, hash, exports, imports
		FROM scripts`+one+` AND kind = 'endpoint' ORDER BY name COLLATE "C"`, appID)
	each(b, scanEnvValue, func(v envValue) {
		byID[v.appID].Env = append(byID[v.appID].Env, v.EnvValue)
	}, selectEnv, appID)
	b.Queue(`COMMIT`)
	err = translate(conn.SendBatch(ctx, b).Close())
	return states, err
}

// each queues a select whose rows are given to f.
func each[T any](b *pgx.Batch, scan pgx.RowToFunc[T], f func(T), sql string, args ...any) {
	b.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		all, err := pgx.CollectRows(rows, scan)
		for _, one := range all {
			f(one)
		}
		return err
	})
}

func (s *Source) scanRunnable(row pgx.CollectableRow) (r cloud.Runnable, err error) {
	var limits []byte
	r.Build = &cloud.Build{}
	err = row.Scan(&r.ID, &r.AppID, &r.Name, &r.Version, &limits,
		&r.Build.Code, &r.Build.SourceMap, &r.Build.Hash, &r.Build.Exports, &r.Build.Imports)
	if err != nil {
		return r, err
	}
	asked, err := decodeLimits(limits)
	r.Limits = asked.Or(s.defaults)
	return r, err
}

// Watch implements orchestrator.Source on a connection of its own, which is idle
// between changes.
func (s *Source) Watch(ctx context.Context, connected func(load func() ([]cloud.AppState, error)) error, changed func(appID string) error, due func()) error {
	err := s.watch(ctx, connected, changed, due)
	if ctx.Err() != nil {
		err = nil
	}
	return translate(err)
}

func (s *Source) watch(ctx context.Context, connected func(load func() ([]cloud.AppState, error)) error, changed func(appID string) error, due func()) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	schema, err := readSchema(ctx, conn)
	if err != nil {
		return err
	}
	if err := schema.Check(); err != nil {
		return err
	}
	var id string
	if err := conn.QueryRow(ctx, `SELECT id::text FROM instance`).Scan(&id); err != nil {
		return err
	}
	channel := pgx.Identifier{"picloud_" + strings.ReplaceAll(id, "-", "_")}
	if _, err := conn.Exec(ctx, `LISTEN `+channel.Sanitize()); err != nil {
		return err
	}
	if err := connected(func() ([]cloud.AppState, error) { return s.load(ctx, conn, nil) }); err != nil {
		return err
	}
	due()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("watching for changes: %w", err)
		}
		if isDue, news := s.own.isDue(n.Payload); isDue {
			if news {
				due()
			}
			continue
		}
		if err := changed(n.Payload); err != nil {
			return err
		}
	}
}
