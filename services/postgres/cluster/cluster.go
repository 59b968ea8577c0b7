package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config is what Start needs.
type Config struct {
	Dir    string       // the cluster's folder; created if it does not exist
	Logger *slog.Logger // required
	// Volatile trades durability for speed: for tests alone.
	Volatile bool
}

// Cluster is a running server. It is started again when it ends by itself.
type Cluster struct {
	dir    directory
	bin    Binaries
	as     account
	socket string
	args   []string
	logger *slog.Logger
	lock   *os.File

	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{} // closed when the supervisor has ended

	mu      sync.Mutex
	process *os.Process // nil while none runs
}

// Bounds of the supervisor, all ours.
const (
	startTimeout  = 60 * time.Second // crash recovery of a full WAL on a slow card
	minBackoff    = 50 * time.Millisecond
	maxBackoff    = 5 * time.Second
	orphanTimeout = 5 * time.Second // for backends to notice that the postmaster died
	fastTimeout   = 20 * time.Second
	quitTimeout   = 5 * time.Second
)

// Start makes the cluster if there is none in cfg.Dir, and starts its server; it
// returns when the server accepts connections. What a killed run left behind is
// cleaned up. The server ends with this process, however that ends.
//
// Errors say what is wrong with the directory or the installation: no server,
// one that is too old, a directory that another process uses or that PiCloud did
// not make.
func Start(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: directory(dir), logger: cfg.Logger, stop: make(chan struct{}), done: make(chan struct{})}
	if err := c.prepare(ctx, cfg.Volatile); err != nil {
		if c.lock != nil {
			unlock(c.lock)
		}
		return nil, fmt.Errorf("database in %s: %w", dir, err)
	}
	first := make(chan error, 1)
	go c.supervise(first)
	select {
	case err = <-first:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database in %s: %w", dir, err), c.Stop())
	}
	return c, nil
}

func (c *Cluster) prepare(ctx context.Context, volatile bool) (err error) {
	if err := c.dir.claim(); err != nil {
		return err
	}
	if c.lock, err = lockFile(c.dir.path(lockName)); err != nil {
		return err
	}
	major, err := c.dir.major()
	if err != nil {
		return err
	}
	if c.bin, err = Find(major); err != nil {
		return err
	}
	if c.as, err = serverAccount(); err != nil {
		return err
	}
	if err := makePrivate(string(c.dir), c.as); err != nil {
		return err
	}
	if c.as, err = c.as.reaching(string(c.dir)); err != nil {
		return err
	}
	if major == 0 {
		c.logger.Info("making a database cluster", "dir", string(c.dir), "postgres", c.bin.Major)
		if err := c.dir.initialise(c.bin, c.as, !volatile); err != nil {
			return err
		}
	}
	if err := stopOrphan(ctx, c.dir.path(dataName), c.logger); err != nil {
		return err
	}
	if err := writeFile(c.dir.path(settingsName), settings); err != nil {
		return err
	}
	if c.socket, err = c.dir.socket(c.as); err != nil {
		return err
	}
	c.args = []string{
		"-D", c.dir.path(dataName),
		"-c", "config_file=" + c.dir.path(settingsName),
		"-c", "unix_socket_directories=" + quoteList(c.socket),
	}
	if volatile {
		c.args = append(c.args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	return nil
}

// quoteList quotes a path as the one element of a list setting.
func quoteList(path string) string { return `"` + strings.ReplaceAll(path, `"`, `""`) + `"` }

// URL is the connection string of the cluster's database, for its superuser.
func (c *Cluster) URL() string { return c.DatabaseURL("postgres") }

// DatabaseURL is URL for another database of the cluster.
func (c *Cluster) DatabaseURL(name string) string { return databaseURL(c.socket, name) }

// PID is the process id of the server, 0 while none runs.
func (c *Cluster) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.Pid
}

// Stop ends the server: sessions are cut off, and what is committed is on disk
// when it returns. A server that does not end in time is killed, which loses
// nothing either. It may be called more than once.
func (c *Cluster) Stop() error {
	c.stopOnce.Do(func() { close(c.stop) })
	<-c.done
	return nil
}

// supervise runs servers until Stop. first gets the outcome of the first start.
// It keeps its thread: the kernel signals a server the death of the thread that
// started it.
func (c *Cluster) supervise(first chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() {
		c.dir.removeSocket()
		unlock(c.lock)
		close(c.done)
	}()
	backoff := minBackoff
	started := false
	deadline := time.Now().Add(startTimeout)
	for {
		r := c.run(func() {
			if !started {
				started = true
				first <- nil
			}
		})
		select {
		case <-c.stop:
			return
		default:
		}
		switch {
		case !started && (!r.mayPass() || time.Now().After(deadline)):
			first <- r.err()
			return
		case r.ready:
			backoff = minBackoff
			c.logger.Error("the database server ended; starting it again", "pid", r.pid, "state", r.state, "log", r.tail)
		default:
			c.logger.Warn("the database server did not start; trying again", "in", backoff, "log", r.tail)
			t := time.NewTimer(backoff)
			select {
			case <-t.C:
			case <-c.stop:
				t.Stop()
				return
			}
			backoff = min(2*backoff, maxBackoff)
		}
	}
}

// result is how a server ended.
type result struct {
	pid   int
	ready bool   // it had accepted connections
	state string // how the process ended
	tail  string // the last lines of its log
}

// mayPass tells whether a failed start is due to the remains of the server
// before, which go away by themselves.
func (r result) mayPass() bool {
	return r.ready || strings.Contains(r.tail, "is still in use") || strings.Contains(r.tail, "already exists")
}

func (r result) err() error { return fmt.Errorf("the server does not start (%s): %s", r.state, r.tail) }

// run starts a server and returns when it has ended and its children are gone.
func (c *Cluster) run(ready func()) (r result) {
	logs, w, err := os.Pipe()
	if err != nil {
		return result{state: err.Error()}
	}
	defer func() { _ = logs.Close() }()
	cmd := c.as.command(filepath.Join(c.bin.Dir, "postgres"), c.args...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr.Pdeathsig = syscall.SIGINT // a fast shutdown
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return result{state: err.Error()}
	}
	c.mu.Lock()
	c.process = cmd.Process
	c.mu.Unlock()

	var reader sync.WaitGroup
	eof := make(chan struct{}) // all processes of the server are gone
	var lines tail
	reader.Go(func() {
		defer close(eof)
		lines.read(logs, c.logger, func() { r.ready = true; ready() })
	})
	exited := make(chan struct{})
	reader.Go(func() { c.endOnStop(cmd.Process, exited) })

	_ = cmd.Wait()
	close(exited)
	c.mu.Lock()
	c.process = nil
	c.mu.Unlock()

	t := time.NewTimer(orphanTimeout)
	select {
	case <-eof:
	case <-t.C:
	}
	t.Stop()
	_ = logs.Close()
	reader.Wait()
	r.pid, r.state, r.tail = cmd.Process.Pid, state(cmd), lines.String()
	return r
}

func state(cmd *exec.Cmd) string {
	if cmd.ProcessState == nil {
		return "unknown"
	}
	return cmd.ProcessState.String()
}

// endOnStop asks the server to end when Stop is called, ever less politely.
func (c *Cluster) endOnStop(p *os.Process, exited <-chan struct{}) {
	select {
	case <-exited:
		return
	case <-c.stop:
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, fastTimeout}, {syscall.SIGQUIT, quitTimeout}} {
		_ = p.Signal(step.signal)
		t := time.NewTimer(step.wait)
		select {
		case <-exited:
			t.Stop()
			return
		case <-t.C:
		}
	}
	_ = p.Kill()
}

// tail reads a server's log and keeps its last lines.
type tail struct{ lines []string }

const tailLines = 8

func (t *tail) read(r io.Reader, logger *slog.Logger, ready func()) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		line := s.Text()
		if len(t.lines) == tailLines {
			t.lines = append(t.lines[:0], t.lines[1:]...)
		}
		t.lines = append(t.lines, line)
		logger.Debug("database server", "line", line)
		if strings.HasSuffix(line, "database system is ready to accept connections") {
			ready()
		}
	}
	_, _ = io.Copy(io.Discard, r) // after a line that was too long
}

func (t *tail) String() string { return strings.Join(t.lines, "; ") }
