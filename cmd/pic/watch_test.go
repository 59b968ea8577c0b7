package main

import (
	"path/filepath"
	"testing"

	"github.com/fsnotify/fsnotify"
)

func TestWatcher_Matters(t *testing.T) {
	t.Parallel()
	w := &watcher{inputs: map[string]bool{filepath.FromSlash("/w/words.txt"): true}}
	for _, test := range []struct {
		name string
		op   fsnotify.Op
		want bool
	}{
		{"/w/hello.ts", fsnotify.Write, true},
		{"/w/hello.ts", fsnotify.Create, true}, // saved by replacing
		{"/w/hello.ts", fsnotify.Remove, true},
		{"/w/hello.ts", fsnotify.Chmod, false},
		{"/w/package.json", fsnotify.Write, true},
		{"/w/words.txt", fsnotify.Write, true}, // imported
		{"/w/notes.txt", fsnotify.Write, false},
		{"/w/.hello.ts.swp", fsnotify.Write, false},
		{"/w/node_modules", fsnotify.Create, false},
	} {
		if got := w.matters(fsnotify.Event{Name: filepath.FromSlash(test.name), Op: test.op}); got != test.want {
			t.Errorf("%v of %s matters = %v, want %v", test.op, test.name, got, test.want)
		}
	}
}
