package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloudtest"
)

// TestFaults kills the server, its database and its worker in turn while clients
// sign the guestbook, and then holds what was acknowledged against what is there.
func TestFaults(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	deployGuestbook(t, d)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	signers := newSigners(ctx, 4, func(client *http.Client, text string) (*http.Response, error) {
		return client.Post(d.URL+"/guestbook", "application/json", strings.NewReader(`{"name":"signer","text":"`+text+`"}`))
	})
	for round := range 3 {
		for _, fault := range []struct {
			name   string
			strike func()
		}{
			{"the worker", func() { kill(t, worker(t, d)) }},
			{"the database", func() { kill(t, postmaster(t, d)) }},
			{"the server", func() { d.Kill(); d.Start() }},
		} {
			signers.more(t, 25)
			fault.strike()
			t.Logf("round %d: killed %s after %d acknowledged entries", round, fault.name, signers.count())
		}
	}
	signers.more(t, 25) // it recovers from the last one, too
	cancel()
	acknowledged := signers.stop()

	present := entries(t, d)
	for _, text := range acknowledged {
		if !present[text] {
			t.Errorf("the acknowledged entry %s is lost", text)
		}
	}
	t.Logf("%d entries acknowledged, %d stored", len(acknowledged), len(present))
}

// signers send requests, each with a text of its own, until stopped, and keep
// those that were acknowledged.
type signers struct {
	mu    sync.Mutex
	acked []string
	grown *sync.Cond
	all   sync.WaitGroup
	ctx   context.Context
}

func newSigners(ctx context.Context, n int, send func(client *http.Client, text string) (*http.Response, error)) *signers {
	s := &signers{ctx: ctx}
	s.grown = sync.NewCond(&s.mu)
	context.AfterFunc(ctx, s.grown.Broadcast)
	for i := range n {
		s.all.Go(func() {
			client := &http.Client{Timeout: 15 * time.Second}
			for j := 0; ctx.Err() == nil; j++ {
				text := fmt.Sprintf("entry-%d-%d", i, j)
				res, err := send(client, text)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode < 300 {
					s.mu.Lock()
					s.acked = append(s.acked, text)
					s.mu.Unlock()
					s.grown.Broadcast()
				}
			}
		})
	}
	return s
}

// more waits until n further entries are acknowledged.
func (s *signers) more(t *testing.T, n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for goal := len(s.acked) + n; len(s.acked) < goal; s.grown.Wait() {
		if s.ctx.Err() != nil {
			t.Fatalf("only %d entries were acknowledged in time, want %d", len(s.acked), goal)
		}
	}
}

func (s *signers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked)
}

func (s *signers) stop() []string {
	s.all.Wait()
	return s.acked
}

func deployGuestbook(t *testing.T, d *cloudtest.Dev) {
	t.Helper()
	source, err := os.ReadFile("../../examples/guestbook.ts")
	if err != nil {
		t.Fatal(err)
	}
	deploy(t, d, "guestbook", string(source))
}

func deploy(t *testing.T, d *cloudtest.Dev, name, source string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"scripts": []any{map[string]any{"name": name, "language": "ts", "source": source}}})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := d.Do(http.MethodPost, "/api/v1/apps/default/deploy", string(body)); status >= 300 {
		t.Fatalf("deploying %s: %d %s", name, status, answer)
	}
}

// entries reads the texts of all entries through the API.
func entries(t *testing.T, d *cloudtest.Dev) map[string]bool {
	t.Helper()
	var collections struct{ Collections []string }
	decode(t, d, "/api/v1/apps/default/kv", &collections)
	texts := map[string]bool{}
	for _, c := range collections.Collections {
		for cursor := ""; ; {
			var page struct {
				Entries []struct{ Value struct{ Text string } }
				Cursor  string
			}
			decode(t, d, "/api/v1/apps/default/kv/"+c+"?values=true&limit=1000&cursor="+cursor, &page)
			for _, e := range page.Entries {
				texts[e.Value.Text] = true
			}
			if cursor = page.Cursor; cursor == "" {
				break
			}
		}
	}
	return texts
}

func decode(t *testing.T, d *cloudtest.Dev, path string, into any) {
	t.Helper()
	status, body := d.Do(http.MethodGet, path, "")
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatal(err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		t.Fatal(err)
	}
}

// worker is the process id of one of the server's workers.
func worker(t *testing.T, d *cloudtest.Dev) int {
	t.Helper()
	for _, pid := range children(t, d.PID()) {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && !strings.HasPrefix(string(name), "postgres") {
			return pid
		}
	}
	t.Fatal("the server has no worker")
	return 0
}

// postmaster is the process id of the database server.
func postmaster(t *testing.T, d *cloudtest.Dev) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.Dir, "postgres", "*", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		t.Fatalf("postmaster.pid: %v %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func children(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for field := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}
