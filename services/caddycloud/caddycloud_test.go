package caddycloud_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/caddycloud"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres/cluster"
)

// server is Caddy in this process, of which there can be one at a time.
type server struct {
	t        *testing.T
	url      string
	database string
	pool     *pgxpool.Pool
	token    string // path of the owner's API key
	config   string

	secretKey string // path of the master key
	log       string // path of what the server logs
	elsewhere string // id of an app that is not the subject of the test
}

func start(t *testing.T) *server {
	t.Helper()
	return startOn(t, cloudtest.URL(t))
}

// startOn starts the server on a database that may be empty.
func startOn(t *testing.T, database string) *server {
	t.Helper()
	return newServer(t, database, true)
}

func newServer(t *testing.T, database string, claimed bool) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{
		t: t, database: database, pool: cloudtest.Pool(t, database),
		token: filepath.Join(dir, "owner-token"), secretKey: filepath.Join(dir, "secret-key"),
		log: filepath.Join(dir, "log"),
	}
	if !claimed {
		s.token = ""
	}
	s.prepare(s.token)
	s.serve()
	s.load(1)
	return s
}

// prepare is what an operator does before the first start.
func (s *server) prepare(ownerToken string) {
	s.t.Helper()
	err := caddycloud.Prepare(s.t.Context(), caddycloud.Preparation{
		Database: s.database, SecretKey: caddycloud.SecretKey{File: s.secretKey}, CreateSecretKey: true,
		OwnerToken: ownerToken, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// serve writes the configuration for a free port.
func (s *server) serve() {
	t := s.t
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	s.url = "http://" + address
	_, port, _ := net.SplitHostPort(address)
	s.config = fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	log default {
		output file %q
		level WARN
	}
	grace_period 10s
	picloud {
		database %q
		worker %q
		secret_key_file %q
	}
}
http://:%s {
	bind 127.0.0.1
	header X-Generation GENERATION
	picloud_manager
	picloud_orchestrator
	picloud_executor
}
`, s.log, s.database, filepath.Join(cloudtest.Binaries(t), "picloud-worker"), s.secretKey, port)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// load gives Caddy the configuration of a generation.
func (s *server) load(generation int) {
	s.t.Helper()
	config, err := adapt([]byte(strings.ReplaceAll(s.config, "GENERATION", strconv.Itoa(generation))))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		s.t.Fatal(err)
	}
	app, err := caddy.ActiveContext().App("picloud")
	if err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-app.(*caddycloud.App).Services().Loaded():
	case <-time.After(30 * time.Second):
		s.t.Fatal("the tables were not loaded after 30 s")
	}
}

func (s *server) deploy(name, source string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"scripts": []any{map[string]any{"name": name, "language": "js", "source": source}}})
	if err != nil {
		s.t.Fatal(err)
	}
	if status, answer := s.do(http.MethodPost, "/api/v1/apps/default/deploy", string(body)); status >= 300 {
		s.t.Fatalf("deploying %s: %d %s", name, status, answer)
	}
}

func (s *server) do(method, path, body string) (int, string) {
	s.t.Helper()
	res := s.send(method, path, body)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (s *server) send(method, path, body string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+readFile(s.t, s.token))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

func TestReload_KeepsRequestsInFlight(t *testing.T) {
	s := start(t)
	s.deploy("slow", `export default { async fetch(request) {
	const encoder = new TextEncoder();
	return new Response(new ReadableStream({
		async start(controller) {
			controller.enqueue(encoder.encode("begun\n"));
			const reader = request.body.getReader();
			for (;;) {
				const { done, value } = await reader.read();
				if (done) break;
				controller.enqueue(value);
			}
			controller.close();
		},
	}));
} };`)
	upload, send := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/slow", upload)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if line, err := lines.ReadString('\n'); line != "begun\n" {
		t.Fatalf("got %q, %v", line, err)
	}

	s.load(2) // returns when generation 2 serves; generation 1 is still draining

	fresh := s.send(http.MethodGet, "/hello", "")
	_ = fresh.Body.Close()
	if got := fresh.Header.Get("X-Generation"); got != "2" || fresh.StatusCode != http.StatusOK {
		t.Errorf("after the reload: generation %q, %s", got, fresh.Status)
	}
	if _, err := io.WriteString(send, "the rest\n"); err != nil {
		t.Fatal(err)
	}
	_ = send.Close()
	rest, err := io.ReadAll(lines)
	if string(rest) != "the rest\n" || err != nil || res.Header.Get("X-Generation") != "1" {
		t.Errorf("got %q, %v from generation %s", rest, err, res.Header.Get("X-Generation"))
	}
}

// TestChange_OfAnotherProcess shows that what one process commits reaches the
// tables of another.
func TestChange_OfAnotherProcess(t *testing.T) {
	s := start(t)
	s.deploy("changed", `export default () => "before";`)
	other := another(t, s.database)
	var found struct{ ID string }
	if _, answer := s.do(http.MethodGet, "/api/v1/apps/default", ""); json.Unmarshal([]byte(answer), &found) != nil {
		t.Fatal(answer)
	}
	app := found.ID
	save := func(text string) {
		t.Helper()
		draft := manager.ScriptDraft{Name: "changed", Source: "export default () => " + strconv.Quote(text)}
		_, err := other.Manager.SaveScript(t.Context(), app, draft, "test")
		if cloud.CodeOf(err) == cloud.CodeUnavailable { // its connection is among the lost
			_, err = other.Manager.SaveScript(t.Context(), app, draft, "test")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	save("after")
	s.eventually("/changed", "after")

	// A lost connection is made again, and what was missed meanwhile is read.
	pool := cloudtest.Pool(t, s.database)
	if _, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
	save("after the loss")
	s.eventually("/changed", "after the loss")
}

// TestDatabaseAway shows what visitors get while the database is gone, and that
// the server goes on by itself when it is back.
func TestDatabaseAway(t *testing.T) {
	dir, err := os.MkdirTemp("", "picloud-away-")
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
	s.deploy("count", `import { kv } from "picloud"; export default async () => (await kv.collection("c").increment("n")) + "";`)
	s.eventually("/count", "1")

	if err := database.Stop(); err != nil {
		t.Fatal(err)
	}
	if status, body := s.do(http.MethodGet, "/hello", ""); status != http.StatusServiceUnavailable && status != http.StatusOK {
		t.Errorf("a script without data: %d %s", status, body)
	}
	for _, path := range []string{"/count", "/api/v1/apps"} {
		res := s.send(http.MethodGet, path, "")
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(string(body), `"unavailable"`) {
			t.Errorf("%s: %s, Retry-After %q, %s", path, res.Status, res.Header.Get("Retry-After"), body)
		}
	}
	if anonymous, err := http.Get(s.url + "/hello"); err != nil || anonymous.StatusCode != http.StatusOK {
		t.Errorf("a script without data, for a stranger: %v %v", anonymous, err)
	} else {
		_ = anonymous.Body.Close()
	}

	run()
	s.eventually("/count", "2")
	s.deploy("fresh", `export default () => "fresh";`)
	s.eventually("/fresh", "fresh")
}

// TestUnmigrated shows that a server may start before its database is ready, and
// goes on by itself when it is.
func TestUnmigrated(t *testing.T) {
	database := cloudtest.EmptyURL(t)
	services := another(t, database)
	services.Start()
	w := httptest.NewRecorder()
	if err := services.Dispatcher.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/hello", nil), nil); err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	err := caddycloud.Prepare(t.Context(), caddycloud.Preparation{Database: database, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-services.Loaded():
	case <-time.After(30 * time.Second):
		t.Error("the tables were not loaded after the migration")
	}
}

// another opens the services as a second process would.
func another(t *testing.T, database string) *caddycloud.Services {
	t.Helper()
	services, err := caddycloud.Open(caddycloud.Config{
		Database: database, Worker: filepath.Join(cloudtest.Binaries(t), "picloud-worker"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := services.Destruct(); err != nil {
			t.Error(err)
		}
	})
	return services
}

// eventually asks until the answer is as wanted.
func (s *server) eventually(path, want string) {
	s.t.Helper()
	var got string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if _, got = s.do(http.MethodGet, path, ""); got == want {
			return
		}
	}
	s.t.Fatalf("%s still answers %q, want %q", path, got, want)
}

func TestHosts(t *testing.T) {
	s := start(t)
	if status, answer := s.do(http.MethodPost, "/api/v1/apps", `{"slug":"shop"}`); status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	machine, _, _ = strings.Cut(machine, ".")
	for _, tt := range []struct {
		host, path string
		status     int
		code       string
	}{
		{machine, "/hello", http.StatusOK, ""},
		{machine + ".local:8080", "/api/v1/me", http.StatusOK, ""},
		{"localhost", "/healthz", http.StatusOK, ""},
		{"shop.localhost", "/healthz", http.StatusOK, ""},
		{"localhost", "/version", http.StatusOK, ""},
		{"shop.localhost", "/version", http.StatusNotFound, "route_unknown"},
		{"localhost", "/api/v1/me", http.StatusOK, ""},
		{"shop.localhost", "/api/v1/me", http.StatusNotFound, "route_unknown"},
		{"rebound.example.com", "/api/v1/me", http.StatusNotFound, "host_unknown"},
		{"rebound.example.com", "/hello", http.StatusNotFound, "host_unknown"},
		{"localhost", "/hello", http.StatusOK, ""},
		{"shop.localhost", "/hello", http.StatusNotFound, "route_unknown"},
		{"localhost", "/api/v1/execute/nothing", http.StatusNotFound, "not_found"},
		{"localhost", "/realtime/topics/x", http.StatusNotFound, "not_found"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		req.Header.Set("Authorization", "Bearer "+readFile(t, s.token))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != tt.status || tt.code != "" && !strings.Contains(string(body), `"`+tt.code+`"`) {
			t.Errorf("%s%s: %d %s, want %d %s", tt.host, tt.path, res.StatusCode, body, tt.status, tt.code)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
