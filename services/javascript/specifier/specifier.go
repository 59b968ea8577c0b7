// Package specifier says what the text behind "from" in an import means in
// PiCloud. The CLI, which bundles, and the server, which builds, share it, so
// that both refuse the same things with the same words.
package specifier

import (
	"path"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// Platform is the module that carries the services of PiCloud.
const Platform = "picloud"

// Provided are the names that the module "picloud" exports, sorted.
var Provided = []string{"deadLetters", "kv", "secrets"}

var provided = strings.Join(Provided[:len(Provided)-1], ", ") + " and " + Provided[len(Provided)-1]

// planned are names that later versions export; asking for one is a mistake
// about the version, not about the name.
var planned = map[string]bool{
	"docs": true, "files": true, "topics": true,
	"queue": true, "mail": true, "invoke": true,
}

// Missing says why the module "picloud" does not export name.
func Missing(name string) string {
	if planned[name] {
		return `"` + name + `" is not available in this version of PiCloud; "picloud" exports ` + provided
	}
	return `"picloud" has no export "` + name + `"; it exports ` + provided
}

var extensions = map[string]cloud.Language{
	".js": cloud.JavaScript, ".mjs": cloud.JavaScript, ".cjs": cloud.JavaScript, ".jsx": cloud.JSX,
	".ts": cloud.TypeScript, ".mts": cloud.TypeScript, ".cts": cloud.TypeScript, ".tsx": cloud.TSX,
}

// LanguageOf is the language of a file by its extension; false for a file that
// is no script.
func LanguageOf(file string) (cloud.Language, bool) {
	l, ok := extensions[path.Ext(file)]
	return l, ok
}

// Sibling is the script name that "./name" or "./name.ts" (or another script
// extension) refers to; false for every other specifier.
func Sibling(spec string) (name string, ok bool) {
	name, ok = strings.CutPrefix(spec, "./")
	if !ok {
		return "", false
	}
	if _, script := LanguageOf(name); script {
		name = strings.TrimSuffix(name, path.Ext(name))
	}
	return name, cloud.CheckScriptName(name) == nil
}

// Relative tells whether spec names a file rather than a package.
func Relative(spec string) bool {
	return spec == "." || spec == ".." || strings.HasPrefix(spec, "./") || strings.HasPrefix(spec, "../") || strings.HasPrefix(spec, "/")
}

// nodeBuiltins maps each module of Node to why a script cannot have it.
var nodeBuiltins = func() map[string]string {
	m := map[string]string{}
	for reason, names := range map[string]string{
		"scripts have no file system; keep data in kv":                                               "fs fs/promises",
		"scripts have no sockets; use fetch for HTTP":                                                "net tls dgram dns dns/promises",
		"scripts have no sockets; export a fetch handler to serve, and use fetch to ask":             "http https http2",
		"scripts cannot start processes or threads":                                                  "child_process cluster worker_threads",
		"scripts see nothing of the machine they run on":                                             "os process tty readline readline/promises sys",
		"the engine's inner workings are not open to scripts":                                        "vm v8 inspector inspector/promises repl wasi trace_events perf_hooks async_hooks diagnostics_channel module sea sqlite test test/reporters",
		"this version of PiCloud has no compression; compress before you deploy, or use a package":   "zlib",
		"this version of PiCloud has no stand-in for it; use the web's ReadableStream":               "stream stream/promises stream/web stream/consumers",
		"this version of PiCloud has no stand-in for it; use the global crypto":                      "crypto",
		"this version of PiCloud has no stand-in for it; use the global URL and URLSearchParams":     "url querystring",
		"this version of PiCloud has no stand-in for it; use Uint8Array, TextEncoder, atob and btoa": "buffer string_decoder",
		"this version of PiCloud has no stand-in for it; use the global setTimeout":                  "timers timers/promises",
		"this version of PiCloud has no stand-in for it; use a package that does not need Node":      "assert assert/strict console constants domain events path path/posix path/win32 punycode util util/types",
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = reason
		}
	}
	return m
}()

// NodeBuiltin says, for a module of Node with or without "node:" in front, why
// scripts cannot import it; false for every other specifier.
func NodeBuiltin(spec string) (reason string, ok bool) {
	name, prefixed := strings.CutPrefix(spec, "node:")
	if reason, ok = nodeBuiltins[name]; ok {
		return `"` + spec + `" is a part of Node that scripts do not have: ` + reason, true
	}
	if prefixed {
		return `"` + spec + `" is a part of Node that scripts do not have`, true
	}
	return "", false
}
