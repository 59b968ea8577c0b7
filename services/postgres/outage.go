package postgres

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// outagePatience is for how long after a pool has begun to miss its database those
// who need a connection wait for one. Later they fail at once: a database that is
// gone should not hold up what needs none.
const outagePatience = acquireTimeout

var errOutage = errors.New("the database has been away for long")

// outage knows since when a pool tries to connect in vain.
type outage struct {
	mu    sync.Mutex
	since time.Time // of the first attempt; zero when the last one succeeded
}

// retryKey marks the context of an attempt that follows on a failed one.
type retryKey struct{}

// watch has cfg's pool tell the outage of its attempts, and refuse further ones
// with errOutage when that has lasted for long.
func (o *outage) watch(cfg *pgxpool.Config) {
	cfg.BeforeConnect = func(ctx context.Context, _ *pgx.ConnConfig) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.since.IsZero() {
			o.since = time.Now()
		}
		if ctx.Value(retryKey{}) != nil && time.Since(o.since) > outagePatience {
			return errOutage
		}
		return nil
	}
	cfg.AfterConnect = func(context.Context, *pgx.Conn) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.since = time.Time{}
		return nil
	}
}

// acquireRetrying is pool.Acquire that tries again, until ctx ends or the outage is
// a long one, where the database may be starting.
func acquireRetrying(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	if err == nil {
		return conn, nil
	}
	retry := context.WithValue(ctx, retryKey{}, true)
	for begin := time.Now(); mayBeStarting(err); {
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(max(5*time.Millisecond, time.Since(begin)/4)):
		}
		conn, again := pool.Acquire(retry)
		if again == nil {
			return conn, nil
		}
		if errors.Is(again, errOutage) || ctx.Err() != nil {
			return nil, err
		}
		err = again
	}
	return nil, err
}

// mayBeStarting tells whether err is what a connection meets while the server
// starts: no socket, nobody behind it, or one who is not ready.
func mayBeStarting(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.As(err, &pg) && pg.Code == "57P03" // cannot_connect_now
}
