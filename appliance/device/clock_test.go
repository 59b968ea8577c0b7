package device_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/picloud/picloud/appliance/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a machine's folders, and a clock in them that gets the time within an
// hour.
func desk(t *testing.T) (dir string, c device.Clock) {
	t.Helper()
	dir = t.TempDir()
	return dir, device.Clock{
		Synchronized: filepath.Join(dir, "run/timesync/synchronized"), RTC: filepath.Join(dir, "rtc"),
		Wait: time.Hour, Waited: filepath.Join(dir, "waited"), Built: time.Unix(1_800_000_000, 0),
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func rtc(t *testing.T, dir string, seconds int64) {
	write(t, filepath.Join(dir, "rtc/rtc0/since_epoch"), strconv.FormatInt(seconds, 10)+"\n")
}

func TestClock_IsTrustedAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("when the time was set", func(t *testing.T) {
		t.Parallel()
		_, c := desk(t)
		write(t, c.Synchronized, "")
		if err := c.Trusted(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("with a clock that runs on", func(t *testing.T) {
		t.Parallel()
		dir, c := desk(t)
		rtc(t, dir, 1_800_000_001)
		if err := c.Trusted(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestClock_Waits shows that it waits for the folders of the file too, and that a
// clock without a battery is no clock.
func TestClock_Waits(t *testing.T) {
	t.Parallel()
	dir, c := desk(t)
	rtc(t, dir, 86400)
	log := &notice{begun: make(chan struct{})}
	c.Logger = slog.New(slog.NewTextHandler(log, nil))
	done := make(chan error, 1)
	go func() { done <- c.Trusted(t.Context()) }()
	<-log.begun
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	write(t, filepath.Join(dir, "run/other"), "")
	write(t, c.Synchronized, "")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.Waited); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it says that it waited in vain: %v", err)
	}
}

// notice tells when something was logged first.
type notice struct {
	bytes.Buffer
	begun chan struct{}
}

func (n *notice) Write(p []byte) (int, error) {
	if n.Len() == 0 {
		close(n.begun)
	}
	return n.Buffer.Write(p)
}

// TestClock_GivesUp shows that the wait is bounded, and made once in a boot.
func TestClock_GivesUp(t *testing.T) {
	t.Parallel()
	_, c := desk(t)
	c.Wait = time.Millisecond
	if err := c.Trusted(t.Context()); err == nil || !strings.Contains(err.Error(), "within 1ms") {
		t.Errorf("got %v", err)
	}
	c.Wait = time.Hour
	if err := c.Trusted(t.Context()); err == nil || !strings.Contains(err.Error(), "since the device was switched on") {
		t.Errorf("the second time: %v", err)
	}
	write(t, c.Synchronized, "")
	if err := c.Trusted(t.Context()); err != nil {
		t.Errorf("once the time is set: %v", err)
	}
}

func TestClock_IsCutOff(t *testing.T) {
	t.Parallel()
	_, c := desk(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Trusted(ctx); err == nil {
		t.Error("it trusts the clock")
	}
	if _, err := os.Stat(c.Waited); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next start would not wait: %v", err)
	}
}
