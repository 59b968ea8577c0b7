package sleep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Timer is what starts a unit at a moment.
type Timer interface {
	// Arm replaces what was armed before.
	Arm(ctx context.Context, unit string, at time.Time) error
	// Disarm takes back what was armed, if anything was.
	Disarm(ctx context.Context) error
}

// Arming is what Arm needs.
type Arming struct {
	File  string // of WakeFile
	Unit  string // to be started
	Timer Timer
	// Failed says that the unit has ended in failure: it gets a while before it is
	// tried again, so that what fails at every start does so in peace.
	Failed bool
	Now    time.Time
}

// What Arm makes of moments, ours.
const (
	promptly  = time.Second // for one that has passed
	afterFail = time.Minute // the least after a failure
	farthest  = 5 * 366 * 24 * time.Hour
)

// Arm has the unit started at the moment that the file says, which it returns: in a
// second if that has passed. If there is no file, it takes back what was armed, and
// returns zero. A file that says no moment, or one more than five years ahead or
// from before clocks were set, changes nothing and is an error.
func Arm(ctx context.Context, a Arming) (time.Time, error) {
	at, err := readMoment(a.File, a.Now)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, a.Timer.Disarm(ctx)
	}
	if err != nil {
		return time.Time{}, err
	}
	least := a.Now.Add(promptly)
	if a.Failed {
		least = a.Now.Add(afterFail)
	}
	if at.Before(least) {
		at = least
	}
	return at, a.Timer.Arm(ctx, a.Unit, at)
}

// clocksSet is a moment before which no clock is right.
var clocksSet = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// readMoment reads a file of WakeFile. The file comes from one with fewer rights:
// it follows no link, waits for nobody, and repeats nothing of what it reads.
func readMoment(path string, now time.Time) (time.Time, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the moment to wake up at: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the moment to wake up at: %w", err)
	}
	if !info.Mode().IsRegular() {
		return time.Time{}, fmt.Errorf("%s is no regular file: it should say when to wake up, and nothing was armed", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the moment to wake up at: %w", err)
	}
	at, err := parseMoment(string(text), now)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s %w: nothing was armed; PiCloud writes it anew when it runs", path, err)
	}
	return at, nil
}

// parseMoment reads Unix seconds with at most one line break behind them.
func parseMoment(text string, now time.Time) (time.Time, error) {
	seconds, err := strconv.ParseInt(strings.TrimSuffix(text, "\n"), 10, 64)
	at := time.Unix(seconds, 0)
	switch {
	case err != nil:
		return time.Time{}, errors.New("does not say a moment in Unix seconds")
	case at.Before(clocksSet):
		return time.Time{}, errors.New("says a moment from before the clock was set")
	case at.After(now.Add(farthest)):
		return time.Time{}, errors.New("says a moment that is years ahead")
	default:
		return at, nil
	}
}
