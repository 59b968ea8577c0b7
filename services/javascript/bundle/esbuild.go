package bundle

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/diagnostic"
	"github.com/picloud/picloud/services/javascript/specifier"
)

// esbuild reads one script with the bundler of that name.
type esbuild struct {
	file     string // absolute
	dir      string // its folder
	siblings map[string]string
}

// metafile is the part of esbuild's account that matters here.
type metafile struct {
	Inputs  map[string]struct{} `json:"inputs"`
	Outputs map[string]struct {
		Exports []string `json:"exports"`
		Imports []struct {
			Path     string `json:"path"`
			External bool   `json:"external"`
		} `json:"imports"`
	} `json:"outputs"`
}

func (e *esbuild) options() api.BuildOptions {
	return api.BuildOptions{
		EntryPoints:   []string{e.file},
		Bundle:        true,
		AbsWorkingDir: e.dir,
		Outfile:       filepath.Join(e.dir, "bundle.js"), // never written; sources are named relative to it
		Format:        api.FormatESModule,
		Platform:      api.PlatformNeutral,
		Target:        api.ESNext,
		Metafile:      true,
		LogLevel:      api.LogLevelSilent,
		LogLimit:      diagnostic.Max,
	}
}

// analyse fills in what the text alone tells, and tells whether it needs
// bundling: whether it imports more than PiCloud's own.
func (e *esbuild) analyse(s *Script) (bundles bool, err error) {
	o := e.options()
	o.Plugins = []api.Plugin{{Name: "imports", Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
			if a.Kind == api.ResolveEntryPoint {
				return api.OnResolveResult{}, nil
			}
			return api.OnResolveResult{Path: a.Path, External: true}, nil
		})
	}}}
	meta, _, err := e.run(o)
	if err != nil {
		return false, err
	}
	e.describe(s, meta)
	for _, output := range meta.Outputs {
		for _, i := range output.Imports {
			if i.Path == specifier.Platform || strings.HasPrefix(i.Path, "<") {
				continue // esbuild's own helpers are named in angle brackets
			}
			if as, external := e.external(i.Path, e.dir); !external || as != i.Path {
				bundles = true
			}
		}
	}
	return bundles, nil
}

// describe fills in s.Info.
func (e *esbuild) describe(s *Script, meta *metafile) {
	s.Info = Info{Kind: cloud.Module}
	for name, output := range meta.Outputs {
		if strings.HasSuffix(name, ".map") {
			continue
		}
		s.Info.Exports = slices.Sorted(slices.Values(output.Exports))
		for _, i := range output.Imports {
			if as, external := e.external(i.Path, e.dir); external {
				if name, ok := specifier.Sibling(as); ok && !slices.Contains(s.Info.Imports, name) {
					s.Info.Imports = append(s.Info.Imports, name)
				}
			}
		}
	}
	slices.Sort(s.Info.Imports)
	if slices.Contains(s.Info.Exports, "default") {
		s.Info.Kind = cloud.Endpoint
	}
	for input := range meta.Inputs {
		s.Info.Inputs = append(s.Info.Inputs, filepath.Join(e.dir, filepath.FromSlash(input)))
	}
	slices.Sort(s.Info.Inputs)
}

// external is what an import that is not bundled becomes: the module "picloud",
// a script that is deployed along, or one that only the app has.
func (e *esbuild) external(spec, fromDir string) (as string, ok bool) {
	if spec == specifier.Platform {
		return spec, true
	}
	if !specifier.Relative(spec) {
		return "", false
	}
	target, exists := onDisk(filepath.Join(fromDir, filepath.FromSlash(spec)))
	if exists {
		name, ok := e.siblings[target]
		return "./" + name, ok
	}
	if _, ok := specifier.Sibling(spec); ok && fromDir == e.dir {
		return spec, true
	}
	return "", false
}

// onDisk finds the file that an extensionless or .js import means, in the order
// in which esbuild looks.
func onDisk(path string) (string, bool) {
	candidates := []string{path}
	for _, ext := range []string{".tsx", ".ts", ".jsx", ".js", ".css", ".json"} {
		candidates = append(candidates, path+ext)
	}
	if bare, ok := strings.CutSuffix(path, ".js"); ok {
		candidates = append(candidates, bare+".ts", bare+".tsx")
	}
	for _, ext := range []string{".tsx", ".ts", ".jsx", ".js"} {
		candidates = append(candidates, filepath.Join(path, "index"+ext))
	}
	for _, c := range candidates {
		if info, err := os.Stat(c); err == nil && info.Mode().IsRegular() {
			return c, true
		}
	}
	return "", false
}

// bundle replaces s's source by one text of all it imports.
func (e *esbuild) bundle(s *Script) error {
	o := e.options()
	o.Sourcemap = api.SourceMapExternal
	o.SourcesContent = api.SourcesContentInclude
	o.MainFields = []string{"module", "main"}
	o.Conditions = []string{"workerd", "worker", "browser"}
	o.Define = map[string]string{"process.env.NODE_ENV": `"production"`}
	o.Plugins = []api.Plugin{{Name: "picloud", Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: `^(picloud$|\.)`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
			if a.Kind != api.ResolveEntryPoint {
				if as, ok := e.external(a.Path, a.ResolveDir); ok {
					return api.OnResolveResult{Path: as, External: true}, nil
				}
			}
			return api.OnResolveResult{}, nil
		})
	}}}
	meta, files, err := e.run(o)
	if err != nil {
		return err
	}
	e.describe(s, meta)
	s.Info.Bundled = true
	s.Source.Language = cloud.JavaScript
	return e.assemble(s, files)
}

// assemble puts the text and its map together. The map carries the user's own
// files; those of packages only by name, for size.
func (e *esbuild) assemble(s *Script, files []api.OutputFile) error {
	var text string
	var sourceMap struct {
		Version        int       `json:"version"`
		Sources        []string  `json:"sources"`
		SourcesContent []*string `json:"sourcesContent"`
		Mappings       string    `json:"mappings"`
		Names          []string  `json:"names"`
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Path, ".map") {
			text = string(f.Contents)
		} else if err := json.Unmarshal(f.Contents, &sourceMap); err != nil {
			return fmt.Errorf("read esbuild's source map: %w", err)
		}
	}
	for i, source := range sourceMap.Sources {
		if i < len(sourceMap.SourcesContent) && strings.Contains(source, "node_modules/") {
			sourceMap.SourcesContent[i] = nil
		}
	}
	encoded, err := json.Marshal(sourceMap)
	if err != nil {
		return fmt.Errorf("encode source map: %w", err)
	}
	s.Source.Text = text + "//# sourceMappingURL=data:application/json;base64," + base64.StdEncoding.EncodeToString(encoded) + "\n"
	if n := len(s.Source.Text); n > cloud.MaxSource {
		return diagnostic.Whole(filepath.Base(e.file), "the script has %d bytes with all that it imports; at most %d are allowed: import less", n, cloud.MaxSource)
	}
	return nil
}

// run builds in memory.
func (e *esbuild) run(o api.BuildOptions) (*metafile, []api.OutputFile, error) {
	result := api.Build(o)
	if len(result.Errors) > 0 {
		var ds []cloud.Diagnostic
		for _, m := range result.Errors {
			d := diagnostic.FromMessage(m, filepath.Base(e.file))
			if m := unresolved.FindStringSubmatch(m.Text); m != nil {
				d.Message = absent(m[1])
			}
			ds = append(ds, d)
		}
		return nil, nil, diagnostic.Failed(ds)
	}
	var meta metafile
	if err := json.Unmarshal([]byte(result.Metafile), &meta); err != nil {
		return nil, nil, fmt.Errorf("read esbuild's metafile: %w", err)
	}
	return &meta, result.OutputFiles, nil
}

var unresolved = regexp.MustCompile(`^Could not resolve "([^"]*)"`)

// absent says why an import leads nowhere and what to do.
func absent(spec string) string {
	if specifier.Relative(spec) {
		return fmt.Sprintf("there is no file %q", spec)
	}
	if reason, ok := specifier.NodeBuiltin(spec); ok {
		return reason
	}
	name, rest, _ := strings.Cut(spec, "/")
	if strings.HasPrefix(name, "@") {
		sub, _, _ := strings.Cut(rest, "/")
		name += "/" + sub
	}
	return fmt.Sprintf("the package %q is not installed here, or has no such part; run `npm install %s`", spec, name)
}
