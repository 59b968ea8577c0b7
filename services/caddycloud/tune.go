package caddycloud

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"
)

const (
	// gcPercent lets the heap grow to four times what is live before it is
	// collected, instead of twice: under load that saves a fifth of the server's
	// CPU time. releaseMemory gives back what it costs.
	gcPercent = 300
	// timerSlack is how late the kernel may wake a thread that sleeps, instead of
	// 50 µs. Go's scheduler watches a busy process by sleeps of 20 µs, which cost a
	// tenth of the CPU time of one that waits for others most of the time.
	timerSlack = 500 * time.Microsecond
)

// Tune sets up this process, and those that it starts, to serve on a small
// board. Call it first thing. GOGC in the environment goes before its own choice.
// It fails where the kernel has no timer slack for threads (proc(5),
// /proc/pid/timerslack_ns), which costs no more than some CPU time.
func Tune() error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, t := range threads { // those to come inherit it
		path := fmt.Sprintf("/proc/%s/timerslack_ns", filepath.Base(t))
		if err := os.WriteFile(path, strconv.AppendInt(nil, int64(timerSlack), 10), 0); err != nil {
			return err
		}
	}
	return nil
}
