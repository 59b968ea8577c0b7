package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBuild_Windows builds pic for the system that differs most from the one
// that servers run on; macOS takes the same files as Linux.
func TestBuild_Windows(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("compiles everything for another system")
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(t.TempDir(), "pic.exe"), ".")
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
