package specifier_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/javascript/specifier"
)

func TestSibling(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"./name": "name", "./name.ts": "name", "./name.js": "name", "./name.tsx": "name", "./n-1_X.mjs": "n-1_X",
		"name": "", "./a/b": "", "../name": "", "./": "", "./name.json": "", "./.ts": "", "/name": "", "": "", "./é": "",
	} {
		got, ok := specifier.Sibling(spec)
		if ok != (want != "") || ok && got != want {
			t.Errorf("Sibling(%q) = %q, %v; want %q", spec, got, ok, want)
		}
	}
}

func TestNodeBuiltin(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"fs", "node:fs", "fs/promises", "net", "child_process", "node:test", "node:whatever", "buffer"} {
		if reason, ok := specifier.NodeBuiltin(spec); !ok || !strings.HasPrefix(reason, `"`+spec+`" is a part of Node`) {
			t.Errorf("NodeBuiltin(%q) = %q, %v", spec, reason, ok)
		}
	}
	for _, spec := range []string{"hono", "picloud", "./fs", "whatever", "fs-extra", ""} {
		if reason, ok := specifier.NodeBuiltin(spec); ok {
			t.Errorf("NodeBuiltin(%q) = %q", spec, reason)
		}
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	if got, want := specifier.Missing("docs"), `"docs" is not available in this version of PiCloud; "picloud" exports deadLetters, kv and secrets`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := specifier.Missing("doc"), `"picloud" has no export "doc"; it exports deadLetters, kv and secrets`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !slices.IsSorted(specifier.Provided) {
		t.Error("Provided is not sorted")
	}
}
