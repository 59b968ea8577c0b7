package executor

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
	"github.com/picloud/picloud/services/kv"
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

// wrapped is a ResponseWriter as a middleware hands it on.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

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
		b.ServeHTTP(wrapped{w}, r.WithContext(cloud.WithPlan(r.Context(), plan)))
	}))
	b.URL = server.URL
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.Stop(ctx)
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
	b.Stop(t.Context())
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

// watchedKV is the kv service on a store in memory, which notes who calls. Get
// from the collection "hold" waits until released.
type watchedKV struct {
	cloud.KV
	held, release chan struct{}

	mu    sync.Mutex
	calls []cloud.Call
}

func newWatchedKV() *watchedKV {
	return &watchedKV{
		KV:   kv.New(kv.Config{Store: kv.NewMemory(), Authorizer: authz.Policy{}}),
		held: make(chan struct{}, 16), release: make(chan struct{}),
	}
}

func (k *watchedKV) note(call cloud.Call) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, call)
}

func (k *watchedKV) Get(ctx context.Context, call cloud.Call, collection, key string) (cloud.KVEntry, bool, error) {
	k.note(call)
	if collection == "hold" {
		k.held <- struct{}{}
		select {
		case <-k.release:
		case <-ctx.Done():
			return cloud.KVEntry{}, false, ctx.Err()
		}
	}
	return k.KV.Get(ctx, call, collection, key)
}

func (k *watchedKV) Delete(ctx context.Context, call cloud.Call, collection, key string) (bool, error) {
	k.note(call)
	k.held <- struct{}{}
	return k.KV.Delete(ctx, call, collection, key)
}

func (k *watchedKV) services() cloud.Services { return cloud.Services{}.WithKV(k) }

func TestExecutor_ServeHTTP(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)

	t.Run("answers with what the script says", func(t *testing.T) {
		got := b.get(t, b.script("app", "say hello"))
		if got.status != 200 || got.body != "hello" || got.header.Get("Content-Type") != "text/plain" || got.header.Get("Content-Length") != "5" {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("carries bodies both ways, of any size", func(t *testing.T) {
		large := strings.Repeat("0123456789abcdef", 1<<17)
		for _, text := range []string{"", "ping", large[:maxSmallBody], large[:maxSmallBody+1], large} {
			got := b.do(t, b.script("app", "echo"), "POST", "/", strings.NewReader(text))
			if got.status != 200 || got.body != text || got.err != nil {
				t.Errorf("%d bytes: got %d with %d bytes, %v", len(text), got.status, len(got.body), got.err)
			}
		}
		unsized := struct{ io.Reader }{strings.NewReader(large)}
		if got := b.do(t, b.script("app", "echo"), "POST", "/", unsized); got.body != large {
			t.Errorf("of unknown size: got %d with %d bytes, %v", got.status, len(got.body), got.err)
		}
	})

	t.Run("streams while the request goes on", func(t *testing.T) {
		in, out := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL, in)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Plan", b.script("app", "echo").Script.ID)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		for _, word := range []string{"one", "two"} {
			if _, err := io.WriteString(out, word); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 3)
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != word {
				t.Errorf("got %q, %v", got, err)
			}
		}
		out.Close()
		if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
			t.Errorf("got %q, %v", rest, err)
		}
	})

	t.Run("tells the script that a body broke off", func(t *testing.T) {
		in, out := io.Pipe()
		broken := errors.New("broken")
		go func() {
			_, _ = out.Write(make([]byte, maxSmallBody))
			out.CloseWithError(broken)
		}()
		if got := b.do(t, b.script("app", "count"), "POST", "/", in); !errors.Is(got.err, broken) {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("gives the script the request", func(t *testing.T) {
		plan := b.script("app", "start")
		plan.Params = map[string]string{"id": "7", "a": "b"}
		got := b.do(t, plan, "PUT", "/x%20y/z?q=1&q=2", strings.NewReader("four"), func(r *http.Request) {
			r.Host = "shop.example"
			r.Header = http.Header{
				"Plan": r.Header["Plan"], "User-Agent": {"t"}, "Accept-Encoding": {"x"}, "X-Many": {"1", "2"},
				"Connection": {"x-private, keep-alive"}, "X-Private": {"1"}, "Keep-Alive": {"9"}, "Te": {"trailers"},
				"X-Picloud-App": {"other"}, "X-Request-Id": {"r-1"}, "Authorization": {"Bearer theirs"},
			}
		})
		want := "PUT http://shop.example/x%20y/z?q=1&q=2 4 " +
			"[{accept-encoding x} {authorization Bearer theirs} {content-length 4} {host shop.example} {user-agent t} {x-many 1} {x-many 2} {x-request-id r-1}] " +
			"[{a b} {id 7}] r-1"
		if got.body != want {
			t.Errorf("got  %s\nwant %s", got.body, want)
		}
	})

	t.Run("keeps the caller's credentials and odd request ids from the script", func(t *testing.T) {
		plan := b.script("app2", "start")
		plan.Principal = &cloud.Principal{UserID: "u"}
		plan.URL = "https://given.example/"
		got := b.do(t, plan, "GET", "/", nil, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer pic_secret")
			r.Header.Set("X-Request-Id", "a b")
		})
		if !strings.HasPrefix(got.body, "GET https://given.example/ 0 ") || strings.Contains(got.body, "pic_secret") || strings.HasSuffix(got.body, "a b") {
			t.Errorf("got %s", got.body)
		}
	})

	t.Run("sends no body where there is none", func(t *testing.T) {
		for _, status := range []int{204, 304} {
			if got := b.get(t, b.script("app", "status "+strconv.Itoa(status))); got.status != status || got.body != "" || got.err != nil {
				t.Errorf("got %+v", got)
			}
		}
		got := b.do(t, b.script("app", "say hello"), "HEAD", "/", nil)
		if got.status != 200 || got.body != "" || got.header.Get("Content-Length") != "5" || got.err != nil {
			t.Errorf("HEAD: got %+v", got)
		}
	})

	t.Run("refuses what is no response", func(t *testing.T) {
		for _, code := range []string{"status 199", "status 600", "header bad name=x", "header x=a\nb", "end", "end invalid_response"} {
			if got := b.get(t, b.script("app", code)); got.status != 502 || !strings.Contains(got.body, `"code":"invalid_response"`) {
				t.Errorf("%q: got %+v", code, got)
			}
		}
	})

	t.Run("drops the fields of a connection", func(t *testing.T) {
		for _, code := range []string{"header transfer-encoding=x", "header Connection=upgrade", "header Content-Length=7"} {
			got := b.get(t, b.script("app", code))
			if got.status != 200 || got.header.Get("Connection") != "" || got.header.Get("Content-Length") != "0" || got.err != nil {
				t.Errorf("%q: got %+v", code, got)
			}
		}
	})

	t.Run("sandboxes what comes from the dashboard's origin", func(t *testing.T) {
		for _, code := range []string{"header content-security-policy=default-src *", "end script_threw"} {
			plan := b.script("app3", code)
			plan.Sandboxed = true
			got := b.get(t, plan)
			if values := got.header.Values("Content-Security-Policy"); len(values) == 0 || values[len(values)-1] != "sandbox" {
				t.Errorf("%q: got %v", code, got.header)
			}
		}
	})

	t.Run("answers failures with their status", func(t *testing.T) {
		for code, status := range map[string]int{
			"script_threw": 500, "timeout": 504, "cpu_exceeded": 507, "memory_exceeded": 507,
			"body_too_large": 413, "limit": 507, "unauthorized": 500, "nonsense": 500,
		} {
			got := b.get(t, b.script("app", "end "+code))
			var p cloud.Problem
			if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.status != status || p.Status != status || !cloud.IsID(p.ExecutionID) ||
				p.Detail == "" || got.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: got %+v, %v", code, got, err)
			}
		}
		got := b.get(t, b.script("app", "throw Error unavailable"))
		if got.status != 503 || got.header.Get("Retry-After") != "1" {
			t.Errorf("unavailable: got %+v", got)
		}
	})

	t.Run("without a plan it says so", func(t *testing.T) {
		w := httptest.NewRecorder()
		b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != 500 || !strings.Contains(w.Body.String(), `"code":"internal"`) {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}

// TestExecutor_ServeHTTP_bodyUnread answers while the request body is still on
// its way: what comes of it later is no request.
func TestExecutor_ServeHTTP_bodyUnread(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	plan := b.script("app", "glance")
	const rest = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	begun := strings.Repeat("x", 2*maxSmallBody)
	head := func(framing string) string {
		return "POST / HTTP/1.1\r\nHost: x\r\nPlan: " + plan.Script.ID + "\r\n" + framing + "\r\n\r\n"
	}
	for name, request := range map[string]string{
		"of known size": head("Content-Length: "+strconv.Itoa(len(begun)+len(rest))) + begun,
		"in chunks":     head("Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n%x\r\n", len(begun), begun, len(rest)),
		"malformed":     head("Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n?\r\n", len(begun), begun),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(b.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != 200 || string(body) != "seen" || err != nil || !res.Close {
				t.Errorf("got %d %q, closed: %v, %v", res.StatusCode, body, res.Close, err)
			}
			_, _ = io.WriteString(conn, rest)
			_ = conn.(*net.TCPConn).CloseWrite()
			if more, _ := io.ReadAll(in); len(more) > 0 {
				t.Errorf("the body was taken for a request: %q", more)
			}
		})
	}
}

// deadlines is a ResponseWriter that notes that its read deadline was set.
type deadlines struct {
	http.ResponseWriter
	set atomic.Bool
}

func (d *deadlines) SetReadDeadline(time.Time) error {
	d.set.Store(true)
	return nil
}

// TestExecution_pumped stops a pump that has read the whole body and has yet to
// send it. The connection is in its next request's hands by then: a deadline
// would cancel that.
func TestExecution_pumped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		e := &execution{bodyRoom: wire.InitialCredit, worker: &worker{out: newOutput(ours)}}
		e.room.L = &e.mu
		w := &deadlines{ResponseWriter: httptest.NewRecorder()}
		stop := e.pumped(w, httptest.NewRequest(http.MethodPost, "/", iotest.DataErrReader(strings.NewReader("body"))))
		synctest.Wait()
		go stop()
		synctest.Wait()
		if w.set.Load() {
			t.Error("the reading was interrupted after its end")
		}
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		synctest.Wait()
		ours.Close()
		theirs.Close()
	})
}

func TestExecutor_ServeHTTP_whatTheScriptThrew(t *testing.T) {
	t.Parallel()
	reader := &cloud.Principal{UserID: "reader"}
	b := newBench(t, func(c *Config) {
		c.CanReadLogs = func(p *cloud.Principal, appID string) bool { return p == reader && appID == "app" }
		c.MapStack = func(b *cloud.Build, stack string) string { return strings.ReplaceAll(stack, "<build>", "guestbook.ts") }
	})
	plan := b.script("app", "throw RangeError")
	if got := b.get(t, plan); got.status != 500 || strings.Contains(got.body, "broken") || strings.Contains(got.body, "guestbook") {
		t.Errorf("a stranger got %+v", got)
	}
	plan.Principal = reader
	got := b.get(t, plan)
	var p cloud.Problem
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatal(err)
	}
	want := cloud.ScriptError{Name: "RangeError", Message: "broken", Stack: "at fetch (guestbook.ts:1:2)"}
	if p.Error == nil || *p.Error != want || p.Detail != "RangeError: broken" {
		t.Errorf("who may read logs got %s", got.body)
	}
	for _, record := range b.records(t) {
		if record.Error == nil || *record.Error != want {
			t.Errorf("recorded was %+v", record.Error)
		}
	}
}

func TestExecutor_records(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	plan := b.script("app", "throw TypeError")
	b.do(t, plan, "POST", "/path?secret=1", strings.NewReader("x"), func(r *http.Request) { r.Header.Set("X-Request-Id", "r-1") })
	b.get(t, b.script("app", "log 200"))
	records := b.records(t)
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	got := records[0]
	if !cloud.IsID(got.ID) || got.StartedAt.IsZero() || got.Duration <= 0 || len(got.Lines) != 1 || got.Lines[0].At.IsZero() {
		t.Errorf("got %+v", got)
	}
	got.ID, got.StartedAt, got.Duration, got.Lines[0].At = "", time.Time{}, 0, time.Time{}
	want := cloud.Execution{
		AppID: "app", ScriptID: plan.Script.ID, ScriptName: "script", Version: 1, Trigger: "http",
		RequestID: "r-1", Method: "POST", Path: "/path", Status: 500, Code: cloud.CodeScriptThrew, CPU: time.Millisecond,
		Lines: []cloud.LogLine{{Level: "warn", Text: "about to\uFFFD throw"}},
		Error: scriptError("TypeError", ""),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	logged := 0
	for _, l := range records[1].Lines {
		logged += len(l.Text)
		if l.Level != "info" {
			t.Errorf("level %s", l.Level)
		}
	}
	if !records[1].Truncated || logged > cloud.DefaultLimits.Log+logMark || logged < cloud.DefaultLimits.Log {
		t.Errorf("%d bytes were kept, truncated: %v", logged, records[1].Truncated)
	}
}

func TestExecutor_afterTheAnswer(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	b := newBench(t, func(c *Config) { c.Services = kv.services() })
	if got := b.get(t, b.script("app", "later")); got.status != 200 || got.body != "ok" {
		t.Fatalf("got %+v", got)
	}
	<-kv.held
	if b.Stats().Running != 1 || b.Idle() {
		t.Errorf("what goes on holds no place: %+v", b.Stats())
	}
	close(kv.release)
	records := b.records(t)
	if len(records) != 1 || records[0].Status != 200 || records[0].Code != cloud.CodeScriptThrew ||
		len(records[0].Lines) != 1 || records[0].Error == nil || records[0].Error.Name != "LateError" {
		t.Errorf("recorded was %+v", records)
	}
}

func TestExecutor_breaksOffTheAnswer(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	close(kv.release)
	b := newBench(t, func(c *Config) { c.Services = kv.services() })
	got := b.get(t, b.script("app", "stall"))
	if got.status != 200 && got.status != 504 || got.status == 200 && got.err == nil {
		t.Errorf("the client took it for whole: %+v", got)
	}
	if records := b.records(t); len(records) != 1 || records[0].Code != cloud.CodeTimeout {
		t.Errorf("recorded was %+v", records)
	}
}

func TestExecutor_clientGone(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	b := newBench(t, func(c *Config) { c.Services = kv.services() })
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Plan", b.script("app", "deserted").Script.ID)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	res.Body.Close()
	<-kv.held // the worker has heard of it
	if records := b.records(t); len(records) != 1 || records[0].Status != 200 || records[0].Code != "" {
		t.Errorf("recorded was %+v", records)
	}
}

func TestExecutor_ServeHTTP_contextOver(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	close(kv.release)
	b := newBench(t, func(c *Config) { c.Services = kv.services() })
	ctx, cancel := context.WithCancel(cloud.WithPlan(t.Context(), b.script("app", "deserted")))
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.ServeHTTP(w, r.WithContext(ctx)) }))
	defer server.Close()
	for _, when := range []string{"amid the answer", "before it"} {
		res, err := http.Get(server.URL)
		cancel()
		if err != nil {
			continue
		}
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%s: the client took it for whole: %d %q", when, res.StatusCode, body)
		}
		res.Body.Close()
	}
}

func TestExecutor_gate(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	b := newBench(t, func(c *Config) {
		c.Services, c.Capacity, c.AppShare, c.QueueWait = kv.services(), 2, 1, time.Millisecond
	})
	b.get(t, b.script("app", "later"))
	<-kv.held
	got := b.get(t, b.script("app", "say hello"))
	if got.status != 503 || got.header.Get("Retry-After") != "1" || !strings.Contains(got.body, `"code":"busy"`) {
		t.Errorf("beyond the share: got %+v", got)
	}
	if got := b.get(t, b.script("other", "say hello")); got.status != 200 {
		t.Errorf("another app: got %+v", got)
	}
	close(kv.release)
	b.Stop(t.Context())
	if got := b.get(t, b.script("app", "say hello")); got.status != 503 || !strings.Contains(got.body, `"code":"unavailable"`) {
		t.Errorf("after the stop: got %+v", got)
	}
}

func TestExecutor_Stop(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	answered := make(chan answer)
	plan := b.script("app", "hang")
	go func() { answered <- b.get(t, plan) }()
	for b.Stats().Running == 0 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Stop(ctx)
	if got := <-answered; got.status != 503 {
		t.Errorf("got %+v", got)
	}
	b.Stop(ctx)
	if s := b.Stats(); s.Running != 0 || s.Workers != 0 {
		t.Errorf("left are %+v", s)
	}
}
