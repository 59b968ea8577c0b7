package cluster_test

import (
	"errors"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/postgres/cluster"
)

func open(t *testing.T, dir string) (string, func() error) {
	t.Helper()
	url, stop, err := cluster.Open(t.Context(), cluster.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler), Volatile: true})
	must(t, err)
	return url, stop
}

func postmaster(t *testing.T, url string) (started string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	must(t, conn.QueryRow(t.Context(), "SELECT pg_postmaster_start_time()::text").Scan(&started))
	return started
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	c := start(t, dir)
	url, done := open(t, dir)
	if got, want := postmaster(t, url), postmaster(t, c.URL()); got != want {
		t.Errorf("a server that runs was not used: %s, want %s", got, want)
	}
	must(t, done())
	postmaster(t, c.URL()) // it goes on
	stop(t, c)

	url, done = open(t, dir)
	postmaster(t, url)
	must(t, done())
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Error("the server runs after stop")
	}
}

func TestOpen_MakesNoCluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	if _, _, err := cluster.Open(t.Context(), cluster.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s: %v", dir, err)
	}
}

func TestOpen_LeavesTheDataOfAnotherUserAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	nobody, err := user.Lookup("nobody")
	must(t, err)
	dir := filepath.Join(t.TempDir(), "pg")
	stop(t, start(t, dir))
	chown(t, filepath.Join(dir, "data"), nobody)
	_, _, err = cluster.Open(t.Context(), cluster.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	wantError(t, err, dir, "belongs to the user with the id "+nobody.Uid)
}

func chown(t *testing.T, path string, to *user.User) {
	t.Helper()
	uid, err := strconv.Atoi(to.Uid)
	must(t, err)
	must(t, os.Chown(path, uid, -1))
}
