package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloudtest"
)

// TestRun_StopHasADeadline shows that an answer without an end does not hold up
// the stop of a server for longer than the drain time.
func TestRun_StopHasADeadline(t *testing.T) {
	t.Parallel()
	s := startRun(t, "drain 100ms")
	s.deploy(t, "endless", echo)
	upload, send := io.Pipe()
	defer send.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/endless", upload)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer := bufio.NewReader(res.Body)
	if line, err := answer.ReadString('\n'); line != "begun\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(answer); err == nil {
		t.Errorf("an answer that was cut off looks complete: %q", rest)
	}
	if err := s.wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// runServer is a `picloud run` on a database of its own.
type runServer struct {
	url, token string
	cmd        *exec.Cmd
	wait       func() error
}

func (s *runServer) deploy(t *testing.T, name, source string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"scripts": []any{map[string]any{"name": name, "language": "ts", "source": source}}})
	if err != nil {
		t.Fatal(err)
	}
	s.must(t, http.MethodPost, "/api/v1/apps/default/deploy", string(body))
}

// must sends a request with the owner's key and returns the answer's body.
func (s *runServer) must(t *testing.T, method, path, body string) string {
	t.Helper()
	answer, err := s.do(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (s *runServer) do(ctx context.Context, method, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, text)
	}
	return string(text), err
}

// startRun returns when the server answers.
func startRun(t *testing.T, options string) *runServer {
	t.Helper()
	return startRunOn(t, cloudtest.URL(t), options)
}

func startRunOn(t *testing.T, database, options string) *runServer {
	t.Helper()
	config, address := runConfig(t, database, options)
	token := filepath.Join(filepath.Dir(config), "owner-token")
	bin := filepath.Join(cloudtest.Binaries(t), "picloud")
	migrate := exec.CommandContext(t.Context(), bin, "migrate", "--owner-token", token)
	migrate.Env = append(os.Environ(), "PICLOUD_DATABASE_URL="+database)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin, "run", "--config", config)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &runServer{
		url: "http://" + address, token: strings.TrimSpace(snapshot(t, token)),
		cmd: cmd, wait: sync.OnceValue(cmd.Wait),
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = s.wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; {
		if res, err := http.Get(s.url + "/hello"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return s
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the server did not answer within a minute")
		}
	}
}

// runConfig writes a Caddyfile for a free address.
func runConfig(t *testing.T, database, options string) (config, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	config = filepath.Join(dir, "Caddyfile")
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %q
	picloud {
		database %q
		%s
	}
}
http://%s {
	picloud_manager
	picloud_orchestrator
	picloud_executor
}
`, dir, database, options, address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config, address
}
