package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/diagnostic"
	"github.com/picloud/picloud/services/javascript/specifier"
)

// esbuild's namespaces for what a build reads. None is the file system's.
const (
	scriptSpace  = "script"  // scripts of the app, by file name
	virtualSpace = "picloud" // texts of this file
)

// The program takes "picloud" as the free name __picloud and leaves its exports
// in the free name __exports; esbuild renames whatever in the sources would
// collide with a free name. The namespace object of the entry has live getters.
const (
	programHead = "(async function(__picloud) {\n\"use strict\";\nlet __exports;\n"
	programFoot = "return __exports;\n})"
)

// lacking are the features of ES2022 that goja does not have, or not without
// fault. Expressions with the flags u, v, y and d become new RegExp(…), whose
// constructor the worker wraps (see package regexpclass).
var lacking = map[string]bool{
	"async-generator":                 false,
	"for-await":                       false,
	"using":                           false,
	"decorators":                      false,
	"dynamic-import":                  false,
	"import-meta":                     false,
	"import-attributes":               false,
	"import-assertions":               false,
	"hashbang":                        false,
	"regexp-sticky-and-unicode-flags": false,
	"regexp-set-notation":             false,
	"regexp-match-indices":            false,
	"top-level-await":                 true, // the program is an async function
}

// lowered is esbuild's work: the program for ES2022 as goja knows it.
type lowered struct {
	code      string
	sourceMap *sourceMap
	exports   []string // of the entry, sorted
}

func lower(ctx context.Context, s *sources) (*lowered, error) {
	options := api.BuildOptions{
		// The second entry point exists for the list of its exports alone.
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: virtualSpace + ":program", OutputPath: "program"},
			{InputPath: virtualSpace + ":entry", OutputPath: "entry"},
		},
		Bundle:         true,
		Outdir:         "/",
		AbsWorkingDir:  "/",
		Format:         api.FormatESModule,
		Platform:       api.PlatformNeutral,
		Target:         api.ES2022,
		Supported:      lacking,
		Charset:        api.CharsetASCII, // goja's columns are bytes
		LegalComments:  api.LegalCommentsNone,
		Sourcemap:      api.SourceMapExternal,
		SourcesContent: api.SourcesContentExclude,
		Metafile:       true,
		Define:         map[string]string{"process.env.NODE_ENV": `"production"`},
		Banner:         map[string]string{"js": programHead},
		Footer:         map[string]string{"js": programFoot},
		TsconfigRaw:    "{}",
		LogLevel:       api.LogLevelSilent,
		LogLimit:       diagnostic.Max,
		LogOverride:    map[string]api.LogLevel{"import-is-undefined": api.LogLevelError},
		Plugins:        []api.Plugin{s.plugin()},
	}
	b, failed := api.Context(options)
	if failed != nil {
		return nil, fmt.Errorf("esbuild refuses its options: %w", failed)
	}
	defer b.Dispose()
	defer context.AfterFunc(ctx, b.Cancel)()
	result := b.Rebuild()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(result.Errors) > 0 {
		return nil, diagnostic.Failed(s.diagnostics(result.Errors))
	}
	return s.read(result)
}

// read takes the program, its map and the entry's exports out of a result.
func (s *sources) read(result api.BuildResult) (*lowered, error) {
	var out lowered
	for _, f := range result.OutputFiles {
		switch path.Base(f.Path) {
		case "program.js":
			out.code = strings.TrimSuffix(string(f.Contents), "\n")
		case "program.js.map":
			m, err := parseSourceMap(f.Contents)
			if err != nil {
				return nil, fmt.Errorf("read esbuild's source map: %w", err)
			}
			for i, source := range m.Sources {
				m.Sources[i] = userFile(source)
			}
			out.sourceMap = m
		}
	}
	var meta struct {
		Outputs map[string]struct {
			Exports []string `json:"exports"`
		} `json:"outputs"`
	}
	if err := json.Unmarshal([]byte(result.Metafile), &meta); err != nil {
		return nil, fmt.Errorf("read esbuild's metafile: %w", err)
	}
	for name, o := range meta.Outputs {
		if path.Base(name) == "entry.js" {
			out.exports = slices.Sorted(slices.Values(o.Exports))
		}
	}
	if out.code == "" || out.sourceMap == nil {
		return nil, errors.New("esbuild made no program")
	}
	return &out, nil
}

// platformFile stands in stacks for code that is not the user's.
const platformFile = "<picloud>"

// userFile is the name that a source of esbuild's map has for users.
func userFile(source string) string {
	if file, ok := strings.CutPrefix(source, scriptSpace+":"); ok {
		return file
	}
	if strings.HasPrefix(source, virtualSpace+":") {
		return platformFile
	}
	return source
}

func (s *sources) plugin() api.Plugin {
	return api.Plugin{Name: "picloud", Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
			return s.resolve(a), nil
		})
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: virtualSpace}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
			text := s.virtual(a.Path)
			return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, nil
		})
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: scriptSpace}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
			src, _ := a.PluginData.(cloud.Source)
			if err := s.check(src); err != nil {
				return api.OnLoadResult{Errors: []api.Message{{Text: cloudMessage(err)}}}, nil
			}
			return api.OnLoadResult{Contents: &src.Text, Loader: loader(src.Language)}, nil
		})
	}}
}

func (s *sources) virtual(name string) string {
	switch name {
	case "program":
		return "import * as exports from \"entry\";\n__exports = exports;\n"
	default:
		var b strings.Builder
		for _, p := range specifier.Provided {
			fmt.Fprintf(&b, "export const %s = __picloud.%s;\n", p, p)
		}
		return b.String()
	}
}

func loader(l cloud.Language) api.Loader {
	switch l {
	case cloud.TypeScript:
		return api.LoaderTS
	case cloud.JSX:
		return api.LoaderJSX
	case cloud.TSX:
		return api.LoaderTSX
	default:
		return api.LoaderJS
	}
}

func (s *sources) resolve(a api.OnResolveArgs) api.OnResolveResult {
	virtual := func(name string) api.OnResolveResult {
		return api.OnResolveResult{Path: name, Namespace: virtualSpace}
	}
	script := func(src cloud.Source) api.OnResolveResult {
		return api.OnResolveResult{Path: fileName(src), Namespace: scriptSpace, PluginData: src}
	}
	refuse := func(format string, args ...any) api.OnResolveResult {
		return api.OnResolveResult{Errors: []api.Message{{Text: fmt.Sprintf(format, args...)}}}
	}
	switch {
	case a.Kind == api.ResolveEntryPoint && a.Path == virtualSpace+":program":
		return virtual("program")
	case a.Kind == api.ResolveEntryPoint, a.Namespace == virtualSpace:
		src, _ := s.load(s.entryName)
		return script(src)
	case a.Path == specifier.Platform:
		return virtual("module")
	}
	if name, ok := specifier.Sibling(a.Path); ok {
		if src, ok := s.load(name); ok {
			return script(src)
		}
		return refuse("this app has no module script %q; %s", name, s.hint())
	}
	if specifier.Relative(a.Path) {
		return refuse("%q is no script of this app: write \"./name\" for a module script, or deploy with `pic deploy`, which bundles files from your disk", a.Path)
	}
	if reason, ok := specifier.NodeBuiltin(a.Path); ok {
		return refuse("%s", reason)
	}
	return refuse("the package %q is not in this source: npm packages are bundled on your machine, so deploy with `pic deploy`", a.Path)
}

func (s *sources) hint() string {
	names := s.names()
	switch {
	case len(names) == 0:
		return "it has none yet"
	case len(names) > 10:
		return "it has " + strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	default:
		return "it has " + strings.Join(names, ", ")
	}
}
