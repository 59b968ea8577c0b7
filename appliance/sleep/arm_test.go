package sleep_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud/appliance/sleep"
)

// armed records what a Timer was told.
type armed struct {
	did []string
	err error
}

func (a *armed) Arm(_ context.Context, unit string, at time.Time) error {
	a.did = append(a.did, unit+" "+strconv.FormatInt(at.Unix(), 10))
	return a.err
}

func (a *armed) Disarm(context.Context) error {
	a.did = append(a.did, "disarm")
	return a.err
}

var now = time.Unix(1_800_000_000, 0)

func TestArm(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text   string
		failed bool
		want   string
	}{
		"a moment to come":             {"1800000600\n", false, "x.service 1800000600"},
		"without a line break":         {"1800000600", false, "x.service 1800000600"},
		"a moment that has passed":     {"1799990000\n", false, "x.service 1800000001"},
		"this moment":                  {"1800000000\n", false, "x.service 1800000001"},
		"a passed one after a failure": {"1799990000\n", true, "x.service 1800000060"},
		"a later one after a failure":  {"1800000600\n", true, "x.service 1800000600"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "wake-at")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			timer := &armed{}
			at, err := sleep.Arm(t.Context(), sleep.Arming{File: path, Unit: "x.service", Timer: timer, Failed: tt.failed, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(timer.did, ", "); got != tt.want || !strings.HasSuffix(got, strconv.FormatInt(at.Unix(), 10)) {
				t.Errorf("armed %s, and said %d; want %s", got, at.Unix(), tt.want)
			}
		})
	}
}

func TestArm_NothingIsDue(t *testing.T) {
	t.Parallel()
	timer := &armed{}
	at, err := sleep.Arm(t.Context(), sleep.Arming{File: filepath.Join(t.TempDir(), "none"), Unit: "x.service", Timer: timer, Now: now})
	if err != nil || !at.IsZero() || strings.Join(timer.did, ", ") != "disarm" {
		t.Errorf("%v %v %v", at, err, timer.did)
	}
}

func TestArm_TheTimerFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wake-at")
	if err := os.WriteFile(path, []byte("1800000600\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no systemd")
	if _, err := sleep.Arm(t.Context(), sleep.Arming{File: path, Timer: &armed{err: broken}, Now: now}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// TestArm_Refuses shows that a file that somebody else may write does no harm to
// who reads it with more rights: it is refused, not repeated, and changes nothing.
func TestArm_Refuses(t *testing.T) {
	t.Parallel()
	text := func(s string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(s), 0o600) }
	}
	for name, tt := range map[string]struct {
		make func(path string) error
		want string
	}{
		"no number":          {text("hunter2"), "does not say a moment"},
		"nothing":            {text(""), "does not say a moment"},
		"two numbers":        {text("1800000600\n1800000600\n"), "does not say a moment"},
		"a fraction":         {text("1800000600.5\n"), "does not say a moment"},
		"more than a number": {text(strings.Repeat("1", 1<<20)), "does not say a moment"},
		"years ahead":        {text("99999999999\n"), "years ahead"},
		"an unset clock":     {text("86400\n"), "before the clock was set"},
		"the distant past":   {text("-1\n"), "before the clock was set"},
		"a link":             {func(path string) error { return os.Symlink("/etc/passwd", path) }, "symbolic links"},
		"a folder":           {func(path string) error { return os.Mkdir(path, 0o755) }, "no regular file"},
		"a pipe":             {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "wake-at")
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			timer := &armed{}
			_, err := sleep.Arm(t.Context(), sleep.Arming{File: path, Unit: "x.service", Timer: timer, Now: now})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if len(timer.did) != 0 {
				t.Errorf("it did %v", timer.did)
			}
		})
	}
}
