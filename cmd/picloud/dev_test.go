package main_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloudtest"
)

func TestDev_AnswersFromTheSeededScript(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	status, body := d.Do(http.MethodGet, "/hello", "")
	if status != http.StatusOK || !strings.Contains(body, "Hello") {
		t.Errorf("got %d %q", status, body)
	}
	info, err := os.Stat(filepath.Join(d.Dir, "owner-token"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("owner-token: %v %v", info, err)
	}
}

func TestDev_StartsAgain(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	put(t, d, "kept")
	token := d.Token
	for name, stop := range map[string]func(){"after a stop": d.Stop, "after a kill": d.Kill} {
		stop()
		if left := processes(t, d.Dir); name == "after a stop" && len(left) > 0 {
			t.Errorf("processes left behind %s: %v", name, left)
		}
		d.Start()
		if d.Token != token {
			t.Errorf("the owner's key changed %s", name)
		}
		if status, body := d.Do(http.MethodGet, "/api/v1/apps/default/kv/test/key", ""); status != http.StatusOK || !strings.Contains(body, "kept") {
			t.Errorf("%s: got %d %s", name, status, body)
		}
	}
}

func TestDev_RefusesATakenPort(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	out, err := picloud(t, "dev", "--listen", strings.TrimPrefix(d.URL, "http://"), "--data", t.TempDir())
	if err == nil || !strings.Contains(out, "another program listens on") || !strings.Contains(out, "--listen") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestDev_RefusesADirectoryInUse(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	out, err := picloud(t, "dev", "--listen", "localhost:0", "--data", d.Dir)
	if err == nil || !strings.Contains(out, strconv.Itoa(d.PID())) {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestDev_RefusesAClusterItDidNotCreate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "postgres"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "postgres", "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := picloud(t, "dev", "--listen", "localhost:0", "--data", dir)
	if err == nil || !strings.Contains(out, dir) {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, err := picloud(t, "version")
	if err != nil || !strings.HasPrefix(out, "picloud ") {
		t.Errorf("got %v %q", err, out)
	}
}

func TestRun_NeedsADatabase(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(config, []byte("{\n\tadmin off\n}\nhttp://localhost:0 {\n\tpicloud_manager\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := picloud(t, "run", "--config", config)
	if err == nil || !strings.Contains(out, "PICLOUD_DATABASE_URL") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func picloud(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(cloudtest.Binaries(t), "picloud"), args...)
	cmd.Env = slicesWithout(os.Environ(), "PICLOUD_DATABASE_URL=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func slicesWithout(env []string, prefix string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, prefix) {
			kept = append(kept, e)
		}
	}
	return kept
}

func put(t *testing.T, d *cloudtest.Dev, value string) {
	t.Helper()
	if status, body := d.Do(http.MethodPut, "/api/v1/apps/default/kv/test/key", `{"value":"`+value+`"}`); status >= 300 {
		t.Fatalf("put: %d %s", status, body)
	}
}

// processes lists the command lines of processes that mention dir.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(line), dir) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
