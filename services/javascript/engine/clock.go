package engine

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// epoch makes instants that fit an atomic integer.
var epoch = time.Now()

// now is the monotonic time since the package was loaded.
func now() time.Duration { return time.Since(epoch) }

// processCPU is the CPU time that the whole process has used.
func processCPU() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		return 1<<63 - 1 // no such clock: only the wall time of segments counts
	}
	return time.Duration(ts.Nano())
}

// A reading of the process clock costs a system call, so one serves all segments
// that begin within sampleAge of it. It is too early for them by at most that.
const sampleAge = 5 * time.Millisecond

var sample struct {
	at, cpu atomic.Int64
}

// cpuBefore is a reading of the process clock from at or shortly before at.
func cpuBefore(at time.Duration) time.Duration {
	if taken := sample.at.Load(); taken != 0 && at-time.Duration(taken) < sampleAge {
		return time.Duration(sample.cpu.Load())
	}
	cpu := processCPU()
	sample.cpu.Store(int64(cpu))
	sample.at.Store(int64(at))
	return cpu
}
