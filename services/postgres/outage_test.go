package postgres_test

import (
	"context"
	"log/slog"
	"net/url"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/postgres/cluster"
)

// ask makes a query that needs a connection.
func ask(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := postgres.ReadSchema(ctx, pool)
	return err
}

// Who asks while the server starts gets an answer, however often that happens.
func TestPool_waitsForAServerThatStarts(t *testing.T) {
	t.Parallel()
	cfg := cluster.Config{Dir: filepath.Join(t.TempDir(), "pg"), Logger: slog.New(slog.DiscardHandler), Volatile: true}
	c, err := cluster.Start(t.Context(), cfg)
	must(t, err)
	pool := cloudtest.Pool(t, c.URL())
	for range 3 {
		must(t, c.Stop())
		pool.Reset() // as after a sleep: the pool has no connection
		answers := make(chan error)
		for range 20 { // more than there are connections
			go func() { answers <- ask(t.Context(), pool) }()
		}
		c, err = cluster.Start(t.Context(), cfg)
		must(t, err)
		for range 20 {
			must(t, <-answers)
		}
	}
	must(t, c.Stop())
}

func TestPool_waitsNotForLong(t *testing.T) {
	t.Parallel()
	nowhere := "postgres://postgres@/postgres?host=" + url.QueryEscape(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		pool, err := postgres.NewPool(t.Context(), nowhere)
		must(t, err)
		defer pool.Close()
		waited := func() time.Duration {
			begin := time.Now()
			wantCode(t, ask(t.Context(), pool), cloud.CodeUnavailable)
			return time.Since(begin)
		}
		equal(t, waited(), 5*time.Second)
		// The outage has lasted for long now.
		equal(t, waited(), 5*time.Millisecond)
		time.Sleep(time.Hour)
		equal(t, waited(), 5*time.Millisecond)
	})
}
