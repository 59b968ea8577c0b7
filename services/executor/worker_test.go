package executor

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/services/cloud"
)

// pid asks the app's worker for its process id.
func (b *bench) pid(t *testing.T, app string) int {
	t.Helper()
	got := b.get(t, b.script(app, "pid"))
	pid, err := strconv.Atoi(got.body)
	if err != nil {
		t.Fatalf("the worker of %s answered %+v", app, got)
	}
	return pid
}

// ended waits until the process is gone.
func ended(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it is gone already
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Errorf("process %d lives on: %v", pid, err)
		}
		return
	}
}

func TestWorker_perApp(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	b := newBench(t, func(c *Config) { c.Services = kv.services() })
	pids := make([]int, 20)
	var all sync.WaitGroup
	for i := range pids {
		all.Go(func() { pids[i] = b.pid(t, "a") })
	}
	all.Wait()
	if slices.Min(pids) != slices.Max(pids) {
		t.Errorf("the app has the workers %v", pids)
	}
	if other := b.pid(t, "b"); other == pids[0] {
		t.Error("two apps share a worker")
	}
	if n := b.Stats().Workers; n != 2 {
		t.Errorf("%d workers", n)
	}

	t.Run("dies with what it runs, and nobody else", func(t *testing.T) {
		other := b.pid(t, "b")
		hanging := b.script("a", `call kv.get ["hold","key"]`)
		answers := make(chan answer)
		for range 2 {
			go func() { answers <- b.get(t, hanging) }()
		}
		<-kv.held
		<-kv.held
		if got := b.get(t, b.script("a", "exit")); got.status != 503 || !strings.Contains(got.body, `"code":"worker_died"`) || got.header.Get("Retry-After") != "1" {
			t.Errorf("got %+v", got)
		}
		for range 2 {
			if got := <-answers; got.status != 503 || !strings.Contains(got.body, `"code":"worker_died"`) {
				t.Errorf("in flight: got %+v", got)
			}
		}
		if fresh := b.pid(t, "a"); fresh == pids[0] {
			t.Error("the dead worker answered")
		}
		if b.pid(t, "b") != other {
			t.Error("the other app's worker is another")
		}
	})

	t.Run("says when memory was the reason", func(t *testing.T) {
		if got := b.get(t, b.script("a", "oom")); got.status != 507 || !strings.Contains(got.body, `"code":"memory_exceeded"`) {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("is killed when it runs past the deadline", func(t *testing.T) {
		before := b.pid(t, "a")
		plan := b.script("a", "hang")
		plan.Script.Limits.Wall = time.Millisecond
		if got := b.get(t, plan); got.status != 504 || !strings.Contains(got.body, `"code":"timeout"`) {
			t.Errorf("got %+v", got)
		}
		ended(t, before)
	})

	t.Run("is replaced when a script needs more memory", func(t *testing.T) {
		before := b.pid(t, "a")
		plan := b.script("a", "say large")
		plan.Script.Limits.Memory *= 2
		if got := b.get(t, plan); got.body != "large" {
			t.Errorf("got %+v", got)
		}
		ended(t, before)
		if fresh := b.pid(t, "a"); b.get(t, plan).body != "large" || b.pid(t, "a") != fresh {
			t.Error("it was replaced again")
		}
	})

	t.Run("ends when its app is gone", func(t *testing.T) {
		before := b.pid(t, "b")
		b.Forget("b")
		ended(t, before)
	})

	t.Run("drops a build that is retired, and takes it again", func(t *testing.T) {
		plan := b.script("a", "say again")
		if got := b.get(t, plan); got.body != "again" {
			t.Errorf("got %+v", got)
		}
		b.Retire(plan.Script.Build.Hash)
		if got := b.get(t, plan); got.body != "again" {
			t.Errorf("got %+v", got)
		}
		next := *plan
		next.Script.Build = &cloud.Build{Code: "say next", Hash: "next"}
		b.mu.Lock()
		b.plans[plan.Script.ID] = &next
		b.mu.Unlock()
		if got := b.get(t, &next); got.body != "next" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWorker_idle(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.IdleStop = time.Millisecond })
	first := b.pid(t, "a")
	ended(t, first)
	if second := b.pid(t, "a"); second == first {
		t.Error("a dead worker answered")
	}
}

// TestWorker_killed kills a worker over and over while requests come: those that
// it has not seen are none of its business.
func TestWorker_killed(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	plan := b.script("a", "say hello")
	for range 20 {
		_ = unix.Kill(b.pid(t, "a"), unix.SIGKILL)
		if got := b.get(t, plan); got.status != 200 && got.status != 503 {
			t.Errorf("got %+v", got)
		}
	}
}

func TestNew_worker(t *testing.T) {
	t.Parallel()
	plain := t.TempDir() + "/worker"
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/nowhere", t.TempDir(), plain} {
		if x, err := New(Config{Worker: path}); err == nil {
			x.Stop(t.Context())
			t.Errorf("%q was taken for a worker", path)
		}
	}

	t.Run("one that does not speak the protocol", func(t *testing.T) {
		for _, path := range []string{"/bin/true", "/bin/cat"} {
			b := newBench(t, func(c *Config) { c.Worker, c.StartWait = path, 10*time.Millisecond })
			if got := b.get(t, b.script("a", "say hello")); got.status != 503 || got.header.Get("Retry-After") != "1" {
				t.Errorf("%s: got %+v", path, got)
			}
		}
	})
}

func TestWorker_inheritsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	fd, err := unix.FcntlInt(0, unix.F_DUPFD, 700) // not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if got := b.get(t, b.script("a", "descriptor "+strconv.Itoa(fd))); got.body != unix.EBADF.Error() {
		t.Errorf("descriptor %d: %+v", fd, got)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = nobody, nobody
	}
	want := fmt.Sprint([]string{}, "/", []string{"--memory", "134217728"}, uid, gid)
	if got := b.get(t, b.script("a", "environment")); got.body != want {
		t.Errorf("got %q, want %q", got.body, want)
	}
}

// TestWorker_violations runs workers that break the protocol. Each is ended at
// once, its request answered, and another app notices nothing.
func TestWorker_violations(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	other := b.pid(t, "other")
	for _, code := range []string{
		"unknown-id", "worker-id", "server-frame", "unknown-type", "bad-response", "bad-call", "bad-log", "bad-end",
		"bad-credit", "much-credit", "two-heads", "headless", "endless-head", "big-chunk", "no-credit", "long-body",
		"short-body", "long-frame", "tiny-frame", "noise", "half", "stderr", "deaf",
	} {
		t.Run(code, func(t *testing.T) {
			before := b.pid(t, code)
			got := b.get(t, b.script(code, code))
			// An answer that had begun is broken off, any other is a 503.
			if got.err == nil && (got.status != 503 || !strings.Contains(got.body, `"code":"worker_died"`)) {
				t.Errorf("got %d %.300s", got.status, got.body)
			}
			ended(t, before)
			if got := b.get(t, b.script(code, "say fresh")); got.body != "fresh" {
				t.Errorf("afterwards: %+v", got)
			}
		})
	}
	t.Run("after-the-end", func(t *testing.T) {
		before := b.pid(t, "late")
		if got := b.get(t, b.script("late", "after-the-end")); got.status != 500 {
			t.Errorf("got %+v", got)
		}
		ended(t, before)
	})
	if b.pid(t, "other") != other {
		t.Error("the other app's worker died")
	}
}

// TestWorker_lies runs workers that try to reach another app's data.
func TestWorker_lies(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	b := newBench(t, func(c *Config) { c.Services = kv.services() })
	victim := b.script("victim", `call kv.set ["notes","secret","treasure",{}]`)
	if got := b.get(t, victim); got.body != `{"version":1}||` {
		t.Fatalf("got %+v", got)
	}
	for _, code := range []string{
		`call kv.get ["notes","secret"]`,
		`call kv.get ["victim/notes","secret"]`,
		`call kv.get ["victim\u0000notes","secret"]`,
		`call kv.get ["../victim/notes","secret"]`,
		`call kv.get ["notes","secret","victim"]`,
		`call kv.get [{"app_id":"victim","collection":"notes"},"secret"]`,
		`call kv.get {"app_id":"victim","collection":"notes","key":"secret"}`,
		`call kv.list ["notes",{"app_id":"victim","values":true}]`,
		`call kv.list ["notes",{"values":true}]`,
		`call kv.set ["notes","secret","x",{"app_id":"victim"}]`,
		`call kv.getMany ["notes",["secret"]]`,
		`call victim.kv.get ["notes","secret"]`,
	} {
		if got := b.get(t, b.script("thief", code)); got.status != 200 || strings.Contains(got.body, "treasure") {
			t.Errorf("%s: got %+v", code, got)
		}
	}
	for _, call := range kv.calls {
		if call.AppID != "thief" || !call.ByScript || call.Principal != nil || !cloud.IsID(call.ExecutionID) {
			t.Errorf("a call was made as %+v", call)
		}
	}
	if got := b.get(t, b.script("victim", `call kv.get ["notes","secret"]`)); got.body != `"treasure"||` {
		t.Errorf("the victim got %+v", got)
	}
}

// TestWorker_server kills a server with -9: its workers must not outlive it.
func TestWorker_server(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(self)
	server.Args = []string{"server"}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 20)
	n, err := out.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Process.Kill()
	_ = server.Wait()
	ended(t, pid)
}

// lonelyServer is the server of TestWorker_server: it has one worker, which
// ignores that its socket ends, tells its process id and waits for its own end.
func lonelyServer() {
	self, _ := os.Executable()
	x, err := New(Config{Worker: self, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	w, err := x.pool.worker(context.Background(), "app", 1<<20)
	if err != nil {
		panic(err)
	}
	plan := &cloud.Plan{App: cloud.App{ID: "app"}, Script: cloud.Runnable{
		AppID: "app", Limits: cloud.DefaultLimits, Build: &cloud.Build{Code: "ignore", Hash: "h"},
	}}
	go func() {
		r, _ := http.NewRequestWithContext(cloud.WithPlan(context.Background(), plan), "GET", "/", nil)
		x.ServeHTTP(nil, r)
	}()
	for x.Stats().Running == 0 {
		runtime.Gosched()
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(w.proc.cmd.Process.Pid) + "\n")
	select {}
}

// brokenConn fails every write.
type brokenConn struct{}

func (brokenConn) Write([]byte) (int, error) { return 0, unix.EPIPE }

// TestExecution_died: an execution whose start never reached its worker may run
// on another one; any other has failed.
func TestExecution_died(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		conn           io.Writer
		once, detached bool
		repeat         bool
	}{
		{"unseen", brokenConn{}, true, false, true},
		{"unseen, the second time", brokenConn{}, false, false, false},
		{"unseen, and nobody waits", brokenConn{}, true, true, false},
		{"seen", io.Discard, true, false, false},
	} {
		x := &Executor{cfg: Config{Now: time.Now, NewID: cloud.NewID}, gate: newGate(1, 1, 1), tally: &tally{empty: make(chan struct{})}}
		x.tally.add()
		mustEnter(t, x.gate, "app")
		plan := &cloud.Plan{App: cloud.App{ID: "app"}}
		e := newExecution(x, plan)
		e.once, e.detached = c.once, c.detached
		e.worker = &worker{out: newOutput(c.conn)}
		e.timer = time.NewTimer(time.Hour)
		e.batch = e.worker.out.commit(append(e.worker.out.begin(), "start"...))
		e.worker.out.flush(nil)
		e.died(false)
		if e.repeat != c.repeat || e.ended == c.repeat {
			t.Errorf("%s: repeated %v, ended %v", c.name, e.repeat, e.ended)
		}
	}
}
