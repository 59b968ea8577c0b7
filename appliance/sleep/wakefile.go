package sleep

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"
)

// WakeFile is a file that says, while the process runs, when it must run again
// should it have ended by then: a moment in Unix seconds, rounded down. There is no
// file if that is never. It is safe for concurrent use.
type WakeFile struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	content string // "": there is none
	known   bool   // content is what the file has
	failing bool
}

// NewWakeFile returns the file at path, which it does not touch before Set.
func NewWakeFile(path string, logger *slog.Logger) *WakeFile {
	return &WakeFile{path: path, log: logger}
}

// Set makes the file say at; zero: never. It replaces the file as a whole, and only
// if it says something else. That it cannot be written is logged once.
func (w *WakeFile) Set(at time.Time) {
	content := ""
	if !at.IsZero() {
		content = strconv.FormatInt(at.Unix(), 10) + "\n"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known && w.content == content {
		return
	}
	err := w.write(content)
	switch {
	case err != nil && !w.failing:
		w.log.Error("the moment to wake up at is not being written: what is due while PiCloud sleeps will be late", "file", w.path, "error", err)
	case err == nil && w.failing:
		w.log.Info("the moment to wake up at is being written again", "file", w.path)
	}
	w.failing = err != nil
	w.content, w.known = content, err == nil
}

func (w *WakeFile) write(content string) error {
	if content == "" {
		if err := os.Remove(w.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	next := w.path + ".new"
	if err := os.WriteFile(next, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(next, w.path)
}
