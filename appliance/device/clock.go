// Package device knows the board: its clock, and later its storage and its name.
package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Clock tells when the time of day can be believed: at once on a board with a clock
// that runs on while it is off, else when the time was set from the network.
type Clock struct {
	Synchronized string        // file that appears when the time was set; default: that of systemd-timesyncd
	RTC          string        // folder with the hardware's clocks; default /sys/class/rtc
	Wait         time.Duration // for the time to be set, at most; default 2 min
	// Waited is a file that is made when the wait was in vain, in a folder that is
	// empty after each boot: nobody waits again before the next. "": everybody does.
	Waited string
	// Built is a moment before which no clock is right; default: when this program
	// was written to the disk.
	Built  time.Time
	Logger *slog.Logger // nil: slog.Default
}

func (c Clock) filled() Clock {
	if c.Synchronized == "" {
		c.Synchronized = "/run/systemd/timesync/synchronized"
	}
	if c.RTC == "" {
		c.RTC = "/sys/class/rtc"
	}
	if c.Wait == 0 {
		c.Wait = 2 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Built.IsZero() {
		if program, err := os.Stat("/proc/self/exe"); err == nil {
			c.Built = program.ModTime()
		}
	}
	return c
}

// Trusted returns when the time can be believed. The error says that it waited in
// vain.
func (c Clock) Trusted(ctx context.Context) error {
	c = c.filled()
	switch {
	case exists(c.Synchronized) || c.runsOn():
		return nil
	case c.Waited != "" && exists(c.Waited):
		return errors.New("the time was not set from the network since the device was switched on")
	}
	c.Logger.Info("waiting for the time to be set from the network before schedules run: this board has no clock that runs on", "at_most", c.Wait)
	began := time.Now()
	if err := c.await(ctx); err != nil {
		if c.Waited != "" && ctx.Err() == nil {
			if stamp := os.WriteFile(c.Waited, nil, 0o644); stamp != nil {
				c.Logger.Warn("the next start will wait for the time again", "error", stamp)
			}
		}
		return err
	}
	c.Logger.Info("the time was set from the network", "waited", time.Since(began))
	return nil
}

// runsOn tells whether the hardware has a clock that knows the time: one without a
// battery begins in 1970 or 2000.
func (c Clock) runsOn() bool {
	clocks, _ := filepath.Glob(filepath.Join(c.RTC, "rtc*", "since_epoch"))
	for _, path := range clocks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && time.Unix(seconds, 0).After(c.Built) {
			return true
		}
	}
	return false
}

// await waits for the file that says that the time was set.
func (c Clock) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching for the time to be set: %w", err)
	}
	defer func() { _ = watcher.Close() }()
	for watched := ""; ; {
		// The folder may not be there yet, nor the one above it.
		folder := nearest(filepath.Dir(c.Synchronized))
		if folder != watched {
			if err := watcher.Add(folder); err != nil {
				return fmt.Errorf("watching for the time to be set: %w", err)
			}
			watched = folder
			continue // it may have appeared before it was watched
		}
		if exists(c.Synchronized) {
			return nil
		}
		select {
		case <-watcher.Events:
		case err := <-watcher.Errors:
			return fmt.Errorf("watching for the time to be set: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the time was not set from the network within %s", c.Wait)
		}
	}
}

// nearest is the folder, or the nearest above it that exists.
func nearest(folder string) string {
	for !exists(folder) && folder != filepath.Dir(folder) {
		folder = filepath.Dir(folder)
	}
	return folder
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
