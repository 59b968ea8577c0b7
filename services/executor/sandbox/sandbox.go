//go:build linux

// Package sandbox puts a worker process behind its fences: resource limits,
// no_new_privs, Landlock without any path or port, and a seccomp filter that
// leaves a process what the Go runtime needs and no more. It is called by the
// process itself, once, when it holds all that it will ever hold.
package sandbox

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// RuntimeFloor is how many bytes of writable memory the Go runtime, the engine
// and the code take before a script takes any.
const RuntimeFloor = 128 << 20

// MaxStack bounds the stack of one goroutine, in bytes. Deeper recursion ends
// the process.
const MaxStack = 64 << 20

// Config says how high the fences are.
type Config struct {
	Memory int64     // bytes that scripts may use above RuntimeFloor; 0: no bound on memory
	Notice io.Writer // is told once what this kernel cannot do; nil: standard error
}

// Apply raises the fences around the calling process, all of its threads
// included. They cannot be lowered again. Afterwards the process can compute,
// read and write the descriptors it has, and end; it cannot open files, make
// sockets, start programs or processes, or signal others. Resource limits and
// the seccomp filter are required: without them Apply fails, and the process
// should end. Where the kernel has no Landlock, the others stand alone.
func Apply(c Config) error {
	if c.Notice == nil {
		c.Notice = os.Stderr
	}
	closeBinary()
	// The first to go when the device runs out of memory. Without /proc, or on a
	// read-only one, the worker is as good a candidate as any.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	if err := limitResources(c.Memory); err != nil {
		return fmt.Errorf("sandbox: resource limits: %w", err)
	}
	// No core, whatever dumps them, and no other process of the same user may
	// trace this one.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("sandbox: PR_SET_DUMPABLE: %w", err)
	}
	debug.SetMaxStack(MaxStack)
	if c.Memory > 0 {
		// The collector works harder before the kernel says no.
		debug.SetMemoryLimit(c.Memory + RuntimeFloor/4)
	}
	// no_new_privs is set on this thread, and the filter's loading carries it to
	// the others.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := restrictAccess(c.Notice); err != nil {
		return fmt.Errorf("sandbox: landlock: %w", err)
	}
	if err := filterSyscalls(); err != nil {
		return fmt.Errorf("sandbox: seccomp: %w", err)
	}
	return nil
}
