//go:build linux

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func (s *testServer) testFollow(t *testing.T) {
	env := s.env(s.newApp(t))
	file := filepath.Join(t.TempDir(), "hello.ts")
	writeFile(t, file, `export default (request) => { if (request.method === "POST") throw new Error("no"); return "hello"; };`)
	c := testCLI(t, env)
	if code := run(t.Context(), c.system, []string{"deploy", file}); code != exitOK {
		t.Fatal(c.err)
	}
	// Following shows what ran before, then what runs from now on.
	if code := run(t.Context(), c.system, []string{"invoke", "hello", "--path", "/before"}); code != exitOK {
		t.Fatal(c.err)
	}
	logs := start(t, env, "logs", "-f", "hello")
	failed := start(t, env, "logs", "-f", "--failed", "-o", "json")
	logs.until(t, "GET /before by id  200")
	if code := run(t.Context(), c.system, []string{"invoke", "hello", "--data", "x", "--path", "/after"}); code != exitFailure {
		t.Fatalf("invoke = %d, want %d", code, exitFailure)
	}
	if got := logs.until(t, "Error: no"); !strings.Contains(got, "POST /after by id  500 script_threw") {
		t.Errorf("a failure is shown as\n%s", got)
	}
	if got := failed.until(t, `/after"`); strings.Contains(got, "/before") {
		t.Errorf("--failed shows\n%s", got)
	}
	if code := logs.stop(t); code != exitOK {
		t.Errorf("exit code after an interrupt = %d, want %d", code, exitOK)
	}
}
