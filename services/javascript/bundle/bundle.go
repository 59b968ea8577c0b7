// Package bundle reads scripts from disk the way `pic deploy` sends them: a file
// that stands alone as it is, one that imports npm packages or other files as
// one text with a source map.
package bundle

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/specifier"
)

// Options says how a file is read. The zero value is for a file of its own.
type Options struct {
	// Siblings are scripts that are deployed along, script name by the absolute
	// path of the file. An import of one stays an import of "./name".
	Siblings map[string]string
	// Name is the script's; "" for the file's.
	Name string
}

// Info is what is known of a script from its text.
type Info struct {
	Kind    cloud.ScriptKind // Endpoint with a default export, else Module
	Exports []string         // sorted; names that come by "export *" are not among them
	Imports []string         // scripts of the app that it imports as "./name", sorted
	Bundled bool
	Inputs  []string // absolute paths of the files that the source was made of, sorted
}

// Script is one file of a folder, ready to deploy.
type Script struct {
	File   string // absolute path
	Source cloud.Source
	Info   Info
}

// File reads the script at path. Its name is the file's without the extension,
// or the folder's for a file named index.
//
// Relative imports of files that exist are bundled; "./name" where no such file
// exists stays, as a module script that the app has already. Errors are
// CodeInvalid about "file", or CodeBuildFailed with Details []cloud.Diagnostic,
// whose files are relative to the script's folder.
func File(path string, o Options) (cloud.Source, Info, error) {
	s, err := read(path, o)
	return s.Source, s.Info, err
}

// Dir reads every script that lies directly in dir, sorted by name. They import
// each other as "./name"; all else that they import is bundled into them. Type
// declarations (.d.ts), tests (.test.ts, .spec.ts), configurations (.config.ts)
// and hidden files are no scripts.
func Dir(dir string) ([]Script, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, unreadable(dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, unreadable(dir, err)
	}
	files := map[string]string{} // by script name
	siblings := map[string]string{}
	for _, e := range entries {
		if e.IsDir() || !deployed(e.Name()) {
			continue
		}
		file := filepath.Join(dir, e.Name())
		name, err := scriptName(file)
		if err != nil {
			return nil, err
		}
		if other, ok := files[name]; ok {
			return nil, cloud.Invalid("file", "%s and %s would both be the script %q; rename one", filepath.Base(other), e.Name(), name)
		}
		files[name], siblings[file] = file, name
	}
	if len(files) == 0 {
		return nil, cloud.Invalid("file", "%s holds no script; scripts end in .ts, .js, .tsx or .jsx", dir)
	}
	scripts := make([]Script, 0, len(files))
	for _, file := range files {
		s, err := read(file, Options{Siblings: siblings})
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	slices.SortFunc(scripts, func(a, b Script) int { return cmp.Compare(a.Source.Name, b.Source.Name) })
	return scripts, nil
}

func deployed(base string) bool {
	if _, ok := specifier.LanguageOf(base); !ok || strings.HasPrefix(base, ".") {
		return false
	}
	switch filepath.Ext(strings.TrimSuffix(base, filepath.Ext(base))) {
	case ".d", ".test", ".spec", ".config":
		return false
	}
	return true
}

func scriptName(file string) (string, error) {
	base := filepath.Base(file)
	name := strings.TrimSuffix(base, filepath.Ext(base))
	if name == "index" {
		name = filepath.Base(filepath.Dir(file))
	}
	if err := cloud.CheckScriptName(name); err != nil {
		if e, ok := errors.AsType[*cloud.Error](err); ok {
			return "", cloud.Invalid("file", "%s gives the script a name that it cannot have: %s", base, e.Message)
		}
		return "", err
	}
	return name, nil
}

func read(path string, o Options) (Script, error) {
	file, err := filepath.Abs(path)
	if err != nil {
		return Script{}, unreadable(path, err)
	}
	language, ok := specifier.LanguageOf(file)
	if !ok {
		return Script{}, cloud.Invalid("file", "%s is no script; scripts end in .ts, .js, .tsx or .jsx", path)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return Script{}, unreadable(path, err)
	}
	if len(text) > cloud.MaxSource {
		return Script{}, cloud.Invalid("file", "%s has %d bytes; at most %d are allowed", path, len(text), cloud.MaxSource)
	}
	name := o.Name
	if name == "" {
		if name, err = scriptName(file); err != nil {
			return Script{}, err
		}
	}
	s := Script{File: file, Source: cloud.Source{Name: name, Language: language, Text: string(text)}}
	e := esbuild{file: file, dir: filepath.Dir(file), siblings: o.Siblings}
	bundles, err := e.analyse(&s)
	if err != nil {
		return Script{}, err
	}
	if bundles {
		err = e.bundle(&s)
	}
	return s, err
}

func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return cloud.Invalid("file", "%s does not exist", path)
	}
	return cloud.Invalid("file", "%s cannot be read", path).Because(err)
}
