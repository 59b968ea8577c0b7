package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is the control group that holds the machine; there is one at a time.
const cgroup = "picloud-test"

// machine is the appliance: Debian with systemd, PiCloud laid on it, in a
// container with a network of its own.
type machine struct {
	dir     string // holds what it writes, and the console
	nspawn  *exec.Cmd
	leader  int // its process 1, as seen from here
	network *os.File
	ended   chan struct{}
}

// boot starts the machine and waits until systemd says that it is up. Stop it in
// any case.
func boot(ctx context.Context, root, dir, binaries string) (*machine, error) {
	m := &machine{dir: dir, ended: make(chan struct{})}
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		return m, err
	}
	defer func() { _ = ready.Close() }()
	console, err := os.Create(filepath.Join(dir, "console"))
	if err != nil {
		return m, err
	}
	defer func() { _ = console.Close() }()

	m.nspawn = exec.Command("scripts/appliance/boot.sh", root, dir, cgroup, binaries)
	m.nspawn.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
	m.nspawn.Stdout, m.nspawn.Stderr = console, console
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS, // private all the way down
		Setpgid:      true,                // an interrupt is for this program to handle
		Pdeathsig:    syscall.SIGKILL,
	}
	started := make(chan error)
	go func() { // the thread whose end is the child's
		runtime.LockOSThread()
		started <- m.nspawn.Start()
		if m.nspawn.Process != nil {
			_ = m.nspawn.Wait()
		}
		close(m.ended)
	}()
	if err := <-started; err != nil {
		return m, err
	}
	if err := m.awaitReady(ctx, ready); err != nil {
		return m, fmt.Errorf("%w; its console:\n%s", err, m.console())
	}
	if m.leader, err = onlyChild(m.nspawn.Process.Pid); err != nil {
		return m, err
	}
	m.network, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", m.leader))
	return m, err
}

func (m *machine) awaitReady(ctx context.Context, socket *net.UnixConn) error {
	deadline, _ := ctx.Deadline()
	_ = socket.SetReadDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Now()) })
	defer stop()
	go func() {
		<-m.ended
		_ = socket.SetReadDeadline(time.Now())
	}()
	for message := make([]byte, 4096); ; {
		n, err := socket.Read(message)
		if err != nil {
			return fmt.Errorf("the machine did not come up: %w", err)
		}
		for line := range strings.Lines(string(message[:n])) {
			if strings.TrimSpace(line) == "READY=1" {
				return nil
			}
		}
	}
}

func onlyChild(pid int) (int, error) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(list)))
}

func (m *machine) console() string {
	text, err := os.ReadFile(filepath.Join(m.dir, "console"))
	return errors.Join(err, errors.New(string(text))).Error()
}

// stop ends the machine and leaves nothing of it.
func (m *machine) stop() error {
	if m.nspawn != nil && m.nspawn.Process != nil {
		_ = m.nspawn.Process.Kill() // process 1 of its namespace: the kernel kills the others
		<-m.ended
	}
	if m.network != nil {
		_ = m.network.Close()
	}
	return removeCgroup()
}

// removeCgroup removes the groups that are left, in a mount of this thread's own.
func removeCgroup() error {
	script := `umount -l -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /sys/fs/cgroup; [[ ! -e $0 ]] || find "$0" -depth -type d -exec rmdir {} +`
	cmd := exec.Command("bash", "-euc", script, cgroup)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("removing the machine's control groups: %w: %s", err, out)
	}
	return nil
}

// run runs a shell command in the machine, as root, and returns what it prints.
func (m *machine) run(ctx context.Context, script string) (string, error) {
	cmd := m.command(ctx, script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s%s", script, err, out, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// attach runs a shell command in the machine with the terminal of this program.
func (m *machine) attach(ctx context.Context, script string) error {
	cmd := m.command(ctx, script)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func (m *machine) command(ctx context.Context, script string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.leader), "--all", "--", "bash", "-euo", "pipefail", "-c", script)
}

// write replaces a file in the machine.
func (m *machine) write(name, text string) error {
	path := filepath.Join("/proc", strconv.Itoa(m.leader), "root", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func (m *machine) read(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(m.leader), "root", name))
	return string(text), err
}

// dial connects from inside the machine's network.
func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(m.network.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("entering the machine's network: %w", err)}
			return
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// client sends requests to the machine, wherever their URLs lead.
func (m *machine) client() *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DialContext: m.dial, MaxIdleConnsPerHost: 100},
	}
}
