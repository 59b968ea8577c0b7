package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopOrphan ends a postmaster that a killed run left behind on data, and
// returns when it is gone. A pid file whose process is another's, or gone, is
// left to PostgreSQL, which knows how to judge it.
func stopOrphan(ctx context.Context, data string, logger *slog.Logger) error {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return nil // no file, no orphan
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return nil // not a pid: PostgreSQL complains about it
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // the process is gone
	}
	defer func() { _ = unix.Close(fd) }()
	if !isPostmaster(pid, data) {
		return nil
	}
	logger.Warn("stopping the database server of a run that was killed", "pid", pid)
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, 20 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if err := unix.PidfdSendSignal(fd, step.signal, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		}
		if gone, err := awaitExit(ctx, fd, step.wait); gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("process %d, the database server of an earlier run, does not end", pid)
}

// isPostmaster tells whether pid is a server that works in data: a server
// changes into its data directory.
func isPostmaster(pid int, data string) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	here, err := os.Stat(proc + "/cwd")
	if err != nil {
		return false
	}
	there, err := os.Stat(data)
	if err != nil || !os.SameFile(here, there) {
		return false
	}
	exe, err := os.Readlink(proc + "/exe")
	return err == nil && strings.TrimSuffix(filepath.Base(exe), " (deleted)") == "postgres"
}

// awaitExit waits for the process behind a pidfd. Only ctx's end is looked for
// now and then, while the process is still there.
func awaitExit(ctx context.Context, fd int, wait time.Duration) (bool, error) {
	const slice = 100 * time.Millisecond
	for left := wait; left > 0; left -= slice {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(slice.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
	return false, nil
}
