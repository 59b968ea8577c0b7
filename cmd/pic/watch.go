package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"

	"github.com/picloud/picloud/services/javascript/specifier"
)

// watcher tells when something that sources are read from may have changed.
type watcher struct {
	*fsnotify.Watcher
	deep   bool            // folders below count too
	inputs map[string]bool // files that the sources were made of, by absolute path
}

// watch watches what readSources(path) begins with: a file's folder, a folder,
// or an app's folder with all below. node_modules and hidden folders do not
// count. The caller closes the watcher.
func watch(path string) (*watcher, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot watch what to deploy: %w", err)
	}
	inner, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch files: %w", err)
	}
	w := &watcher{Watcher: inner}
	// Editors save by replacing the file, so its folder is watched, not the file.
	dir := filepath.Dir(path)
	if info.IsDir() {
		dir = path
		_, err := os.Stat(filepath.Join(path, "package.json"))
		w.deep = err == nil
	}
	if err := w.include(dir); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	return w, nil
}

// include watches dir, and what is below if that counts.
func (w *watcher) include(dir string) error {
	if !w.deep {
		return w.Add(dir)
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return nil //nolint:nilerr // what has just gone needs no watch
		case path != dir && ignored(d.Name()):
			return fs.SkipDir
		}
		return w.Add(path)
	})
}

// follow watches the folders of inputs too: the files that the sources were made
// of, by absolute path. Packages do not change while one works on what uses them.
func (w *watcher) follow(inputs []string) error {
	w.inputs = map[string]bool{}
	folders := map[string]bool{}
	for _, file := range inputs {
		w.inputs[file] = true
		if dir := filepath.Dir(file); !strings.Contains(filepath.ToSlash(dir)+"/", "/node_modules/") {
			folders[dir] = true
		}
	}
	for dir := range folders {
		if err := w.Add(dir); err != nil {
			return fmt.Errorf("cannot watch %s: %w", dir, err)
		}
	}
	return nil
}

// matters tells whether e can change what would be deployed, and watches a new
// folder.
func (w *watcher) matters(e fsnotify.Event) bool {
	base := filepath.Base(e.Name)
	if e.Op == fsnotify.Chmod || ignored(base) {
		return false
	}
	if w.deep && e.Has(fsnotify.Create) {
		if info, err := os.Stat(e.Name); err == nil && info.IsDir() {
			_ = w.include(e.Name) // it is gone again, or the limit of watches is reached
			return true
		}
	}
	_, script := specifier.LanguageOf(base)
	return script || base == "package.json" || w.inputs[e.Name]
}

func ignored(name string) bool {
	return name == "node_modules" || strings.HasPrefix(name, ".")
}
