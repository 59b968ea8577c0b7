package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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
	// The pool's own check of idle connections ticks for ever. Instead the trimmer
	// closes them, and a ping on acquiring finds the broken ones.
	cfg.HealthCheckPeriod = 1000 * time.Hour
	cfg.MaxConnIdleTime = 1000 * time.Hour
	t := &trimmer{idle: idleTime}
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { t.used(); return true, nil }
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t.reset.Store(new(pool.Reset))
	return pool, nil
}

// parameters are the settings of a connection string.
func parameters(url string) map[string]string {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil
	}
	return cfg.RuntimeParams
}

// trimmer calls reset once when no connection was acquired for a while. Its timer
// exists only between the last time and then. It hears of acquiring, not of
// releasing: for that pgxpool would start a goroutine each time.
type trimmer struct {
	idle  time.Duration
	reset atomic.Pointer[func()]
	last  atomic.Int64 // Unix nanoseconds of the last use
	armed atomic.Bool
}

func (t *trimmer) used() {
	t.last.Store(time.Now().UnixNano())
	if t.armed.CompareAndSwap(false, true) {
		time.AfterFunc(t.idle, t.check)
	}
}

func (t *trimmer) check() {
	left := t.idle - time.Since(time.Unix(0, t.last.Load()))
	if left > 0 {
		time.AfterFunc(left, t.check)
		return
	}
	t.armed.Store(false)
	if reset := t.reset.Load(); reset != nil {
		(*reset)()
	}
}
