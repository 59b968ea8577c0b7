package build_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dop251/goja"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/javascript/bundle"
)

// stackOf calls the default export and returns the mapped stack of what it
// throws.
func stackOf(t *testing.T, b cloud.Build) string {
	t.Helper()
	vm, exports := evaluate(t, b)
	call, ok := goja.AssertFunction(exports.Get("default"))
	if !ok {
		t.Fatal("the default export is no function")
	}
	v, err := call(goja.Undefined())
	var thrown goja.Value
	if exception, ok := errors.AsType[*goja.Exception](err); ok {
		thrown = exception.Value()
	} else if p, ok := v.Export().(*goja.Promise); ok {
		thrown = p.Result()
	}
	if thrown == nil {
		t.Fatalf("nothing was thrown: %v, %v", v, err)
	}
	return build.MapStack(&b, thrown.ToObject(vm).Get("stack").String())
}

func TestMapStack(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		entry cloud.Source
		mods  map[string]cloud.Source
		want  string
	}{
		{"TypeScript", source("main", cloud.TypeScript, "interface A {\n  x: number;\n}\n\nfunction fail(a: A): never {\n  throw new TypeError(`é🦔 ${a.x}`);\n}\nexport default function handler() {\n  /* é🦔 */ fail({ x: 1 });\n}\n"), nil,
			"TypeError: é🦔 1\nat fail (main.ts:6:9)\nat handler (main.ts:9:13)"},
		{"a module", source("main", cloud.JavaScript, "import { boom } from './deep';\nexport default () => {\n  boom();\n};"),
			modules(source("deep", cloud.TypeScript, "type T = 1;\nexport function boom() {\n  (undefined as any).x;\n}")),
			"TypeError: Cannot read property 'x' of undefined\nat boom (deep.ts:3:22)\nat main_default (main.js:3:3)"},
		{"behind a mended field", source("main", cloud.JavaScript, "class A {\n  async = () => 1; get = () => { throw new Error('x') }\n}\nexport default function f() { new A().get() }"), nil,
			"Error: x\nat get (main.js:2:40)\nat f (main.js:4:39)"},
		{"behind a mended pattern", source("main", cloud.JavaScript, "export default function f({ b: [c = 2] = [] } = {}) { throw new Error(c) }"), nil,
			"Error: 2\nat f (main.js:1:61)"},
		{"an async function", source("main", cloud.JavaScript, "async function inner() {\n  await null;\n  throw new Error('late');\n}\nexport default async function f() {\n  await inner();\n}"), nil,
			"Error: late\nat inner (main.js:3:9)\nat f (main.js:6:9)"},
		{"an async generator, which is lowered", source("main", cloud.JavaScript, "async function* g() {\n  yield 1;\n  throw new Error('late');\n}\nexport default async function f() {\n  for await (const x of g());\n}"), nil,
			"Error: late\nat main.js:3:9\nat f (main.js:6:3)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := stackOf(t, mustBuild(t, tc.entry, tc.mods)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestMapStack_ThroughABundle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.ts":    "import { Box } from \"./lib/box\";\n\ntype X = 1;\nexport default function handler() {\n  new Box().get(\"é\");\n}\n",
		"lib/box.ts": "export class Box {\n  set = 1; get = (s: string): never => {\n    throw new Error(s);\n  };\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	src, _, err := bundle.File(filepath.Join(dir, "main.ts"), bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "Error: é\nat get (lib/box.ts:3:11)\nat handler (main.ts:5:13)"
	if got := stackOf(t, mustBuild(t, src, nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMapStack_Text(t *testing.T) {
	t.Parallel()
	b := mustBuild(t, source("main", cloud.JavaScript, "export default 1"), nil)
	line := 0
	for i, l := range strings.Split(b.Code, "\n") {
		if strings.Contains(l, "main_default = 1") {
			line = i + 1
		}
	}
	if line == 0 {
		t.Fatalf("no line of the code has the export:\n%s", b.Code)
	}
	at := "main:" + strconv.Itoa(line) + ":1"
	for stack, want := range map[string]string{
		"":                                    "",
		"Error: a\nb":                         "Error: a\nb",
		"at f (" + at + ")":                   "at f (main.js:1:1)",
		"\tat " + at + "(12)\n":               "at main.js:1:1",
		"at f (" + at + "(3))\nat g (native)": "at f (main.js:1:1)",
		"at f (main:1:1)":                     "",
		"at f (main:99999:1)":                 "",
		"at f (main:99999999999999999999:1)":  "",
	} {
		if got := build.MapStack(&b, stack); got != want {
			t.Errorf("MapStack(%q) = %q, want %q", stack, got, want)
		}
	}
	if got := build.MapStack(&cloud.Build{}, "Error: a\nat f ("+at+")"); got != "Error: a" {
		t.Errorf("without a map: %q, want the message alone", got)
	}
}

func TestMapText(t *testing.T) {
	t.Parallel()
	b := mustBuild(t, source("main", cloud.JavaScript, "export default 1"), nil)
	before, _, found := strings.Cut(b.Code, "main_default = 1")
	if !found {
		t.Fatalf("the code has no export:\n%s", b.Code)
	}
	at := "main:" + strconv.Itoa(strings.Count(before, "\n")+1) + ":1"
	for text, want := range map[string]string{
		"":                                   "",
		"we meet at " + at:                   "we meet at " + at,
		"Error: a\n    at f (" + at + ") {":  "Error: a\n    at f (main.js:1:1) {",
		"x\n\tat " + at + "(12)\n\ny":        "x\n\tat main.js:1:1\n\ny",
		"at f (" + at + "(3)) b\n at native": "at f (main.js:1:1) b\n at native",
		"at f (" + at[len("main"):] + ")":    "at f (" + at[len("main"):] + ")",
		"at f (other" + at + ")":             "at f (other" + at + ")",
		"at f (main:1:1)":                    "at f (main:1:1)",
		"at f (main:99999999999999999999:1)": "at f (main:99999999999999999999:1)",
	} {
		texts := []string{"at g (" + at + ")", text}
		build.MapText(&b, "main", texts)
		if texts[0] != "at g (main.js:1:1)" || texts[1] != want {
			t.Errorf("MapText(%q) = %q, want %q", text, texts, want)
		}
	}
	texts := []string{"at f (" + at + ")"}
	if build.MapText(&cloud.Build{}, "main", texts); texts[0] != "at f ("+at+")" {
		t.Errorf("without a map: %q", texts)
	}
}
