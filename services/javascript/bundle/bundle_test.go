package bundle_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/bundle"
)

// folder writes files, name and text in turn, and returns their folder "app".
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const typescript = "import { kv } from \"picloud\";\nimport type { X } from \"./nowhere-at-all\";\nimport greet from \"./greet\";\nexport default (r: Request): X => greet(kv);\nexport const a: number = 1;\n"

func TestFile_StandsAlone(t *testing.T) {
	t.Parallel()
	dir := folder(t, "guestbook.ts", typescript)
	source, info, err := bundle.File(filepath.Join(dir, "guestbook.ts"), bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (cloud.Source{Name: "guestbook", Language: cloud.TypeScript, Text: typescript}); source != want {
		t.Errorf("source = %+v, want the file as it is", source)
	}
	want := bundle.Info{
		Kind:    cloud.Endpoint,
		Exports: []string{"a", "default"},
		Imports: []string{"greet"},
		Inputs:  []string{filepath.Join(dir, "guestbook.ts")},
	}
	if !reflect.DeepEqual(info, want) {
		t.Errorf("info = %+v, want %+v", info, want)
	}
}

func TestFile_Kind(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]cloud.ScriptKind{
		"export default 1":                         cloud.Endpoint,
		"const f = 1; export { f as default, f }":  cloud.Endpoint,
		"export const f = 1":                       cloud.Module,
		"export default interface I {}":            cloud.Module,
		"":                                         cloud.Module,
		"export { default } from './other'":        cloud.Endpoint,
		"export * from './other'":                  cloud.Module,
		"type T = 1; export type { T as default }": cloud.Module,
	} {
		dir := folder(t, "a.ts", text)
		_, info, err := bundle.File(filepath.Join(dir, "a.ts"), bundle.Options{})
		if err != nil || info.Kind != want || info.Bundled {
			t.Errorf("%q: kind %q, bundled %v, %v; want %q as it is", text, info.Kind, info.Bundled, err, want)
		}
	}
}

func TestFile_Bundles(t *testing.T) {
	t.Parallel()
	dir := folder(t,
		"shop.ts", "import { price } from \"./lib/price.js\";\nimport pack from \"@scope/pack/sub\";\nimport buffer from \"buffer\";\nimport data from \"./data.json\";\nimport { kv } from \"picloud\";\nimport later from \"./later\";\nexport default () => [price(1), pack, data, kv, buffer, later];\n",
		"data.json", `{"a": 1}`,
		"lib/price.ts", "import { kv } from \"picloud\";\nimport { tax } from \"./tax\";\nexport const price = (n: number) => { kv; return n * tax };\n",
		"lib/tax.ts", "export const tax = 1.19;\n",
		"node_modules/@scope/pack/package.json", `{"name": "@scope/pack", "exports": {"./sub": {"node": "./node.js", "worker": "./worker.js", "default": "./node.js"}}}`,
		"node_modules/@scope/pack/node.js", "import fs from 'fs'; export default fs",
		"node_modules/@scope/pack/worker.js", "export default process.env.NODE_ENV === 'production' ? 'the worker' : 0",
		"node_modules/buffer/package.json", `{"name": "buffer", "main": "index.js", "module": "esm.js"}`,
		"node_modules/buffer/index.js", "module.exports = 'main'",
		"node_modules/buffer/esm.js", "export default 'module'",
	)
	source, info, err := bundle.File(filepath.Join(dir, "shop.ts"), bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := bundle.Info{Kind: cloud.Endpoint, Exports: []string{"default"}, Imports: []string{"later"}, Bundled: true}
	for _, f := range []string{"data.json", "lib/price.ts", "lib/tax.ts", "node_modules/@scope/pack/worker.js", "node_modules/buffer/esm.js", "shop.ts"} {
		want.Inputs = append(want.Inputs, filepath.Join(dir, f))
	}
	if !reflect.DeepEqual(info, want) {
		t.Errorf("info = %+v, want %+v", info, want)
	}
	if source.Name != "shop" || source.Language != cloud.JavaScript {
		t.Errorf("the source is %s in %s, want shop in js", source.Name, source.Language)
	}
	for _, s := range []string{`from "picloud"`, `from "./later"`, "the worker", "export {\n  shop_default as default\n}"} {
		if !strings.Contains(source.Text, s) {
			t.Errorf("the bundle lacks %q:\n%s", s, source.Text)
		}
	}
	contents := contentsOf(t, source.Text)
	if got := contents["lib/tax.ts"]; got == nil || *got != "export const tax = 1.19;\n" {
		t.Errorf("the map carries %v for lib/tax.ts, want its text", got)
	}
	if got, ok := contents["node_modules/buffer/esm.js"]; !ok || got != nil {
		t.Errorf("the map carries %v for a package's file (named: %v), want its name alone", got, ok)
	}
}

// contentsOf reads the inline map of a bundle.
func contentsOf(t *testing.T, text string) map[string]*string {
	t.Helper()
	_, encoded, ok := strings.Cut(text, "\n//# sourceMappingURL=data:application/json;base64,")
	if !ok {
		t.Fatal("the bundle has no source map")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Sources        []string
		SourcesContent []*string
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	contents := map[string]*string{}
	for i, s := range m.Sources {
		contents[s] = m.SourcesContent[i]
	}
	return contents
}

func TestFile_NamesIndexAfterItsFolder(t *testing.T) {
	t.Parallel()
	dir := folder(t, "index.ts", "export default 1")
	source, _, err := bundle.File(filepath.Join(dir, "index.ts"), bundle.Options{})
	if err != nil || source.Name != "app" {
		t.Errorf("name %q, %v; want app", source.Name, err)
	}
}

func TestFile_Refuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file, text string
		want             cloud.Diagnostic
	}{
		{"syntax", "a.ts", "const x = 1;\n/* é🦔 */ let = ;", cloud.Diagnostic{File: "a.ts", Line: 2, Column: 17, Message: `Unexpected ";"`, SourceLine: "/* é🦔 */ let = ;"}},
		{"a part of Node", "a.js", "import fs from \"node:fs\"; export default fs", cloud.Diagnostic{File: "a.js", Line: 1, Column: 16, Message: `"node:fs" is a part of Node that scripts do not have: scripts have no file system; keep data in kv`, SourceLine: "import fs from \"node:fs\"; export default fs"}},
		{"a package that is not there", "a.js", "import x from \"@a/b/c\"; export default x", cloud.Diagnostic{File: "a.js", Line: 1, Column: 15, Message: "the package \"@a/b/c\" is not installed here, or has no such part; run `npm install @a/b`", SourceLine: "import x from \"@a/b/c\"; export default x"}},
		{"a file that is not there", "a.js", "import x from \"../x\"; export default x", cloud.Diagnostic{File: "a.js", Line: 1, Column: 15, Message: `there is no file "../x"`, SourceLine: "import x from \"../x\"; export default x"}},
		{"a fault in an imported file", "a.js", "import \"./lib/b\"", cloud.Diagnostic{File: "lib/b.ts", Line: 1, Column: 7, Message: `Expected identifier but found "="`, SourceLine: "const = 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, tc.file, tc.text, "lib/b.ts", "const = 1")
			_, _, err := bundle.File(filepath.Join(dir, tc.file), bundle.Options{})
			var e *cloud.Error
			if !errors.As(err, &e) || e.Code != cloud.CodeBuildFailed {
				t.Fatalf("got %v, want CodeBuildFailed", err)
			}
			if ds, _ := e.Details.([]cloud.Diagnostic); len(ds) != 1 || ds[0] != tc.want {
				t.Errorf("got  %+v\nwant %+v", e.Details, tc.want)
			}
		})
	}
	dir := folder(t, "a.txt", "", "a b.ts", "", "big.ts", strings.Repeat(" ", cloud.MaxSource+1))
	for file, want := range map[string]string{
		"none.ts": "does not exist",
		"a.txt":   "is no script",
		"a b.ts":  "a name that it cannot have",
		"big.ts":  "at most 4194304 are allowed",
	} {
		_, _, err := bundle.File(filepath.Join(dir, file), bundle.Options{})
		if cloud.CodeOf(err) != cloud.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want CodeInvalid with %q", file, err, want)
		}
	}
}

func TestFile_ToleratesOptionalParts(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.js", `import x from "./b.cjs"; export default x`,
		"b.cjs", `let fs; try { fs = require("fs") } catch {} module.exports = fs`)
	if _, info, err := bundle.File(filepath.Join(dir, "a.js"), bundle.Options{}); err != nil || !info.Bundled {
		t.Errorf("a require inside try fails the build: %v", err)
	}
}

func TestDir(t *testing.T) {
	t.Parallel()
	dir := folder(t,
		"index.ts", "import { greet } from \"./greet.js\"; import \"./lib/x\"; import { kv } from \"picloud\"; export default () => greet(kv)",
		"greet.ts", "export const greet = (x: unknown) => x;",
		"uses-index.js", "export { default as f } from \"./index\"",
		"lib/x.ts", "import { greet } from \"../greet\"; console.log(greet)",
		"greet.test.ts", "import 'vitest'", "env.d.ts", "declare const x: 1", "vite.config.ts", "import 'vite'", ".hidden.ts", "-", "README.md", "# Hi")
	scripts, err := bundle.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		name    string
		kind    cloud.ScriptKind
		bundled bool
		imports string
	}
	var got []row
	for _, s := range scripts {
		got = append(got, row{s.Source.Name, s.Info.Kind, s.Info.Bundled, strings.Join(s.Info.Imports, ",")})
	}
	want := []row{
		{"app", cloud.Endpoint, true, "greet"},
		{"greet", cloud.Module, false, ""},
		{"uses-index", cloud.Module, true, "app"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if text := scripts[0].Source.Text; !strings.Contains(text, `from "./greet"`) {
		t.Errorf("a sibling was bundled:\n%s", text)
	}
	if text := scripts[2].Source.Text; !strings.Contains(text, `from "./app"`) {
		t.Errorf("the import of index was not renamed:\n%s", text)
	}
}

func TestDir_Refuses(t *testing.T) {
	t.Parallel()
	for want, dir := range map[string]string{
		"holds no script":            folder(t, "README.md", ""),
		"would both be the script":   folder(t, "a.ts", "", "a.js", ""),
		"a name that it cannot have": folder(t, "a.b.ts", ""),
		"does not exist":             filepath.Join(t.TempDir(), "none"),
	} {
		if _, err := bundle.Dir(dir); cloud.CodeOf(err) != cloud.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want CodeInvalid with %q", err, want)
		}
	}
}
