package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/bundle"
)

// sources are the scripts that a file or folder holds.
type sources struct {
	scripts []deployScript
	inputs  []string          // the files that they were made of, by absolute path
	files   map[string]string // the file to edit, by the name that the server's diagnostics use
}

// readSources reads what deploy and dev were asked to deploy:
//
//   - a file is one script, named after it;
//   - a folder with a package.json is one script, named after the folder: the
//     entry that package.json names, or index.* here or in src;
//   - another folder is one script for each script file directly in it.
//
// What they import is bundled. name, unless "", is the script's instead. A
// source that does not build is a *buildError.
func readSources(path, name string) (sources, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return sources{}, fmt.Errorf("there is no file or folder %s", path)
	}
	if err != nil {
		return sources{}, fmt.Errorf("cannot read what to deploy: %w", err)
	}
	s := sources{files: map[string]string{}}
	if !info.IsDir() {
		stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if err := cloud.CheckScriptName(stem); name == "" && err != nil {
			return sources{}, usagef("a script cannot be named after %s: %s; choose a name with --name", path, publicMessage(err))
		}
		return s, s.addFile(path, name)
	}
	entry, err := appEntry(path)
	if err != nil {
		return sources{}, err
	}
	if entry != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return sources{}, err
		}
		return s, s.addFile(entry, cmp.Or(name, filepath.Base(abs)))
	}
	if name != "" {
		return sources{}, usagef("--name is for one script, and %s is a folder of scripts", path)
	}
	scripts, err := bundle.Dir(path)
	if err != nil {
		return sources{}, explainBundle(err, path)
	}
	for _, script := range scripts {
		s.add(script.Source, script.Info, filepath.Join(path, filepath.Base(script.File)))
	}
	return s, nil
}

func (s *sources) addFile(file, name string) error {
	source, info, err := bundle.File(file, bundle.Options{Name: name})
	if err != nil {
		return explainBundle(err, filepath.Dir(file))
	}
	s.add(source, info, file)
	return nil
}

func (s *sources) add(source cloud.Source, info bundle.Info, file string) {
	s.scripts = append(s.scripts, deployScript{Name: source.Name, Kind: info.Kind, Language: source.Language, Source: source.Text})
	s.inputs = append(s.inputs, info.Inputs...)
	if !info.Bundled {
		s.files[source.Name+"."+string(source.Language)] = file
	}
}

// explainBundle is an error of bundling for people, with the files of its
// diagnostics, which are relative to dir, as seen from the working folder.
func explainBundle(err error, dir string) error {
	var e *cloud.Error
	if !errors.As(err, &e) {
		return err
	}
	found, ok := e.Details.([]cloud.Diagnostic)
	if !ok || len(found) == 0 {
		return errors.New(e.Message)
	}
	for i, d := range found {
		found[i].File = filepath.Join(dir, filepath.FromSlash(d.File))
	}
	return &buildError{diagnostics: found}
}

// entries are the files that start an app where its package.json names none.
var entries = []string{
	"index.ts", "index.tsx", "index.js", "index.mjs", "index.jsx",
	"src/index.ts", "src/index.tsx", "src/index.js", "src/index.mjs", "src/index.jsx",
}

// appEntry is the file that starts the app in dir; "" if dir is no app.
func appEntry(dir string) (string, error) {
	manifest := filepath.Join(dir, "package.json")
	b, err := os.ReadFile(manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read what to deploy: %w", err)
	}
	var pkg struct {
		Main string `json:"main"`
	}
	if err := json.Unmarshal(b, &pkg); err != nil {
		return "", fmt.Errorf("%s is damaged: %w", manifest, err)
	}
	candidates := entries
	if pkg.Main != "" {
		candidates = []string{filepath.FromSlash(pkg.Main)}
	}
	for _, name := range candidates {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	if pkg.Main != "" {
		return "", fmt.Errorf("%s names %s as main, which does not exist", manifest, pkg.Main)
	}
	return "", fmt.Errorf("%s names no main, and there is no index.ts or index.js in %s or its src folder", manifest, dir)
}
