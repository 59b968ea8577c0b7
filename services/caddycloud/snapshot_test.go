package caddycloud_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud/services/postgres/cluster"
)

// TestSnapshot_AnswersBeforeTheDatabase shows what a server does that is started
// with its database still down: what needs no data it answers, from a file that
// shows no secret; what needs data waits.
func TestSnapshot_AnswersBeforeTheDatabase(t *testing.T) {
	dir, err := os.MkdirTemp("", "picloud-wake-") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	run := func() *cluster.Cluster {
		c, err := cluster.Start(t.Context(), cluster.Config{Dir: filepath.Join(dir, "postgres"), Logger: slog.New(slog.DiscardHandler), Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Stop() })
		return c
	}
	database := run()
	s := startOn(t, database.URL())
	state := t.TempDir()
	s.config = strings.Replace(s.config, "picloud {", "picloud {\n\t\tstate_dir "+state, 1)
	s.load(2)
	const value = "correct horse battery staple"
	s.must(http.StatusNoContent, http.MethodPut, "/api/v1/apps/default/secrets/PASSWORD", `{"value":"`+value+`"}`)
	s.deploy("length", `export default (request, env) => "has " + env.PASSWORD.length;`)
	s.deploy("count", `import { kv } from "picloud"; export default async () => "is " + await kv.collection("c").increment("n");`)
	s.eventually("/count", "is 1")

	sleep := func() {
		t.Helper()
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := database.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	sleep()
	file, err := os.ReadFile(filepath.Join(state, "apps.snapshot"))
	if err != nil || !bytes.Contains(file, []byte("PASSWORD")) {
		t.Fatalf("no snapshot of the app: %v", err)
	}
	if bytes.Contains(file, []byte(value)) {
		t.Error("the snapshot has the secret in clear")
	}

	s.load(3)
	if got := s.anonymous("/length"); got != "has 28" {
		t.Errorf("before the database is up: %q", got)
	}
	waiting := make(chan string)
	go func() { waiting <- s.anonymous("/count") }()
	database = run()
	if got := <-waiting; got != "is 2" {
		t.Errorf("what waits for the database gets %q", got)
	}
	s.deploy("length", `export default () => "changed";`)
	s.eventually("/length", "changed")
	sleep()

	// Another process changes the app meanwhile.
	database = run()
	if _, err := s.pool.Exec(t.Context(), `UPDATE apps SET updated_at = now(); DELETE FROM routes WHERE path = '/length'`); err != nil {
		t.Fatal(err)
	}
	s.load(4)
	s.do(http.MethodGet, "/count", "")
	for range 1000 {
		if strings.Contains(s.anonymous("/length"), "route_unknown") {
			return
		}
	}
	t.Error("a change of another process is not seen")
}

// anonymous is the body of the answer to a request without a credential, or why
// there is none.
func (s *server) anonymous(path string) string {
	res, err := http.Get(s.url + path)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
