package engine

import (
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/javascript/regexpclass"
)

// Bounds of a realm's patterns.
const (
	maxPatterns      = 64
	maxPatternLength = 1 << 12
)

type regexpKey struct{ pattern, flags string }

// guardRegExp adds to the RegExp constructor what goja lacks: the v flag and the
// property classes of u, and the d flag, which it takes without making indices.
//
// A pattern that was compiled is kept, because the build turns literals with
// these flags into calls of the constructor: in a loop, each round would compile.
func (r *Runtime) guardRegExp(global *goja.Object) {
	construct, _ := goja.AssertConstructor(global.Get("RegExp"))
	patterns := map[regexpKey]*goja.Object{}
	r.guardConstructor(global, "RegExp", func(args []goja.Value, derived bool) []goja.Value {
		if len(args) == 0 {
			return args
		}
		pattern, ok := args[0].(goja.String)
		if !ok {
			return args
		}
		flags := ""
		if len(args) > 1 && !goja.IsUndefined(args[1]) {
			f, ok := args[1].(goja.String)
			if !ok {
				return args
			}
			flags = f.String()
		}
		// In Go, lone surrogates are all one character.
		key := regexpKey{pattern.String(), flags}
		if derived || pattern.Length() > maxPatternLength || strings.ContainsRune(key.pattern, utf8.RuneError) {
			return r.regexpArguments(pattern, flags)
		}
		master := patterns[key]
		if master == nil {
			made, err := construct(nil, r.regexpArguments(pattern, flags)...)
			if err != nil {
				panic(err)
			}
			// It stays a regular expression whatever the script does to the prototype.
			_ = made.DefineDataPropertySymbol(goja.SymMatch, r.vm.ToValue(true), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
			if len(patterns) == maxPatterns {
				clear(patterns)
			}
			patterns[key], master = made, made
		}
		// goja copies a RegExp with what it was compiled to.
		return []goja.Value{master}
	})
}

// regexpArguments makes arguments of them that goja understands.
func (r *Runtime) regexpArguments(pattern goja.String, flags string) []goja.Value {
	flags = strings.Replace(flags, "d", "", 1)
	if !strings.ContainsAny(flags, "uv") {
		return []goja.Value{pattern, r.vm.ToValue(flags)}
	}
	expanded, err := regexpclass.Expand(pattern.String(), flags)
	if err != nil {
		panic(r.newError("SyntaxError", "", "Invalid regular expression: "+err.Error()))
	}
	return []goja.Value{r.vm.ToValue(expanded), r.vm.ToValue(strings.ReplaceAll(flags, "v", "u"))}
}
