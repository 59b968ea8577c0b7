//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// running is pic in the background.
type running struct {
	lines  <-chan string // of standard output and standard error
	cancel context.CancelFunc
	code   <-chan int
}

// start runs pic until the test ends or its cancel is called.
func start(t *testing.T, env map[string]string, args ...string) *running {
	t.Helper()
	read, write := io.Pipe()
	c := testCLI(t, env)
	c.out, c.err = write, write
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	lines := make(chan string, 100)
	go func() {
		code <- run(ctx, c.system, args)
		_ = write.Close()
	}()
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(read); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range lines {
		}
	})
	return &running{lines: lines, cancel: cancel, code: code}
}

// until reads lines up to one that contains text, and returns them.
func (r *running) until(t *testing.T, text string) string {
	t.Helper()
	var seen strings.Builder
	for {
		select {
		case line, ok := <-r.lines:
			fmt.Fprintln(&seen, line)
			if strings.Contains(line, text) {
				return seen.String()
			}
			if !ok {
				t.Fatalf("pic ended before it said %q:\n%s", text, &seen)
			}
		case <-time.After(time.Minute):
			t.Fatalf("pic has not said %q:\n%s", text, &seen)
		}
	}
}

// stop interrupts pic and returns its exit code.
func (r *running) stop(t *testing.T) int {
	t.Helper()
	r.cancel()
	return <-r.code
}
