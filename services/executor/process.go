package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is the user and group that a server running as root gives its workers.
const nobody = 65534

// binaryFD is where a worker finds its own binary when it is started: it is run
// through this descriptor, so that the folders above it need not be reachable
// for the worker's user. The sandbox closes it.
const binaryFD = 4

// launcher starts worker processes. It does so from one thread that lives as
// long as the launcher: the kernel kills a child whose parent thread ends
// (PR_SET_PDEATHSIG), which is what ends the workers of a server that dies.
type launcher struct {
	binary *os.File // O_PATH
	starts chan func()
}

// newLauncher opens the worker's binary.
func newLauncher(path string) (*launcher, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("executor: open the worker's binary %s: %w", path, err)
	}
	l := &launcher{binary: os.NewFile(uintptr(fd), path), starts: make(chan func())}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		l.binary.Close()
		return nil, fmt.Errorf("executor: stat the worker's binary %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 || os.Geteuid() == 0 && st.Mode&0o001 == 0 {
		l.binary.Close()
		return nil, fmt.Errorf("executor: the worker's binary %s must be a file that everybody may execute; run chmod a+x on it", path)
	}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the launcher
		for start := range l.starts {
			start()
		}
	}()
	return l, nil
}

// close ends the launcher's thread, and with it any child that still runs.
func (l *launcher) close() {
	close(l.starts)
	l.binary.Close()
}

// process is a running worker process.
type process struct {
	cmd    *exec.Cmd
	conn   *net.UnixConn
	stderr *stderrTail
}

// start runs a worker whose scripts may use memory bytes.
func (l *launcher) start(memory int64) (*process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "server")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	p := &process{conn: conn.(*net.UnixConn), stderr: &stderrTail{}}
	p.cmd = &exec.Cmd{
		Path:       "/proc/self/fd/" + strconv.Itoa(binaryFD),
		Args:       []string{"picloud-worker", "--memory", strconv.FormatInt(memory, 10)},
		Env:        []string{},
		Dir:        "/",
		Stderr:     p.stderr,
		ExtraFiles: []*os.File{theirs, l.binary},
		WaitDelay:  time.Second,
		SysProcAttr: &syscall.SysProcAttr{
			Setpgid:   true, // a Ctrl-C on the terminal is the server's to handle
			Pdeathsig: syscall.SIGKILL,
		},
	}
	if os.Geteuid() == 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	p.stderr.flooded = p.kill
	// Descriptors that this process got from its own parent, such as sockets from
	// systemd, are not for workers. Go marks all that it opens itself.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		_ = p.conn.Close()
		return nil, fmt.Errorf("close_range, which needs Linux 5.11: %w", err)
	}
	done := make(chan error)
	l.starts <- func() { done <- p.cmd.Start() }
	if err := <-done; err != nil {
		_ = p.conn.Close()
		return nil, fmt.Errorf("start: %w", err)
	}
	return p, nil
}

// kill ends the process at once. It may be called at any time, more than once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.conn.Close()
}

// wait reaps the process and returns how it ended.
func (p *process) wait() error {
	err := p.cmd.Wait()
	if errors.Is(err, context.Canceled) || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

// Bounds of what is kept and tolerated of a worker's standard error.
const (
	stderrKept  = 4 << 10
	stderrFlood = 1 << 20
)

// stderrTail keeps the first and the last part of what a worker wrote to its
// standard error: the Go runtime says first why it gives up.
type stderrTail struct {
	flooded func() // called when there is too much of it

	mu         sync.Mutex
	head, tail []byte
	total      int
}

func (t *stderrTail) Write(p []byte) (int, error) {
	t.mu.Lock()
	before := t.total
	t.total += len(p)
	rest := p
	if n := min(stderrKept-len(t.head), len(rest)); n > 0 {
		t.head = append(t.head, rest[:n]...)
		rest = rest[n:]
	}
	t.tail = append(t.tail, rest...)
	if n := len(t.tail) - stderrKept; n > 0 {
		t.tail = append(t.tail[:0], t.tail[n:]...)
	}
	t.mu.Unlock()
	if before <= stderrFlood && before+len(p) > stderrFlood {
		t.flooded()
	}
	return len(p), nil
}

// String is what was kept.
func (t *stderrTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tail) == 0 {
		return string(t.head)
	}
	return string(t.head) + "\n…\n" + string(t.tail)
}

// outOfMemory tells whether the Go runtime gave up for want of memory or stack.
func (t *stderrTail) outOfMemory() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sign := range [][]byte{
		[]byte("out of memory"), []byte("cannot allocate memory"),
		[]byte("stack overflow"), []byte("goroutine stack exceeds"),
	} {
		if bytes.Contains(t.head, sign) || bytes.Contains(t.tail, sign) {
			return true
		}
	}
	return false
}
