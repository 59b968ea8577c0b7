package manager_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/kv"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/orchestrator"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/secrets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, cloudtest.LeakOptions()...) }

// now is the data services' time.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// masterKey seals the secrets of tests.
const masterKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// server is the API over real parts: a database of its own, the real builder
// and the tables of the hot path.
type server struct {
	t       *testing.T
	http    *httptest.Server
	manager *manager.Manager
	catalog *orchestrator.Catalog
	source  *postgres.Source
	records *postgres.Executions
	outbox  *postgres.Events
	pool    *pgxpool.Pool
	log     *bytes.Buffer // what was logged; read it when no request runs

	accounts *standIns
	session  string       // the owner's
	clock    atomic.Int64 // seconds that the accounts' time is ahead of now

	mu        sync.Mutex
	reloads   []string // ids of apps, in order
	reloadErr error
	events    chan cloud.Execution // what Tail yields
	tailed    chan [2]string       // app and script of each Tail
}

// Of the owner that start makes.
const (
	ownerName     = "olga"
	ownerPassword = "a horse of mine"
)

// start serves the API of an instance that ownerName has claimed; the token
// "owner" is good for her session too. mend, if not nil, changes the
// configuration before.
func start(t *testing.T, mend func(*server, *manager.Config)) *server {
	t.Helper()
	s := serve(t, mend)
	in, err := s.accounts.Claim(t.Context(), ownerName, ownerPassword, cloud.Client{})
	if err != nil {
		t.Fatal(err)
	}
	s.session = in.Token
	p, err := s.accounts.Authenticate(t.Context(), in.Token)
	if err != nil {
		t.Fatal(err)
	}
	s.let("owner", *p)
	return s
}

// serve is start without the owner.
func serve(t *testing.T, mend func(*server, *manager.Config)) *server {
	t.Helper()
	pool := cloudtest.Database(t)
	s := &server{
		t:        t,
		pool:     pool,
		log:      &bytes.Buffer{},
		accounts: &standIns{principals: map[string]*cloud.Principal{}},
		events:   make(chan cloud.Execution),
		tailed:   make(chan [2]string, 1),
	}
	hosts := orchestrator.Hosts{Names: []string{"picloud.local"}}
	logger := slog.New(slog.NewTextHandler(s.log, nil))
	keyring, err := secrets.ParseKeyring(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	s.records = postgres.NewExecutions(pool)
	s.outbox = postgres.NewEvents(pool, nil)
	s.source = postgres.NewSource(pool, cloud.DefaultLimits, nil)
	s.catalog = orchestrator.NewCatalog(orchestrator.CatalogConfig{
		Source: s.source, Hosts: hosts, Sealer: keyring, Logger: logger,
	})
	clock := func() time.Time { return now.Add(time.Duration(s.clock.Load()) * time.Second) }
	s.accounts.Accounts, err = accounts.New(accounts.Config{
		Store: postgres.NewAccounts(pool, clock), Sealer: keyring, Logger: logger, Now: clock,
		Hashing: accounts.Hashing{Memory: 64, Passes: 1}, // for tests, not for passwords
	})
	if err != nil {
		t.Fatal(err)
	}
	env := secrets.New(secrets.Config{Store: postgres.NewEnv(pool, clock), Sealer: keyring, Authorizer: authz.Policy{}, Reload: s.reload, Logger: logger})
	config := manager.Config{
		Store:         postgres.NewApps(pool, nil),
		Builder:       build.New(build.Config{}),
		Authorizer:    authz.Policy{},
		Accounts:      s.accounts,
		Router:        s.catalog,
		Reload:        s.reload,
		InstanceHosts: hosts.IsInstance,
		KV:            kv.New(kv.Config{Store: postgres.NewKV(pool, nil), Authorizer: authz.Policy{}, Now: func() time.Time { return now }}),
		Secrets:       env,
		Variables:     env,
		CheckTrigger:  events.Check,
		Events:        events.NewService(events.ServiceConfig{Store: s.outbox, Authorizer: authz.Policy{}, Now: func() time.Time { return now }}),
		Tail: func(_ context.Context, appID, scriptID string) <-chan cloud.Execution {
			s.tailed <- [2]string{appID, scriptID}
			return s.events
		},
		Version: manager.Version{Version: "0.1.0", Commit: "abc", Go: "go1"},
		Logger:  logger,
	}
	if mend != nil {
		mend(s, &config)
	}
	m, err := manager.New(config)
	if err != nil {
		t.Fatal(err)
	}
	s.manager = m
	if _, err := m.CreateApp(t.Context(), cloud.DefaultApp, "", nil); err != nil {
		t.Fatal(err)
	}
	s.catalog.Start()
	<-s.catalog.Loaded()
	s.catalog.Stop()
	s.reloads = nil
	s.http = httptest.NewServer(m)
	t.Cleanup(func() {
		m.Stop()
		s.http.Close()
		s.http.Client().CloseIdleConnections()
	})
	return s
}

// let makes token the credential of p.
func (s *server) let(token string, p cloud.Principal) { s.accounts.let(token, p) }

func (s *server) reload(ctx context.Context, appID string) error {
	s.mu.Lock()
	s.reloads = append(s.reloads, appID)
	err := s.reloadErr
	s.mu.Unlock()
	return errors.Join(err, s.catalog.Reload(ctx, appID))
}

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// as asks with a token; body is sent as it is when a string, else as JSON.
func (s *server) as(token, method, path string, body any) answer {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = "localhost:8080"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return s.do(r)
}

func (s *server) do(r *http.Request) answer {
	s.t.Helper()
	res, err := s.http.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{s.t, r.Method + " " + r.URL.RequestURI(), res.StatusCode, res.Header, text}
}

// cookie asks the API, below /api/v1, as a browser does, with a session's token
// in the cookie and the headers given by name and value.
func (s *server) cookie(token, method, path string, body string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = "localhost:8080"
	r.Header.Set("Content-Type", "application/json")
	r.AddCookie(&http.Cookie{Name: cloud.SessionCookie, Value: token})
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.do(r)
}

// decode is the body of an answer with that status.
func (a answer) decode(status int) map[string]any {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: %d %s, want %d", a.what, a.status, a.body, status)
	}
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%s: %v: %s", a.what, err, a.body)
	}
	return v
}

// owner asks the API, below /api/v1, as the owner.
func (s *server) owner(method, path string, body any) answer {
	s.t.Helper()
	return s.as("owner", method, "/api/v1"+path, body)
}

// must is owner for what has to succeed; it returns the decoded body.
func (s *server) must(method, path string, body any) map[string]any {
	s.t.Helper()
	a := s.owner(method, path, body)
	if a.status >= 300 {
		s.t.Fatalf("%s: %d %s", a.what, a.status, a.body)
	}
	if a.status == http.StatusNoContent {
		return nil
	}
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		s.t.Fatalf("%s: %v: %s", a.what, err, a.body)
	}
	return v
}

// changing are fields whose values are new in each run; texts show them as "*"
// where they are not empty.
var changing = map[string]bool{
	"id": true, "user_id": true, "session_id": true, "app_id": true, "execution_id": true, "event_id": true, "trigger_id": true,
	"created_at": true, "updated_at": true, "expires_at": true, "seen_at": true, "last_used_at": true, "last_login_at": true, "at": true,
	"token": true, "password": true, "secret": true, "user_agent": true,
}

func scrub(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for k := range out {
			if text, isText := out[k].(string); changing[k] && isText && text != "" {
				out[k] = "*"
			} else {
				out[k] = scrub(out[k])
			}
		}
		return out
	case []any:
		for i := range v {
			v[i] = scrub(v[i])
		}
	}
	return v
}

func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	out, err := json.Marshal(scrub(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// is compares status and body; in want, ids, times and tokens are "*".
func (a answer) is(status int, want string) {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("%s: status %d, want %d: %s", a.what, a.status, status, a.body)
		return
	}
	if got, want := canonical(a.t, string(a.body)), canonical(a.t, want); got != want {
		a.t.Errorf("%s:\n got %s\nwant %s", a.what, got, want)
	}
}

// empty wants 204 without a body.
func (a answer) empty() {
	a.t.Helper()
	if a.status != http.StatusNoContent || len(a.body) != 0 {
		a.t.Errorf("%s: %d %s, want 204", a.what, a.status, a.body)
	}
}

// fails wants a problem with this code, field and detail. A detail that ends in
// … is the beginning of the one wanted.
func (a answer) fails(status int, code cloud.Code, field, detail string) cloud.Problem {
	a.t.Helper()
	var p cloud.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.t.Fatalf("%s: %d %v: %s", a.what, a.status, err, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("%s: Content-Type %q", a.what, got)
	}
	got := cloud.Problem{Type: p.Type, Title: p.Title, Status: a.status, Detail: p.Detail, Code: p.Code, Field: p.Field}
	if begin, ok := strings.CutSuffix(detail, "…"); ok && strings.HasPrefix(p.Detail, begin) {
		got.Detail = detail
	}
	want := cloud.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code, Field: field}
	if got != want || p.Status != a.status {
		a.t.Errorf("%s:\n got %+v\nwant %+v", a.what, got, want)
	}
	return p
}

// endpoint is a source that builds.
func endpoint(text string) string {
	return "export default () => " + cmp.Or(text, `"hello"`) + "\n"
}
