//go:build linux

package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// limitResources sets the limits of setrlimit(2), soft and hard alike.
// RLIMIT_NPROC is left alone: it counts the threads of all workers together,
// since they share a user, and the filter forbids new processes anyway.
func limitResources(memory int64) error {
	limits := []struct {
		name     string
		resource int
		value    uint64
	}{
		{"RLIMIT_CORE", unix.RLIMIT_CORE, 0},
		{"RLIMIT_FSIZE", unix.RLIMIT_FSIZE, 0},
		{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, 32},
		{"RLIMIT_MEMLOCK", unix.RLIMIT_MEMLOCK, 0},
		{"RLIMIT_MSGQUEUE", unix.RLIMIT_MSGQUEUE, 0},
	}
	for _, l := range limits {
		if err := setLimit(l.resource, l.value); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	if memory > 0 {
		if err := setLimit(unix.RLIMIT_DATA, uint64(memory)+RuntimeFloor); err != nil {
			return fmt.Errorf("RLIMIT_DATA: %w", err)
		}
	}
	return nil
}

// setLimit lowers a limit; one that is lower already stays.
func setLimit(resource int, value uint64) error {
	var now unix.Rlimit
	if err := unix.Prlimit(0, resource, nil, &now); err != nil {
		return err
	}
	value = min(value, now.Max)
	return unix.Prlimit(0, resource, &unix.Rlimit{Cur: value, Max: value}, nil)
}

// closeBinary closes the descriptor through which the server starts a worker:
// an O_PATH descriptor of the worker's own binary with the number 4.
func closeBinary() {
	const fd = 4
	if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err == nil && flags&unix.O_PATH != 0 {
		_ = unix.Close(fd)
	}
}
