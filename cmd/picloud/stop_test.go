package main_test

import (
	"bufio"
	"io"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/services/cloudtest"
)

// echo answers with a first line, and then with what it is sent, as it comes.
const echo = `export default async (request) => new Response(new ReadableStream({
	async start(controller) {
		controller.enqueue(new TextEncoder().encode("begun\n"));
		for await (const chunk of request.body) controller.enqueue(chunk);
		controller.close();
	},
}));`

func TestDev_StopLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	deploy(t, d, "echo", echo)
	upload, send := io.Pipe()
	res := open(t, d, http.MethodPost, "/echo", upload)
	answer := bufio.NewReader(res.Body)
	if line, err := answer.ReadString('\n'); line != "begun\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	tail := open(t, d, http.MethodGet, "/api/v1/apps/default/executions:tail", nil)
	running := watch(t, d)

	stopped := make(chan struct{})
	go func() {
		d.Stop()
		close(stopped)
	}()
	if _, err := io.Copy(io.Discard, tail.Body); err != nil { // its end says that the stop has begun
		t.Errorf("the event stream was cut off: %v", err)
	}
	if _, err := io.WriteString(send, "the rest\n"); err != nil {
		t.Fatal(err)
	}
	_ = send.Close()
	if rest, err := io.ReadAll(answer); string(rest) != "the rest\n" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
	<-stopped
	running.gone(t)
}

func TestDev_KillLeavesNoProcess(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	if status, body := d.Do(http.MethodGet, "/hello", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	running := watch(t, d)
	d.Kill()
	running.gone(t)
}

// processSet are processes by id, each with a descriptor that tells of its end.
type processSet map[int]int

// watch finds the processes that a server with a worker has started: both, and
// those of the database.
func watch(t *testing.T, d *cloudtest.Dev) processSet {
	t.Helper()
	worker(t, d)
	set := processSet{}
	for _, parent := range []int{d.PID(), postmaster(t, d)} {
		for _, pid := range children(t, parent) {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue // a connection of the database that has ended
			}
			t.Cleanup(func() { _ = unix.Close(fd) })
			set[pid] = fd
		}
	}
	return set
}

// gone waits until all have ended.
func (s processSet) gone(t *testing.T) {
	t.Helper()
	if len(s) < 2 {
		t.Fatalf("there were %d processes, want a worker and the database's", len(s))
	}
	for pid, fd := range s {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000)
		for err == unix.EINTR {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000)
		}
		if n != 1 || err != nil {
			t.Errorf("process %d is left behind: %v", pid, err)
		}
	}
}

// open sends a request with the owner's key and returns when the answer has
// begun.
func open(t *testing.T, d *cloudtest.Dev, method, path string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
	return res
}
