//go:build linux

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func (s *testServer) testDev(t *testing.T) {
	env := s.env(s.newApp(t))
	file := filepath.Join(t.TempDir(), "hello.ts")
	writeFile(t, file, `export default () => { console.log("one"); return "one"; };`)
	dev := start(t, env, "dev", file)
	dev.until(t, "hello version 1")
	dev.until(t, "Watching ")

	c := testCLI(t, env)
	invoke := func(want string) {
		t.Helper()
		var out strings.Builder
		c.out = &out
		if code := run(t.Context(), c.system, []string{"invoke", "hello"}); code != 0 || out.String() != want {
			t.Errorf("invoke = %d, %q, want %q; %s", code, out.String(), want, c.err)
		}
	}
	invoke("one")
	dev.until(t, "info   one")

	writeFile(t, file, `export default () => { const = 1; };`)
	if got := dev.until(t, "Waiting for a change."); !strings.Contains(got, file+":1:30: error: ") {
		t.Errorf("a source that does not build is reported as\n%s", got)
	}
	invoke("one")

	writeFile(t, file, `export default () => "two";`)
	dev.until(t, "Deployed hello version 2")
	invoke("two")
	dev.until(t, "hello v2  GET / by id  200")

	if code := dev.stop(t); code != exitOK {
		t.Errorf("exit code after an interrupt = %d, want %d", code, exitOK)
	}
}

func (s *testServer) testDevApp(t *testing.T) {
	env := s.env(s.newApp(t))
	dir := filepath.Join(t.TempDir(), "site")
	writeFile(t, filepath.Join(dir, "package.json"), `{}`)
	writeFile(t, filepath.Join(dir, "index.ts"), `import { text } from "./lib/text"; export default () => text;`)
	writeFile(t, filepath.Join(dir, "lib", "text.ts"), `export const text = "one";`)
	dev := start(t, env, "dev", dir)
	dev.until(t, "site version 1")
	dev.until(t, "Watching ")
	writeFile(t, filepath.Join(dir, "lib", "text.ts"), `export const text = "two";`)
	dev.until(t, "Deployed site version 2")
	if code := dev.stop(t); code != exitOK {
		t.Errorf("exit code after an interrupt = %d, want %d", code, exitOK)
	}
}

func (s *testServer) testDevImport(t *testing.T) {
	env := s.env(s.newApp(t))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "hello.ts"), `import { text } from "./lib/text"; export default () => text;`)
	writeFile(t, filepath.Join(dir, "lib", "text.ts"), `export const text = "one";`)
	dev := start(t, env, "dev", filepath.Join(dir, "hello.ts"))
	dev.until(t, "Watching ")
	writeFile(t, filepath.Join(dir, "lib", "text.ts"), `export const text = "two";`)
	dev.until(t, "Deployed hello version 2")
}

func (s *testServer) testDevEnd(t *testing.T) {
	env := s.env(s.newApp(t))
	file := filepath.Join(t.TempDir(), "hello.ts")
	writeFile(t, file, `export default () => "one";`)
	before := goleak.IgnoreCurrent()
	dev := start(t, env, "dev", file)
	dev.until(t, "Watching ")
	dev.stop(t)
	for range dev.lines {
	}
	goleak.VerifyNone(t, before)
}
