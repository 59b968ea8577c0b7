package build_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dop251/goja"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/javascript/bundle"
)

const examples = "../../../examples"

// installed is the example's folder with its npm packages in it: the one of the
// checkout if they are there, else a copy where `npm ci` puts them.
func installed(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(examples, name)
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return dir
	}
	copied := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	npm := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	npm.Dir = copied
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in %s: %v\n%s", dir, err, out)
	}
	return copied
}

// prelude stands in for the little of the web APIs that examples touch while
// their modules are evaluated.
const prelude = `globalThis.kv = { collection: name => ({ name }) };
for (const name of ["Response", "Request", "Headers", "URL", "Blob", "File", "FormData", "ReadableStream", "AbortController"]) globalThis[name] = class {};`

func TestExamples(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file  string
		fetch string // path of the handler in the exports
	}{
		{"hello.ts", "default"},
		{"guestbook.ts", "default.fetch"},
		{"shortener.ts", "default.fetch"},
		{"api.ts", "default.fetch"},
		{"stream.ts", "default"},
		{"hono/index.ts", "default.fetch"},
		{"itty/index.ts", "default.fetch"},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(examples, tc.file)
			folder, base := filepath.Split(tc.file)
			if folder != "" {
				path = filepath.Join(installed(t, filepath.Clean(folder)), base)
			}
			src, info, err := bundle.File(path, bundle.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if info.Kind != cloud.Endpoint || info.Bundled != (folder != "") {
				t.Errorf("kind %s, bundled %v", info.Kind, info.Bundled)
			}
			b := mustBuild(t, src, nil)
			vm := goja.New()
			if _, err := vm.RunString(prelude); err != nil {
				t.Fatal(err)
			}
			main, err := vm.RunString(b.Code)
			if err != nil {
				t.Fatal(err)
			}
			call, _ := goja.AssertFunction(main)
			platform := vm.NewObject()
			_ = platform.Set("kv", vm.Get("kv"))
			promised, err := call(goja.Undefined(), platform)
			if err != nil {
				t.Fatal(err)
			}
			_ = vm.Set("exports", settled(t, promised))
			if got, err := vm.RunString("typeof exports." + tc.fetch); err != nil || got.String() != "function" {
				t.Errorf("%s is %v, %v; want a function", tc.fetch, got, err)
			}
		})
	}
}

// A lock file that names a registry breaks behind a mirror or proxy.
func TestExamples_LockFilesNameNoRegistry(t *testing.T) {
	t.Parallel()
	locks := 0
	err := filepath.WalkDir(examples, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err != nil || d.Name() != "package-lock.json" {
			return err
		}
		locks++
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), `"resolved"`) {
			t.Errorf("%s has resolved addresses; write it by `npm install --omit-lockfile-registry-resolved`", path)
		}
		return err
	})
	if err != nil || locks != 2 {
		t.Errorf("%d lock files, %v; want those of hono and itty", locks, err)
	}
}

func TestExamples_HeaderComments(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob(examples + "/*.ts")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(examples + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(scripts, examples+"/hono/index.ts", examples+"/itty/index.ts") {
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text), "// ") || !strings.Contains(string(text), "\n//   pic deploy ") {
			t.Errorf("%s does not begin by saying what it is and how to deploy it (%v)", file, err)
		}
		rel, _ := filepath.Rel(examples, file)
		if !strings.Contains(string(readme), "("+filepath.ToSlash(rel)+")") {
			t.Errorf("README.md has no row for %s", rel)
		}
	}
}

// zod as published, all of it: unions of everything that goja lacks.
func TestBuild_Zod(t *testing.T) {
	t.Parallel()
	packages, err := filepath.Abs(filepath.Join(installed(t, "hono"), "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(packages, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "all.ts")
	text := `import * as z from "zod";
export default () => [
	z.object({ a: z.string().email(), b: z.coerce.number().int() }).safeParse({ a: "a@b.de", b: "4" }).data,
	z.object({ a: z.string() }).safeParse({ a: 1 }).error?.issues[0].path,
	z.toJSONSchema(z.array(z.string())).type,
	z.discriminatedUnion("t", [z.object({ t: z.literal("x"), x: z.number() }), z.object({ t: z.literal("y") })]).parse({ t: "x", x: 1 }),
]`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	src, _, err := bundle.File(file, bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"a":"a@b.de","b":4},["a"],"array",{"t":"x","x":1}]`
	if got := result(t, src, nil); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Fields are lowered nowhere: that made Hono several times slower.
func TestBuild_KeepsClassFields(t *testing.T) {
	t.Parallel()
	src, _, err := bundle.File(filepath.Join(installed(t, "hono"), "index.ts"), bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := build.New(build.Config{}).Build(t.Context(), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.Code, "__publicField") || strings.Contains(b.Code, "__privateAdd") {
		t.Error("class fields were lowered")
	}
}
