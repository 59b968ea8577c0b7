package build_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"
	"github.com/go-sourcemap/sourcemap"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
)

func source(name string, language cloud.Language, text string) cloud.Source {
	return cloud.Source{Name: name, Language: language, Text: text}
}

func modules(sources ...cloud.Source) map[string]cloud.Source {
	m := map[string]cloud.Source{}
	for _, s := range sources {
		m[s.Name] = s
	}
	return m
}

func mustBuild(t *testing.T, entry cloud.Source, mods map[string]cloud.Source) cloud.Build {
	t.Helper()
	b, err := build.New(build.Config{}).Build(t.Context(), entry, mods)
	if err != nil {
		t.Fatalf("%#v", err)
	}
	return b
}

// evaluate runs the build in plain goja and returns its exports.
func evaluate(t *testing.T, b cloud.Build) (*goja.Runtime, *goja.Object) {
	t.Helper()
	vm := goja.New()
	program, err := goja.Compile("script", b.Code, false)
	if err != nil {
		t.Fatalf("goja does not compile the build: %v", err)
	}
	value, err := vm.RunProgram(program)
	if err != nil {
		t.Fatal(err)
	}
	call, ok := goja.AssertFunction(value)
	if !ok {
		t.Fatalf("Code is %T, not a function", value.Export())
	}
	platform := vm.NewObject()
	_ = platform.Set("kv", "the kv")
	_ = platform.Set("deadLetters", "the dead letters")
	promised, err := call(goja.Undefined(), platform)
	if err != nil {
		t.Fatal(err)
	}
	return vm, settled(t, promised).ToObject(vm)
}

func settled(t *testing.T, v goja.Value) goja.Value {
	t.Helper()
	p, ok := v.Export().(*goja.Promise)
	if !ok {
		return v
	}
	if p.State() != goja.PromiseStateFulfilled {
		t.Fatalf("promise is in state %v: %v", p.State(), p.Result())
	}
	return p.Result()
}

// result builds the source of a module whose default export is what it computes.
func result(t *testing.T, entry cloud.Source, mods map[string]cloud.Source) string {
	t.Helper()
	vm, exports := evaluate(t, mustBuild(t, entry, mods))
	v := settled(t, exports.Get("default"))
	if call, ok := goja.AssertFunction(v); ok {
		r, err := call(goja.Undefined())
		if err != nil {
			t.Fatal(err)
		}
		v = settled(t, r)
	}
	_ = vm.Set("v", v)
	text, err := vm.RunString("JSON.stringify(v)")
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestBuild_Language(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		language cloud.Language
		text     string
		want     string
	}{
		{"types, enums and namespaces", cloud.TypeScript, `
			enum Color { Red = 1, Green }
			namespace N { export const x = 3 }
			type T = { a: number }
			abstract class A<X extends T> { constructor(private x: X, readonly y = 2) {} sum() { return this.x.a + this.y! } }
			class B extends A<T> {}
			export default [Color.Green, Color[1], N.x, new B({ a: 5 } satisfies T).sum() as number]`, `[2,"Red",3,7]`},
		{"decorators", cloud.TypeScript, `
			const log: string[] = []
			function twice(f: any, ctx: any) { log.push(ctx.kind + " " + String(ctx.name)); return function (this: any, ...a: any[]) { return 2 * f.apply(this, a) } }
			class A { @twice m(x: number) { return x + 1 } accessor z = 4 }
			export default [new A().m(2), new A().z, ...log]`, `[6,4,"method m"]`},
		{"JSX", cloud.TSX, `
			const React = { createElement: (tag: any, props: any, ...kids: any[]) => ({ tag, props, kids }), Fragment: "frag" }
			export default <><b id="x">hi {1 + 1}</b></>`, `{"tag":"frag","props":null,"kids":[{"tag":"b","props":{"id":"x"},"kids":["hi ",2]}]}`},
		{"top-level await", cloud.JavaScript, `
			const x = await new Promise(r => r(4));
			export default await Promise.all([x, 5])`, `[4,5]`},
		{"async generators and for await", cloud.JavaScript, `
			async function* g() { yield 1; yield* [2, 3]; const x = yield await Promise.resolve(4); yield x }
			const o = { async *m() { yield "m" } };
			class C { static async *s() { yield "s" } }
			const out = [];
			for await (const x of g()) out.push(x);
			export default async () => { for await (const x of o.m()) out.push(x); for await (const x of C.s()) out.push(x); return out }`, `[1,2,3,4,null,"m","s"]`},
		{"using", cloud.JavaScript, `
			const log = [];
			Symbol.dispose ??= Symbol("dispose");
			{ using a = { [Symbol.dispose]() { log.push("a") } }; using b = { [Symbol.dispose]() { log.push("b") } }; log.push("body") }
			export default log`, `["body","b","a"]`},
		{"class fields named get, set and async", cloud.JavaScript, `
			class A {
				get = 1
				set = /* a comment */ (a, b) => a + b;
				async = { get: 2 }
				static get = 3; static set = 4
				static async = 5
				get x() { return this.get }
				set y(v) { this.get = v }
				async z() { return 6 }
				static = 7
			}
			class B { get; set; async; static get; static static = 8 }
			const a = new A(); a.y = 10;
			export default async () => [a.x, a.set(1, 2), a.async, A.get, A.set, A.async, await a.z(), a.static, Object.keys(new B()), B.static]`,
			`[10,3,{"get":2},3,4,5,6,7,["get","set","async"],8]`},
		{"assignments to get, set and async stay", cloud.JavaScript, `
			let get = 1, set, async;
			class A { get = () => { get = 2; set = 3; async = 4; return [get, set, async] } }
			export default new A().get()`, `[2,3,4]`},
		{"nested patterns with defaults", cloud.JavaScript, `
			const f = ({ b: [c = 2] = [] }) => c;
			function g([[x, y = 1, z = y + 1] = []]) { return [x, y, z] }
			const { p: { q: [r = 5] = [6], ...rest } } = { p: { s: 1 } };
			const [{ a: [d = [7], e] = [, 8] } = {}] = [];
			export default [f({}), f({ b: [9] }), g([[3]]), g([]), r, rest, d, e]`, `[2,9,[3,1,2],[null,1,2],6,{"s":1},[7],8]`},
		{"import.meta is empty", cloud.JavaScript, `export default typeof import.meta.url`, `"undefined"`},
		{"names of the wrapper are free", cloud.JavaScript, `
			const __exports = 1, exports = 2; let __picloud = 3;
			export default [__exports, exports, __picloud]`, `[1,2,3]`},
		{"CommonJS", cloud.JavaScript, `module.exports = { a: 1 }`, `{"a":1}`},
		{"strict mode", cloud.JavaScript, `export default (function () { return this === undefined })()`, `true`},
		{"the module picloud", cloud.JavaScript, `
			import { kv, deadLetters as dl } from "picloud";
			import * as all from "picloud";
			export default async () => [kv, dl, Object.keys(all), (await import("picloud")).kv]`,
			`["the kv","the dead letters",["deadLetters","kv","secrets"],"the kv"]`},
		{"text beyond ASCII", cloud.JavaScript, "export default \"grüß 🦔\" + `\u2028é` + /[é-ü]/.test('ö')", "\"grüß 🦔\u2028étrue\""},
		{"a source map comment in a string", cloud.JavaScript, "export default '//# sourceMappingURL=data:application/json;base64,e30='", `"//# sourceMappingURL=data:application/json;base64,e30="`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := result(t, source("main", tc.language, tc.text), nil); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestBuild_Exports(t *testing.T) {
	t.Parallel()
	b := mustBuild(t, source("main", cloud.TypeScript, `
		export * from "./mod"
		export * as ns from "./mod"
		export type T = string
		const handler = { fetch() { return "hi" } }
		export let n = 1
		export function bump() { n++ }
		export { handler as default, n as "two words" }
	`), modules(source("mod", cloud.TypeScript, `export const a = 1; export default 2; export interface I {}`)))
	if got, want := strings.Join(b.Exports, ","), "a,bump,default,n,ns,two words"; got != want {
		t.Errorf("Exports = %s, want %s", got, want)
	}
	_, exports := evaluate(t, b)
	if got, want := strings.Join(exports.Keys(), ","), "a,bump,default,n,ns,two words"; got != want {
		t.Errorf("the program exports %s, want %s", got, want)
	}
	bump, _ := goja.AssertFunction(exports.Get("bump"))
	if _, err := bump(goja.Undefined()); err != nil {
		t.Fatal(err)
	}
	if got := exports.Get("two words").ToInteger(); got != 2 {
		t.Errorf("an export is not live: %d, want 2", got)
	}
}

func TestBuild_Modules(t *testing.T) {
	t.Parallel()
	t.Run("modules import modules", func(t *testing.T) {
		t.Parallel()
		entry := source("main", cloud.TypeScript, `import { a } from "./a"; import b from "./b.js"; export default [a, b]`)
		mods := modules(
			source("a", cloud.TypeScript, `import b from "./b.ts"; export const a: string = "a" + b`),
			source("b", cloud.JavaScript, `export default "b"`),
			source("unused", cloud.JavaScript, `this is no JavaScript`))
		if got, want := result(t, entry, mods), `["ab","b"]`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := strings.Join(mustBuild(t, entry, mods).Imports, ","), "a,b"; got != want {
			t.Errorf("Imports = %s, want %s", got, want)
		}
	})
	t.Run("cycles, also through the entry", func(t *testing.T) {
		t.Parallel()
		got := result(t, source("a", cloud.JavaScript, `import { b } from "./b"; export const a = () => "a"; export default () => b()`),
			modules(source("b", cloud.JavaScript, `import { c } from "./c"; export const b = () => "b" + c()`),
				source("c", cloud.JavaScript, `import { a } from "./a"; import { b } from "./b"; export const c = () => a() + typeof b`),
				source("a", cloud.JavaScript, `an old text of a`)))
		if want := `"bafunction"`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("import()", func(t *testing.T) {
		t.Parallel()
		got := result(t, source("main", cloud.JavaScript, `export default async () => { const m = await import("./late"); return [m.default, Object.keys(m)] }`),
			modules(source("late", cloud.JavaScript, `export default 1; export const x = 2`)))
		if want := `[1,["default","x"]]`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestBuild_Hash(t *testing.T) {
	t.Parallel()
	a := mustBuild(t, source("main", cloud.JavaScript, `export default 1`), nil)
	b := mustBuild(t, source("main", cloud.JavaScript, `export default 1`), nil)
	c := mustBuild(t, source("main", cloud.JavaScript, `export default 2`), nil)
	if len(a.Hash) != 64 || a.Hash != b.Hash || a.Hash == c.Hash {
		t.Errorf("hashes %s %s %s: equal builds have equal ones, others not", a.Hash, b.Hash, c.Hash)
	}
}

func TestBuild_RefusesNamesAndLanguages(t *testing.T) {
	t.Parallel()
	for _, s := range []cloud.Source{{Name: "main", Language: "rust"}, {Name: "main", Language: "js\xf6"}, {Name: "../main"}, {}} {
		if _, err := build.New(build.Config{}).Build(t.Context(), s, nil); cloud.CodeOf(err) != cloud.CodeInvalid {
			t.Errorf("%+v: %v, want CodeInvalid", s, err)
		}
	}
}

func TestBuild_Stops(t *testing.T) {
	t.Parallel()
	t.Run("when the context ends", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := build.New(build.Config{}).Build(ctx, source("main", cloud.JavaScript, `export default 1`), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	t.Run("after the timeout", func(t *testing.T) {
		t.Parallel()
		_, err := build.New(build.Config{Timeout: time.Nanosecond}).Build(t.Context(), source("main", cloud.JavaScript, `export default 1`), nil)
		if cloud.CodeOf(err) != cloud.CodeLimit {
			t.Errorf("got %v, want CodeLimit", err)
		}
	})
}

// The map must be one that other tools read the same way.
func TestBuild_SourceMapIsStandard(t *testing.T) {
	t.Parallel()
	b := mustBuild(t, source("main", cloud.JavaScript, "class A { get = 1; set = two }\nexport default A"), nil)
	m, err := sourcemap.Parse("", b.SourceMap)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.Code, "\n")
	for i, line := range lines {
		column := strings.Index(line, "two")
		if column < 0 {
			continue
		}
		file, _, l, c, ok := m.Source(i+1, column)
		if !ok || file != "main.js" || l != 1 || c != 25 {
			t.Errorf("%q comes from %s:%d:%d (%v), want main.js:1:25", line, file, l, c, ok)
		}
		return
	}
	t.Errorf("the code lost the initialiser:\n%s", b.Code)
}
