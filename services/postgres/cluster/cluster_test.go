package cluster_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/services/postgres/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, dir string) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	return c
}

func query[T any](t *testing.T, c *cluster.Cluster, sql string) T {
	t.Helper()
	conn := connect(t, c)
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// connect waits for the server, as its clients do while it restarts.
func connect(t *testing.T, c *cluster.Cluster) *pgx.Conn {
	t.Helper()
	for {
		conn, err := pgx.Connect(t.Context(), c.URL())
		if err == nil {
			t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
			return conn
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // between attempts; nothing is assumed to have happened meanwhile
	}
}

func TestStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	c := start(t, dir)
	if got := query[string](t, c, "SHOW listen_addresses"); got != "" {
		t.Errorf("listen_addresses = %q, want none", got)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory is %o, want 700", info.Mode().Perm())
	}
	_, err = cluster.Start(t.Context(), cluster.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use by process ") {
		t.Errorf("second start: %v, want in use", err)
	}
}
