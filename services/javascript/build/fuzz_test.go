package build_test

import (
	"errors"
	"testing"

	"github.com/dop251/goja"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
)

var languages = []cloud.Language{cloud.JavaScript, cloud.TypeScript, cloud.JSX, cloud.TSX}

// Whatever the source: a build ends with code that goja compiles, or with an
// error that points into a file.
func FuzzBuild(f *testing.F) {
	for _, s := range []string{
		"export default 1",
		"import { kv } from 'picloud'; export default { fetch() { return kv } }",
		"class A { get = 1; set; async = () => {}; static get = 2 }; export { A as default }",
		"export const f = ({ b: [c = 2, d] = [], ...r }, [[e = 1] = []]) => c",
		"async function* g() { yield* g() } for await (const x of g()) { using y = x }",
		"export default /[\\p{L}--x]/v.test(`${/y/y}`)",
		"import './mod'; import('./mod'); export * from './mod'",
		"@a class B { @b accessor c = 1; #d; static { this.#d } }",
		"export default <a b={1}>é</a>",
		"enum E { a = 'b' } namespace N { export let x: E = E.a } export = N",
		"\n//# sourceMappingURL=data:application/json;base64,eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbIngiXSwibWFwcGluZ3MiOiJBQUFBIn0=",
		"label: for (;;) { break label } export default import.meta.url + new.target",
	} {
		for l := range languages {
			f.Add(s, uint8(l))
		}
	}
	b := build.New(build.Config{})
	mods := modules(source("mod", cloud.TypeScript, "export const a: number = 1; export default 2"))
	f.Fuzz(func(t *testing.T, text string, language uint8) {
		if len(text) > 4<<10 {
			t.Skip("the parsers' stack is bounded by a process of its own, not here")
		}
		out, err := b.Build(t.Context(), source("main", languages[int(language)%len(languages)], text), mods)
		if err != nil {
			var e *cloud.Error
			if !errors.As(err, &e) || e.Code != cloud.CodeBuildFailed {
				t.Fatalf("%v is no build error", err)
			}
			for _, d := range e.Details.([]cloud.Diagnostic) {
				if d.File == "" || d.Line < 1 || d.Column < 1 || d.Message == "" {
					t.Errorf("%+v points nowhere", d)
				}
			}
			return
		}
		if _, err := goja.Compile("main", "("+out.Code+")", false); err != nil {
			t.Errorf("goja refuses an accepted build: %v\n%s", err, out.Code)
		}
		build.MapStack(&out, "at f (main:3:1)\nat main:9:9")
	})
}
