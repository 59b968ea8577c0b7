package executor

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// workerDir is where buildWorker puts the worker; TestMain removes it.
var workerDir string

// buildWorker builds the real worker once.
var buildWorker = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "picloud-worker")
	if err != nil {
		return "", err
	}
	workerDir = dir
	path := filepath.Join(dir, "picloud-worker")
	cmd := exec.Command("go", "build", "-o", path, "github.com/picloud/picloud/cmd/picloud-worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the worker: %w: %s", err, out)
	}
	return path, nil
})

// realWorker makes a bench use the worker that users run.
func realWorker(t *testing.T) func(*Config) {
	t.Helper()
	path, err := buildWorker()
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Worker = path }
}

// handler makes a fetch handler of a body.
func handler(body string) string {
	return "(async function(){return {default:{async fetch(request, env, ctx){\n" + body + "\n}}}})"
}

type hostileScript struct{ name, body string }

func hostileScripts(t *testing.T) []hostileScript {
	t.Helper()
	file, err := os.Open("testdata/hostile.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var scripts []hostileScript
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			name, body, _ := strings.Cut(line, "\t")
			scripts = append(scripts, hostileScript{name, body})
		}
	}
	if lines.Err() != nil || len(scripts) != 68 {
		t.Fatalf("%d scripts, %v", len(scripts), lines.Err())
	}
	return scripts
}

// TestHostile runs scripts that try to take the whole machine. Each must be
// answered 500 ms after its deadline at the latest, which is a rule of
// containment and no measure of speed, while another app answers as ever.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	const wall = 2 * time.Second
	b := newBench(t, realWorker(t))

	neighbour := b.script("neighbour", handler(`return new Response("fine")`))
	watching, enough := context.WithCancel(t.Context())
	var served, failed atomic.Int64
	var watch sync.WaitGroup
	watch.Go(func() {
		for watching.Err() == nil {
			if got := b.get(t, neighbour); got.status == http.StatusOK && got.body == "fine" {
				served.Add(1)
			} else {
				failed.Add(1)
				t.Errorf("the neighbour was answered %+v", got)
			}
		}
	})

	gate := make(chan struct{}, 2)
	var scripts sync.WaitGroup
	for i, s := range hostileScripts(t) {
		scripts.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			plan := b.script(fmt.Sprintf("hostile-%d", i), handler(s.body))
			plan.Script.Limits.Wall, plan.Script.Limits.CPU = wall, wall/2
			// A worker that runs is part of the containment, its start is not.
			if got := b.get(t, b.script(plan.App.ID, handler(`return new Response("ready")`))); got.status != http.StatusOK {
				t.Errorf("%s: before it, the app was answered %+v", s.name, got)
			}
			began := time.Now()
			got := b.get(t, plan)
			took := time.Since(began)
			t.Logf("%-40s %d after %v: %.120s", s.name, got.status, took.Round(time.Millisecond), got.body)
			if got.err != nil {
				t.Errorf("%s: no answer: %v", s.name, got.err)
			}
			if took > wall+500*time.Millisecond {
				t.Errorf("%s: answered after %v", s.name, took)
			}
			b.Forget(plan.App.ID)
		})
	}
	scripts.Wait()
	enough()
	watch.Wait()
	if served.Load() == 0 || failed.Load() > 0 {
		t.Errorf("the neighbour was served %d times and refused %d times", served.Load(), failed.Load())
	}
}
