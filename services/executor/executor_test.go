package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

func scriptError(name, code string) *cloud.ScriptError {
	return &cloud.ScriptError{Name: name, Message: "broken", Stack: "at fetch (<build>:1:2)", Code: code}
}

// bench is an executor on a fake worker, behind a real HTTP server.
type bench struct {
	*Executor
	URL   string
	store *memoryLog
	log   *Recorder

	mu    sync.Mutex
	plans map[string]*cloud.Plan
}

// newBench starts one; change may adapt the configuration.
func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{store: &memoryLog{}, plans: map[string]*cloud.Plan{}}
	var err error
	b.log, err = NewRecorder(RecorderConfig{Store: b.store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Worker: self, Log: b.log, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&cfg)
	}
	b.Executor, err = New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		plan := b.plans[r.Header.Get("Plan")]
		b.mu.Unlock()
		r.Header.Del("Plan")
		b.ServeHTTP(w, r.WithContext(cloud.WithPlan(r.Context(), plan)))
	}))
	b.URL = server.URL
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.Executor.Stop(ctx)
		b.log.Stop(context.WithoutCancel(ctx))
	})
	return b
}

// script makes code a script of the app and returns its plan, for changes.
func (b *bench) script(app, code string) *cloud.Plan {
	sum := sha256.Sum256([]byte(code))
	hash := hex.EncodeToString(sum[:])
	plan := &cloud.Plan{
		App: cloud.App{ID: app, Slug: app},
		Script: cloud.Runnable{
			ID: app + "/" + hash, AppID: app, Name: "script", Version: 1, Limits: cloud.DefaultLimits,
			Build: &cloud.Build{Code: code, Hash: hash},
		},
	}
	b.mu.Lock()
	b.plans[plan.Script.ID] = plan
	b.mu.Unlock()
	return plan
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// do sends a request to the plan.
func (b *bench) do(t *testing.T, plan *cloud.Plan, method, path string, body io.Reader, change ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Plan", plan.Script.ID)
	for _, c := range change {
		c(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text), err}
}

func (b *bench) get(t *testing.T, plan *cloud.Plan) answer {
	t.Helper()
	return b.do(t, plan, "GET", "/", nil)
}

// records stops the executor and returns what was recorded.
func (b *bench) records(t *testing.T) []cloud.Execution {
	t.Helper()
	b.Executor.Stop(t.Context())
	b.log.Stop(t.Context())
	return b.store.all()
}

// memoryLog is a LogStore that keeps what it gets.
type memoryLog struct {
	mu      sync.Mutex
	records []cloud.Execution
}

func (m *memoryLog) AppendExecutions(_ context.Context, records []cloud.Execution) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = append(m.records, records...)
	return nil
}

func (m *memoryLog) SweepExecutions(context.Context, time.Time, int) error { return nil }

func (m *memoryLog) all() []cloud.Execution {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records
}

func TestExecutor_ServeHTTP(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	got := b.get(t, b.script("app", "say hello"))
	if got.status != 200 || got.body != "hello" || got.header.Get("Content-Type") != "text/plain" {
		t.Errorf("got %+v", got)
	}
	got = b.do(t, b.script("app", "echo"), "POST", "/", strings.NewReader("ping"))
	if got.status != 200 || got.body != "ping" {
		t.Errorf("small body: got %+v", got)
	}
	large := strings.Repeat("0123456789abcdef", 1<<17)
	got = b.do(t, b.script("app", "echo"), "POST", "/", strings.NewReader(large))
	if got.status != 200 || got.body != large {
		t.Errorf("large body: got status %d, %d bytes, %v", got.status, len(got.body), got.err)
	}
}
