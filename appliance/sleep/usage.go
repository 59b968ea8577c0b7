package sleep

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what has been used up to a moment.
type Usage struct {
	CPU     time.Duration // of this process, and of those it has started that have ended
	Written int64         // bytes that this process had written to the disk
	// Of the database, since it was started; nil: it does not run, or it cannot be
	// told.
	DatabaseCPU     *time.Duration
	DatabaseWritten *int64
}

// Meter reads what is used.
type Meter struct {
	// DatabaseCgroup is the folder of the database's control group.
	DatabaseCgroup string
}

// Read returns what has been used since this process and the database began.
func (m Meter) Read() Usage {
	u := Usage{CPU: cpuOf(unix.RUSAGE_SELF) + cpuOf(unix.RUSAGE_CHILDREN)}
	u.Written, _ = field("/proc/self/io", "write_bytes:")
	if micros, ok := field(filepath.Join(m.DatabaseCgroup, "cpu.stat"), "usage_usec"); ok {
		cpu := time.Duration(micros) * time.Microsecond
		u.DatabaseCPU = &cpu
	}
	if written, ok := written(filepath.Join(m.DatabaseCgroup, "io.stat")); ok {
		u.DatabaseWritten = &written
	}
	return u
}

func cpuOf(who int) time.Duration {
	var r unix.Rusage
	if unix.Getrusage(who, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// field reads a number behind its name, from a file of such lines.
func field(path, name string) (int64, bool) {
	for fields := range lines(path) {
		if len(fields) == 2 && fields[0] == name {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// written reads the most bytes that any disk was written, from an io.stat: what
// goes through one to another counts once.
func written(path string) (most int64, ok bool) {
	if _, err := os.Stat(path); err != nil {
		return 0, false
	}
	for fields := range lines(path) {
		for _, f := range fields {
			if text, found := strings.CutPrefix(f, "wbytes="); found {
				if n, err := strconv.ParseInt(text, 10, 64); err == nil {
					most = max(most, n)
				}
			}
		}
	}
	return most, true
}

// lines yields the words of each line of a file; none if it cannot be read.
func lines(path string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		f, err := os.Open(path)
		if err != nil {
			return
		}
		defer func() { _ = f.Close() }()
		for s := bufio.NewScanner(f); s.Scan(); {
			if !yield(strings.Fields(s.Text())) {
				return
			}
		}
	}
}
