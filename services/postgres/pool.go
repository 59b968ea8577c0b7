package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/idle"
)

// Bounds of the pool, all ours. A connection string may set pool_max_conns.
const (
	maxConns       = 10
	connectTimeout = 2 * time.Second
	pingTimeout    = 2 * time.Second
	// acquireTimeout bounds the wait for a connection while all are in use.
	acquireTimeout = 5 * time.Second
	// idleTime is after how long without a query all idle connections are
	// closed: each keeps a server process and its memory.
	idleTime = 10 * time.Second
)

// NewPool returns a pool of connections for the stores, to be closed by the
// caller. It does not connect. While nobody uses the pool it does nothing: no
// ticks, and after some seconds no connections.
func NewPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database connection string: %w", err) // pgx leaves the password out
	}
	if _, set := parameters(url)["pool_max_conns"]; !set {
		cfg.MaxConns = maxConns
	}
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	cfg.PingTimeout = pingTimeout
	// The pool's own check of idle connections ticks for ever. Instead trim
	// closes them, and a ping on acquiring finds the broken ones.
	cfg.HealthCheckPeriod = 1000 * time.Hour
	cfg.MaxConnIdleTime = 1000 * time.Hour
	var pool *pgxpool.Pool
	trim := idle.New(idleTime, func() { pool.Reset() })
	// On acquiring, not on releasing: for that pgxpool would start a goroutine
	// each time.
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { trim.Used(); return true, nil }
	new(outage).watch(cfg)
	pool, err = pgxpool.NewWithConfig(ctx, cfg)
	return pool, err
}

// parameters are the settings of a connection string.
func parameters(url string) map[string]string {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil
	}
	return cfg.RuntimeParams
}
