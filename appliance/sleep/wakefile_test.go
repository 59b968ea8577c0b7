package sleep_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/appliance/sleep"
)

func TestWakeFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wake-at")
	w := sleep.NewWakeFile(path, slog.New(slog.DiscardHandler))
	for _, step := range []struct {
		at   time.Time
		want string
	}{
		{time.Time{}, ""},
		{time.Unix(1_800_000_000, 999_999_999), "1800000000\n"},
		{time.Unix(1_800_000_000, 0), "1800000000\n"},
		{time.Unix(1_700_000_000, 0), "1700000000\n"},
		{time.Time{}, ""},
		{time.Time{}, ""},
	} {
		w.Set(step.at)
		got, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) || string(got) != step.want {
			t.Errorf("after %v the file says %q (%v), want %q", step.at, got, err, step.want)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestWakeFile_WritesWhatHasChangedAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wake-at")
	w := sleep.NewWakeFile(path, slog.New(slog.DiscardHandler))
	w.Set(time.Unix(1_800_000_000, 1))
	if err := os.WriteFile(path, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Set(time.Unix(1_800_000_000, 2))
	if got, _ := os.ReadFile(path); string(got) != "untouched" {
		t.Errorf("it was written again: %q", got)
	}
}

// TestWakeFile_Fails shows that a failure is told once, and so is its end.
func TestWakeFile_Fails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "missing")
	path := filepath.Join(dir, "wake-at")
	var log bytes.Buffer
	w := sleep.NewWakeFile(path, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 3 {
		w.Set(time.Unix(1_800_000_000+int64(i), 0))
	}
	if n := strings.Count(log.String(), "is not being written"); n != 1 {
		t.Errorf("the failure was told %d times:\n%s", n, &log)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.Set(time.Unix(1_800_000_002, 0)) // the same as before, which was not written
	if got, err := os.ReadFile(path); string(got) != "1800000002\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if n := strings.Count(log.String(), "is being written again"); n != 1 {
		t.Errorf("its end was told %d times:\n%s", n, &log)
	}
}
