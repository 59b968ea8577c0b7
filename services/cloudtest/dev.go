package cloudtest

import (
	"bufio"
	"errors"
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
)

// Binaries builds picloud, picloud-worker and pic once per test process and
// returns their folder. The environment variable PICLOUD_TEST_BIN names a folder
// that has them already.
func Binaries(t testing.TB) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var binaries = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("PICLOUD_TEST_BIN"); dir != "" {
		return dir, nil
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	dir, err := os.MkdirTemp("", "picloud-bin-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "./cmd/picloud", "./cmd/picloud-worker", "./cmd/pic")
	build.Dir = strings.TrimSpace(string(root))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binaries: %w\n%s", err, out)
	}
	return dir, nil
})

// Dev is a running `picloud dev`, on a free port of the loopback address.
type Dev struct {
	URL   string // "http://localhost:PORT"
	Token string // the owner's API key
	Dir   string // the data directory

	t       testing.TB
	bin     string
	address string
	cmd     *exec.Cmd
	exited  chan struct{}
	output  *output
}

// StartDev starts `picloud dev` with a data directory of its own and returns
// when it serves. It is stopped, and its output logged if the test failed, at the
// end of the test.
func StartDev(t testing.TB) *Dev {
	t.Helper()
	dir, err := os.MkdirTemp("", "picloud-dev-")
	if err != nil {
		t.Fatal(err)
	}
	d := &Dev{t: t, bin: Binaries(t), Dir: dir, address: freeAddress(t)}
	_, port, _ := net.SplitHostPort(d.address)
	d.URL = "http://localhost:" + port
	t.Cleanup(func() {
		d.Stop()
		_ = os.RemoveAll(dir)
		if t.Failed() {
			t.Log("output of picloud dev:\n" + d.output.String())
		}
	})
	d.Start()
	return d
}

// Start starts the server again after Stop or Kill, with the same address and
// data, and returns when it serves.
func (d *Dev) Start() {
	d.t.Helper()
	d.cmd = exec.Command(filepath.Join(d.bin, "picloud"), "dev", "--listen", d.address, "--data", d.Dir)
	pipe, err := d.cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if d.output == nil {
		d.output = &output{}
	}
	d.cmd.Stderr = d.output
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ready := make(chan struct{})
	d.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		announced := false
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			_, _ = fmt.Fprintln(d.output, lines.Text())
			if !announced && strings.Contains(lines.Text(), "ready at") {
				announced = true
				close(ready)
			}
		}
		_ = cmd.Wait()
		close(exited)
	}(d.cmd, d.exited)
	select {
	case <-ready:
	case <-d.exited:
		d.t.Fatalf("picloud dev ended before it was ready:\n%s", d.output)
	case <-time.After(60 * time.Second):
		d.t.Fatalf("picloud dev was not ready after a minute:\n%s", d.output)
	}
	token, err := os.ReadFile(filepath.Join(d.Dir, "owner-token"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.Token = strings.TrimSpace(string(token))
}

// Stop interrupts the server and waits for its end.
func (d *Dev) Stop() { d.signal(syscall.SIGTERM) }

// Kill ends the server without warning and waits for its end.
func (d *Dev) Kill() { d.signal(syscall.SIGKILL) }

func (d *Dev) signal(s os.Signal) {
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	if err := d.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Error(err)
	}
	<-d.exited
}

// PID is the server's process id.
func (d *Dev) PID() int { return d.cmd.Process.Pid }

// Output is what the server printed so far.
func (d *Dev) Output() string { return d.output.String() }

// Do sends a request with the owner's key and a JSON body (if any), and returns
// status and body.
func (d *Dev) Do(method, path, body string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequest(method, d.URL+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.Token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
