package cluster_test

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/services/postgres/cluster"
)

// envHelper makes the test binary a program that runs a cluster in the folder it
// names, tells its server's pid, and waits to be killed.
const envHelper = "CLUSTER_TEST_HELPER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envHelper); dir != "" {
		c, err := cluster.Start(context.Background(), cluster.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler), Volatile: true})
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(c.PID()) + "\n")
		select {}
	}
	goleak.VerifyTestMain(m)
}

func tryStart(t *testing.T, dir string) (*cluster.Cluster, error) {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Volatile: true})
	if err == nil {
		t.Cleanup(func() { _ = c.Stop() })
	}
	return c, err
}

func start(t *testing.T, dir string) *cluster.Cluster {
	t.Helper()
	c, err := tryStart(t, dir)
	must(t, err)
	return c
}

func stop(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	must(t, c.Stop())
	must(t, c.Stop())
	if pid := c.PID(); pid != 0 {
		t.Errorf("server %d runs after Stop", pid)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Fatalf("error %v, want one that says %q", err, part)
		}
	}
}

// ask connects, again and again while the server restarts, and returns the
// answer to a query.
func ask(t *testing.T, c *cluster.Cluster, sql string) (answer string) {
	t.Helper()
	for {
		err := func() error {
			conn, err := pgx.Connect(t.Context(), c.URL())
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
			return conn.QueryRow(t.Context(), sql).Scan(&answer)
		}()
		if err == nil {
			return answer
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // between attempts; nothing is assumed to have happened meanwhile
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "below", "pg") // which user postgres cannot reach
	c := start(t, dir)
	for setting, want := range map[string]string{"listen_addresses": "", "unix_socket_permissions": "0700", "shared_buffers": "16MB", "jit": "off", "data_checksums": "on"} {
		if got := ask(t, c, "SHOW "+setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	for _, d := range []string{dir, filepath.Join(dir, "data"), filepath.Join(dir, "socket")} {
		info, err := os.Stat(d)
		must(t, err)
		if info.Mode().Perm() != 0o700 {
			t.Errorf("the mode of %s is %o, want 700", d, info.Mode().Perm())
		}
	}
	_, err := tryStart(t, dir)
	wantError(t, err, "in use by process "+strconv.Itoa(os.Getpid()))

	stop(t, c)
	c = start(t, dir) // again, on what is there
	ask(t, c, "SELECT 'works'")
	stop(t, c)
}

func TestStart_ForeignDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("15\n"), 0o600))
	_, err := tryStart(t, dir)
	wantError(t, err, dir, "was not made by PiCloud")
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("a directory of somebody else's now holds %v", entries)
	}
}

func TestStart_AfterInterruptedInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "PICLOUD"), nil, 0o600)) // half written
	_, err := tryStart(t, dir)
	must(t, err)

	dir = filepath.Join(t.TempDir(), "pg")
	c := start(t, dir)
	stop(t, c)
	must(t, os.Rename(filepath.Join(dir, "data"), filepath.Join(dir, "data.new")))
	must(t, os.Remove(filepath.Join(dir, "data.new", "global", "pg_control")))
	ask(t, start(t, dir), "SELECT 'works'")
}

func TestStart_OtherMajor(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pg")
	stop(t, start(t, dir))
	must(t, os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("14\n"), 0o600))
	_, err := tryStart(t, dir)
	wantError(t, err, "made by PostgreSQL 14", "install postgresql-14")
	must(t, os.Remove(filepath.Join(dir, "data", "PG_VERSION")))
	_, err = tryStart(t, dir)
	wantError(t, err, "no PG_VERSION")
}

func TestStart_ServerThatFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pg")
	stop(t, start(t, dir))
	must(t, os.Remove(filepath.Join(dir, "data", "global", "pg_control")))
	_, err := tryStart(t, dir)
	wantError(t, err, "the server does not start", "pg_control")
}

func TestStart_LongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 20), "pg")
	c := start(t, dir)
	ask(t, c, "SELECT 'works'")
	socket := ask(t, c, "SHOW unix_socket_directories")
	socket = strings.Trim(socket, `"`)
	info, err := os.Stat(socket)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the mode of %s is %o, want 700", socket, info.Mode().Perm())
	}
	stop(t, c)
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("%s stays behind: %v", socket, err)
	}
}

func TestStart_Cancelled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pg")
	stop(t, start(t, dir))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := cluster.Start(ctx, cluster.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}); err == nil {
		must(t, c.Stop()) // it was faster
	}
	ask(t, start(t, dir), "SELECT 'works'")
}

func TestCluster_ServerKilled(t *testing.T) {
	t.Parallel()
	c := start(t, filepath.Join(t.TempDir(), "pg"))
	for range 2 {
		// A session that is connected keeps the shared memory for a moment.
		conn, err := pgx.Connect(t.Context(), c.URL())
		must(t, err)
		before := ask(t, c, "SELECT pg_postmaster_start_time()::text")
		must(t, syscall.Kill(c.PID(), syscall.SIGKILL))
		for ask(t, c, "SELECT pg_postmaster_start_time()::text") == before { // until the next one answers
		}
		_ = conn.Close(t.Context())
	}
}

// runHelper starts another process that runs a cluster in dir, and returns its
// server's pid.
func runHelper(t *testing.T, dir string) (helper *exec.Cmd, server int) {
	t.Helper()
	helper = exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), envHelper+"="+dir)
	helper.Stderr = t.Output()
	out, err := helper.StdoutPipe()
	must(t, err)
	must(t, helper.Start())
	t.Cleanup(func() { _ = helper.Process.Kill(); _ = helper.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	server, err = strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	return helper, server
}

func TestStart_AfterKilledRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pg")
	helper, server := runHelper(t, dir)
	_, err := tryStart(t, dir)
	wantError(t, err, "in use by process "+strconv.Itoa(helper.Process.Pid))
	if server <= 1 {
		t.Fatalf("server pid %d", server)
	}

	// Stopped, the server cannot obey the kernel's signal that its parent died.
	must(t, syscall.Kill(server, syscall.SIGSTOP))
	must(t, helper.Process.Kill())
	_ = helper.Wait()
	_, err = os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
	must(t, err)
	resumed := make(chan error, 1)
	go func() { resumed <- syscall.Kill(server, syscall.SIGCONT) }()
	c := start(t, dir)
	must(t, <-resumed)
	if c.PID() == server {
		t.Error("the server of the killed run is still there")
	}
	ask(t, c, "SELECT 'works'")
}
