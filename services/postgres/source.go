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
	sealer   cloud.Sealer
	own      *Emitter
}

var _ orchestrator.Source = (*Source)(nil)

// NewSource returns a source on pool that fills in what scripts did not ask for
// from defaults, and opens secrets with sealer. A nil one opens none: then, and
// when a secret's master key is missing, whatever loads an app with secrets
// fails with CodeUnavailable. What own has told of already, Watch leaves out; nil
// has told of nothing.
func NewSource(pool *pgxpool.Pool, defaults cloud.Limits, sealer cloud.Sealer, own *Emitter) *Source {
	return &Source{pool: pool, defaults: defaults, sealer: sealer, own: own.orNobody()}
}

// Load implements orchestrator.Source.
func (s *Source) Load(ctx context.Context) ([]cloud.AppState, error) {
	return s.load(ctx, nil)
}

// LoadApp implements orchestrator.Source.
func (s *Source) LoadApp(ctx context.Context, appID string) (cloud.AppState, bool, error) {
	if !cloud.IsID(appID) {
		return cloud.AppState{}, false, nil
	}
	states, err := s.load(ctx, &appID)
	if err != nil || len(states) == 0 {
		return cloud.AppState{}, false, err
	}
	return states[0], true, nil
}

// load reads one app, or all for nil, as they stand at one moment.
func (s *Source) load(ctx context.Context, appID *string) (states []cloud.AppState, err error) {
	conn, err := acquire(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, conn, snapshot, func(tx pgx.Tx) error {
		states, err = s.read(ctx, tx, appID)
		return err
	})
	return states, translate(err)
}

func (s *Source) read(ctx context.Context, tx pgx.Tx, appID *string) ([]cloud.AppState, error) {
	const one = ` WHERE ($1::uuid IS NULL OR app_id = $1)`
	apps, err := selectAll(ctx, tx, scanApp, `SELECT `+appColumns+` FROM apps WHERE ($1::uuid IS NULL OR id = $1) ORDER BY slug COLLATE "C"`, appID)
	if err != nil {
		return nil, err
	}
	states := make([]cloud.AppState, len(apps))
	byID := make(map[string]*cloud.AppState, len(apps))
	for i, app := range apps {
		states[i].App = app
		byID[app.ID] = &states[i]
	}
	aliases, err := selectAll(ctx, tx, pgx.RowToStructByPos[struct{ AppID, Slug string }],
		`SELECT app_id::text, slug FROM app_aliases`+one+` ORDER BY slug COLLATE "C"`, appID)
	if err != nil {
		return nil, err
	}
	for _, a := range aliases {
		byID[a.AppID].FormerSlugs = append(byID[a.AppID].FormerSlugs, a.Slug)
	}
	domains, err := selectAll(ctx, tx, scanDomain, `SELECT `+domainColumns+` FROM domains`+one+` ORDER BY host COLLATE "C"`, appID)
	if err != nil {
		return nil, err
	}
	for _, d := range domains {
		byID[d.AppID].Domains = append(byID[d.AppID].Domains, d)
	}
	routes, err := selectAll(ctx, tx, scanRoute, `SELECT `+routeColumns+` FROM routes`+one+` ORDER BY path COLLATE "C", host COLLATE "C", method COLLATE "C"`, appID)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		byID[r.AppID].Routes = append(byID[r.AppID].Routes, r)
	}
	runnables, err := selectAll(ctx, tx, s.scanRunnable, `
		SELECT id, app_id, name, version, limits, code, source_map, hash, exports, imports
		FROM scripts`+one+` AND kind = 'endpoint' ORDER BY name COLLATE "C"`, appID)
	if err != nil {
		return nil, err
	}
	for _, r := range runnables {
		byID[r.AppID].Scripts = append(byID[r.AppID].Scripts, r)
	}
	return states, s.readEnv(ctx, tx, appID, byID)
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
func (s *Source) Watch(ctx context.Context, connected func() error, changed func(appID string) error, due func()) error {
	err := s.watch(ctx, connected, changed, due)
	if ctx.Err() != nil {
		err = nil
	}
	return translate(err)
}

func (s *Source) watch(ctx context.Context, connected func() error, changed func(appID string) error, due func()) error {
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
	if err := connected(); err != nil {
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
