// Command appliance boots a Debian system with systemd in a container, lays
// PiCloud on it as an image does, and tries what only systemd can show: that it
// sleeps, wakes, and says what is wrong. It needs root and the binaries in bin/:
//
//	make test-appliance
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	only := flag.String("only", "", "only checks whose names contain this")
	binaries := flag.String("bin", "bin", "folder of the binaries")
	command := flag.String("run", "", "a shell command to run in the machine, such as bash, instead of the checks")
	limit := flag.Duration("limit", 15*time.Minute, "time for everything")
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Println("appliance: skipped: containers and their mounts need root; try: sudo make test-appliance")
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	failed, err := run(ctx, *only, *binaries, *command)
	if err != nil {
		fmt.Fprintln(os.Stderr, "appliance:", err)
	}
	if err != nil || failed {
		os.Exit(1)
	}
}

// run boots a machine and runs the checks on it, one after another.
func run(ctx context.Context, only, binaries, command string) (failed bool, err error) {
	out, err := exec.CommandContext(ctx, "scripts/appliance/root.sh").Output()
	if err != nil {
		return false, fmt.Errorf("making a Debian root: %w: %s", err, stderrOf(err))
	}
	root := strings.TrimSpace(string(out))
	dir := filepath.Join(filepath.Dir(root), "run")
	lock, err := lockFile(dir + ".lock")
	if err != nil {
		return false, err
	}
	defer func() { _ = lock.Close() }()
	if err := errors.Join(os.RemoveAll(dir), removeCgroup()); err != nil { // of a run that was killed
		return false, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	began := time.Now()
	m, err := boot(ctx, root, dir, binaries)
	defer func() { err = errors.Join(err, m.stop()) }()
	if err != nil {
		return false, err
	}
	fmt.Printf("     up after %v\n", time.Since(began).Round(time.Millisecond))
	if command != "" {
		return false, m.attach(ctx, command)
	}
	for _, c := range checks {
		if !strings.Contains(c.name, only) {
			continue
		}
		began := time.Now()
		note, err := c.run(ctx, m)
		result := "ok  "
		if err != nil {
			failed, result = true, "FAIL"
		}
		fmt.Printf("%s %s (%v)\n", result, c.name, time.Since(began).Round(100*time.Millisecond))
		for line := range strings.Lines(note) {
			fmt.Println("     " + strings.TrimRight(line, "\n"))
		}
		if err != nil {
			journal, _ := m.run(context.WithoutCancel(ctx), "journalctl --no-pager -n 40 -o short-monotonic")
			fmt.Printf("     %v\n%s\n", err, journal)
		}
		if ctx.Err() != nil {
			return failed, context.Cause(ctx)
		}
	}
	return failed, nil
}

// lockFile keeps a second run out: both would build and boot in one folder.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another run has %s: %w", path, err)
	}
	return f, nil
}

func stderrOf(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr)
	}
	return ""
}
