package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// install puts a server that says it is of a version into dir.
func install(t *testing.T, dir, version string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"initdb", "postgres"} {
		script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	t.Setenv("PATH", "/usr/bin:/bin:"+install(t, filepath.Join(t.TempDir(), "path"), "19beta1"))
	in := func(major string) string { return filepath.Join(root, major, "bin") }
	find := func(override string, major int, want Binaries, problem ...string) {
		t.Helper()
		got, err := find(override, root, major)
		if got != want {
			t.Errorf("found %+v, %v, want %+v", got, err, want)
		}
		for _, part := range problem {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error %v, want one that says %q", err, part)
			}
		}
	}
	find("", 0, Binaries{filepath.SplitList(os.Getenv("PATH"))[2], 19})
	t.Setenv("PATH", "/bin/nowhere")
	find("", 0, Binaries{}, "no PostgreSQL server was found", "apt-get install postgresql")
	t.Setenv("PATH", "/usr/bin:/bin")

	install(t, in("9.6"), "9.6.24")
	install(t, in("14"), "14.2 (Debian 14.2-1)")
	find("", 0, Binaries{}, "too old", "15 to 18")
	install(t, in("15"), "15.14 (Debian 15.14-0+deb12u1)")
	install(t, in("17"), "17.2")
	find("", 0, Binaries{in("17"), 17})
	find("", 15, Binaries{in("15"), 15})
	find("", 16, Binaries{}, "made by PostgreSQL 16", "17 in ", "install postgresql-16")

	find(in("15"), 0, Binaries{in("15"), 15})
	find(in("14"), 0, Binaries{}, "PostgreSQL 14", "too old")
	find(in("15"), 17, Binaries{}, "made by PostgreSQL 17")
	find(filepath.Join(root, "none"), 0, Binaries{}, EnvBin, "none")
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n": 15, "postgres (PostgreSQL) 19devel": 19, "postgres (PostgreSQL) 9.6.1": 9,
		"": 0, "hello": 0, "postgres (PostgreSQL) ": 0,
	} {
		if got, err := parseVersion(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("parseVersion(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}
