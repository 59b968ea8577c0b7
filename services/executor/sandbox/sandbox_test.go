//go:build linux && !race

// The race detector needs more memory and threads than the fences allow.

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deed is the environment variable that makes the test binary the sandboxed
// process and names what it tries.
const deed = "SANDBOX_TEST_DEED"

func TestMain(m *testing.M) {
	name := os.Getenv(deed)
	if name == "" {
		// What the children inherit: cores would be dumped.
		var l unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_CORE, &l)
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: l.Max, Max: l.Max})
		os.Exit(m.Run())
	}
	if err := Apply(Config{Memory: 128 << 20}); err != nil {
		fmt.Println("apply:", err)
		os.Exit(3)
	}
	fmt.Println(deeds[name]())
}

// deeds are what a sandboxed process tries, and what it says of the outcome.
var deeds = map[string]func() any{
	"compute": func() any {
		// Threads, timers, collection, stacks: all that a runtime does.
		done := make(chan int)
		for i := range 4 {
			go func() {
				runtime.LockOSThread()
				time.Sleep(time.Millisecond)
				s := 0
				for j := range 1000 {
					s += len(bytes.Repeat([]byte{1}, j))
				}
				done <- s + i
			}()
		}
		sum := 0
		for range 4 {
			sum += <-done
		}
		runtime.GC()
		return sum
	},
	"open":        func() any { _, err := os.Open("/etc/passwd"); return err },
	"open itself": func() any { _, err := os.Open("/proc/self/maps"); return err },
	"create":      func() any { _, err := os.Create("/tmp/sandbox-test"); return err },
	"list":        func() any { _, err := os.ReadDir("/"); return err },
	"stat":        func() any { _, err := os.Stat("/"); return err },
	"socket":      func() any { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err },
	"unix socket": func() any { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
	"socketpair":  func() any { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
	"kill":        func() any { return unix.Kill(os.Getppid(), syscall.Signal(0)) },
	"kill group":  func() any { return unix.Kill(0, syscall.SIGTERM) },
	"orphan":      func() any { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) },
	"chmod":       func() any { return os.Chmod("/tmp", 0o777) },
	"memfd":       func() any { _, err := unix.MemfdCreate("x", 0); return err },
	"executable memory": func() any {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
		return err
	},
	"raise limits": func() any { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}) },
	"fork": func() any {
		_, _, err := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		return err
	},
	"clone3": func() any {
		var args [88]byte
		_, _, err := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
		return err
	},
	"grow a file": func() any {
		// Descriptor 0 is a file open for writing in this test.
		_, err := unix.Write(0, []byte("x"))
		return err
	},
	"exec":     func() any { return syscall.Exec("/bin/true", []string{"true"}, nil) },
	"ptrace":   func() any { return unix.PtraceAttach(os.Getppid()) },
	"mount":    func() any { return unix.Mount("none", "/mnt", "tmpfs", 0, "") },
	"bpf":      func() any { _, _, err := syscall.RawSyscall(unix.SYS_BPF, 0, 0, 0); return err },
	"io_uring": func() any { _, _, err := syscall.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); return err },
	"unshare":  func() any { return unix.Unshare(unix.CLONE_NEWUSER) },
	"allocate": func() any {
		var all [][]byte
		for range 64 {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		return len(all)
	},
	"recurse": func() any {
		var f func(n int) int
		f = func(n int) int { return f(n+1) + 1 }
		return f(0)
	},
}

// try runs a deed in a child behind the fences.
func try(t *testing.T, name string) (out, stderr string, status syscall.WaitStatus) {
	t.Helper()
	var o, e bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{deed + "=" + name, "GOTRACEBACK=none"}
	cmd.Stdout, cmd.Stderr = &o, &e
	cmd.Dir = t.TempDir()
	file, err := os.Create(filepath.Join(cmd.Dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdin = file
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.HasPrefix(o.String(), "apply:") {
		t.Fatal(o.String())
	}
	return strings.TrimSpace(o.String()), e.String(), cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func TestApply(t *testing.T) {
	t.Parallel()

	t.Run("leaves the runtime what it needs", func(t *testing.T) {
		t.Parallel()
		out, stderr, status := try(t, "compute")
		if status.ExitStatus() != 0 || out != "1998006" {
			t.Errorf("it said %q, ended with %v: %s", out, status, stderr)
		}
	})

	for _, name := range []string{
		"open", "open itself", "create", "list", "stat", "socket", "unix socket", "socketpair", "kill", "kill group",
		"orphan", "chmod", "memfd", "executable memory", "raise limits", "fork",
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			t.Parallel()
			out, stderr, status := try(t, name)
			if !strings.HasSuffix(out, "operation not permitted") && !strings.HasSuffix(out, "permission denied") {
				t.Errorf("it said %q, ended with %v: %s", out, status, stderr)
			}
		})
	}

	t.Run("refuses to grow a file", func(t *testing.T) {
		t.Parallel()
		if out, _, _ := try(t, "grow a file"); out != "file too large" {
			t.Errorf("it said %q", out)
		}
	})

	t.Run("hides clone3", func(t *testing.T) {
		t.Parallel()
		if out, _, _ := try(t, "clone3"); out != "function not implemented" {
			t.Errorf("it said %q", out)
		}
	})

	for _, name := range []string{"exec", "ptrace", "mount", "bpf", "io_uring", "unshare"} {
		t.Run("kills without a core for "+name, func(t *testing.T) {
			t.Parallel()
			out, stderr, status := try(t, name)
			if status.Signal() != syscall.SIGSYS || status.CoreDump() {
				t.Errorf("it said %q, ended with %v: %s", out, status, stderr)
			}
		})
	}

	t.Run("bounds memory", func(t *testing.T) {
		t.Parallel()
		out, stderr, status := try(t, "allocate")
		if !strings.Contains(stderr, "out of memory") || status.ExitStatus() == 0 {
			t.Errorf("it said %q, ended with %v: %.300s", out, status, stderr)
		}
	})

	t.Run("bounds stacks", func(t *testing.T) {
		t.Parallel()
		out, stderr, status := try(t, "recurse")
		if !strings.Contains(stderr, "goroutine stack exceeds") || status.ExitStatus() == 0 {
			t.Errorf("it said %q, ended with %v: %.300s", out, status, stderr)
		}
	})
}
