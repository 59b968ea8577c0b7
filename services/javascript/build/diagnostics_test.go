package build_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/javascript/bundle"
)

func diagnostics(t *testing.T, entry cloud.Source, mods map[string]cloud.Source) []cloud.Diagnostic {
	t.Helper()
	_, err := build.New(build.Config{}).Build(t.Context(), entry, mods)
	var e *cloud.Error
	if !errors.As(err, &e) || e.Code != cloud.CodeBuildFailed {
		t.Fatalf("got %v, want CodeBuildFailed", err)
	}
	ds, ok := e.Details.([]cloud.Diagnostic)
	if !ok || len(ds) == 0 {
		t.Fatalf("Details = %#v, want diagnostics", e.Details)
	}
	return ds
}

func TestBuild_Diagnostics(t *testing.T) {
	t.Parallel()
	mods := modules(
		source("alpha", cloud.TypeScript, "export const a: number = 1;"),
		source("beta", cloud.JavaScript, "import './alpha';\n\texport default (;"))
	for _, tc := range []struct {
		name     string
		language cloud.Language
		text     string
		want     []cloud.Diagnostic
	}{
		{"syntax, columns in UTF-16", cloud.TypeScript, "\n/* é🦔 */ let = ;", []cloud.Diagnostic{
			{File: "main.ts", Line: 2, Column: 17, Message: `Unexpected ";"`, SourceLine: "/* é🦔 */ let = ;"}}},
		{"syntax in a module", cloud.JavaScript, "import './beta'", []cloud.Diagnostic{
			{File: "beta.js", Line: 2, Column: 18, Message: `Unexpected ";"`, SourceLine: "\texport default (;"}}},
		{"a module that is not there", cloud.TypeScript, "import g from './gamma.ts'; g()", []cloud.Diagnostic{
			{File: "main.ts", Line: 1, Column: 15, Message: `this app has no module script "gamma"; it has alpha, beta`, SourceLine: "import g from './gamma.ts'; g()"}}},
		{"an export that is not there", cloud.TypeScript, "import { a, b } from './alpha';\nexport default a + b", []cloud.Diagnostic{
			{File: "main.ts", Line: 1, Column: 13, Message: `"alpha.ts" has no export "b"`, SourceLine: "import { a, b } from './alpha';"}}},
		{"a service that is not there yet", cloud.JavaScript, "import { kv, docs, foo } from 'picloud';\nimport * as all from 'picloud';\nexport default [kv, docs, foo, all.mail]", []cloud.Diagnostic{
			{File: "main.js", Line: 1, Column: 14, Message: `"docs" is not available in this version of PiCloud; "picloud" exports deadLetters, kv and secrets`, SourceLine: "import { kv, docs, foo } from 'picloud';"},
			{File: "main.js", Line: 1, Column: 20, Message: `"picloud" has no export "foo"; it exports deadLetters, kv and secrets`, SourceLine: "import { kv, docs, foo } from 'picloud';"},
			{File: "main.js", Line: 3, Column: 36, Message: `"mail" is not available in this version of PiCloud; "picloud" exports deadLetters, kv and secrets`, SourceLine: "export default [kv, docs, foo, all.mail]"}}},
		{"a package", cloud.JavaScript, "import x from '@scope/x';\nexport default x", []cloud.Diagnostic{
			{File: "main.js", Line: 1, Column: 15, Message: "the package \"@scope/x\" is not in this source: npm packages are bundled on your machine, so deploy with `pic deploy`", SourceLine: "import x from '@scope/x';"}}},
		{"a part of Node", cloud.JavaScript, "export default require('child_process')", []cloud.Diagnostic{
			{File: "main.js", Line: 1, Column: 24, Message: `"child_process" is a part of Node that scripts do not have: scripts cannot start processes or threads`, SourceLine: "export default require('child_process')"}}},
		{"a file elsewhere", cloud.JavaScript, "import('../x')", []cloud.Diagnostic{
			{File: "main.js", Line: 1, Column: 8, Message: "\"../x\" is no script of this app: write \"./name\" for a module script, or deploy with `pic deploy`, which bundles files from your disk", SourceLine: "import('../x')"}}},
		{"a declaration twice", cloud.TypeScript, "let a = 1;\nlet a = 2;", []cloud.Diagnostic{
			{File: "main.ts", Line: 2, Column: 5, Message: `The symbol "a" has already been declared`, SourceLine: "let a = 2;"}}},
		{"not UTF-8", cloud.JavaScript, "export default '\xff'", []cloud.Diagnostic{
			{File: "main.js", Line: 1, Column: 1, Message: "the source is not valid UTF-8"}}},
		{"too large", cloud.JavaScript, strings.Repeat(" ", cloud.MaxSource+1), []cloud.Diagnostic{
			{File: "main.js", Line: 1, Column: 1, Message: "the source has 4194305 bytes; at most 4194304 are allowed"}}},
		{"what goja lacks and nothing mends", cloud.JavaScript, "export default 1;\nexport const f = ({ b: [c = 2, ...rest] = [] }) => [c, rest];", []cloud.Diagnostic{
			{File: "main.js", Line: 2, Column: 25, Message: "PiCloud's engine cannot run this: Invalid destructuring binding target", SourceLine: "export const f = ({ b: [c = 2, ...rest] = [] }) => [c, rest];"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := diagnostics(t, source("main", tc.language, tc.text), mods); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestBuild_DiagnosticsAreFew(t *testing.T) {
	t.Parallel()
	text := "export default 1;\n" + strings.Repeat("import { x } from './nothing';\nx();\n", 1) + strings.Repeat("import './nothing'\n", 500)
	if n := len(diagnostics(t, source("main", cloud.JavaScript, text), nil)); n > 20 {
		t.Errorf("%d diagnostics, want at most 20", n)
	}
	long := "export default 1;" + strings.Repeat(" ", 10_000) + "let = ;"
	if d := diagnostics(t, source("main", cloud.JavaScript, long), nil)[0]; d.Column != 10_024 || len(d.SourceLine) > 300 {
		t.Errorf("column %d, a source line of %d bytes; want 10024 and a line cut short", d.Column, len(d.SourceLine))
	}
}

// What is wrong with a bundle of the CLI is told about the file that went in.
func TestBuild_DiagnosticsOfBundles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.ts": "import { send } from \"./lib\";\n\nexport default () => send();\n",
		"lib.ts":  "// é\nimport { mail } from \"picloud\";\ninterface X { a: 1 }\nexport const send = (x?: X) => [mail, x];\nexport const f = ({ b: [c = 2, ...rest] = [] as number[] }) => [c, rest];\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	src, _, err := bundle.File(filepath.Join(dir, "main.ts"), bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := cloud.Diagnostic{File: "lib.ts", Line: 2, Column: 10, Message: `"mail" is not available in this version of PiCloud; "picloud" exports deadLetters, kv and secrets`, SourceLine: `import { mail } from "picloud";`}
	if got := diagnostics(t, src, nil); got[0] != want {
		t.Errorf("got  %+v\nwant %+v", got[0], want)
	}
}
