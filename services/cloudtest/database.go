package cloudtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/postgres/cluster"
)

const template = "picloud_template"

// shared is the cluster of this test process, started by the first test that
// asks. It does not sync: a database of tests need not survive a power cut.
var shared = sync.OnceValues(func() (*cluster.Cluster, error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "picloud-test-")
	if err != nil {
		return nil, err
	}
	if err := removeAfterExit(dir); err != nil {
		return nil, err
	}
	c, err := cluster.Start(ctx, cluster.Config{Dir: filepath.Join(dir, "pg"), Logger: slog.New(slog.DiscardHandler), Volatile: true})
	if err != nil {
		return nil, err
	}
	if err := execute(ctx, c.URL(), "CREATE DATABASE "+template); err != nil {
		return nil, err
	}
	return c, postgres.Migrate(ctx, c.DatabaseURL(template), slog.New(slog.DiscardHandler))
})

// removeAfterExit leaves a shell behind that removes dir when this process has
// ended, in whatever way: its input ends then. The server, which the kernel
// signals at the same moment, may take a little longer, hence the attempts.
func removeAfterExit(dir string) error {
	var fds [2]int // the writing end stays open as long as this process
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return err
	}
	r := os.NewFile(uintptr(fds[0]), "pipe")
	defer func() { _ = r.Close() }()
	cmd := exec.Command("/bin/sh", "-c", `cat; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; rm -rf "$1" && exit; done`, "sh", dir)
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

var databases atomic.Int64

// URL returns the connection string of a fresh, migrated database, which is
// dropped after the test.
func URL(t testing.TB) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatalf("test database: %v", err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := execute(t.Context(), c.URL(), "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY file_copy"); err != nil {
		t.Fatalf("test database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(context.WithoutCancel(t.Context()), c.URL(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("test database: %v", err)
		}
	})
	return c.DatabaseURL(name)
}

// EmptyURL is URL for a database without any tables.
func EmptyURL(t testing.TB) string {
	t.Helper()
	url := URL(t)
	if err := execute(t.Context(), url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public"); err != nil {
		t.Fatalf("test database: %v", err)
	}
	return url
}

// Database returns a pool on a fresh, migrated database. Both end with the test.
func Database(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return Pool(t, URL(t))
}

// Pool returns a pool on url that is closed at the test's end.
func Pool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.NewPool(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// LeakOptions make goleak overlook what watches over the test process's
// database, which lives until the process ends.
func LeakOptions() []goleak.Option {
	const pkg = "github.com/picloud/picloud/services/postgres/cluster."
	return []goleak.Option{
		goleak.IgnoreAnyFunction(pkg + "(*Cluster).supervise"),
		goleak.IgnoreAnyFunction(pkg + "(*Cluster).endOnStop"),
		goleak.IgnoreAnyFunction(pkg + "(*tail).read"),
	}
}
