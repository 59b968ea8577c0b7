package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// EnvBin names the environment variable that overrides where the binaries are.
const EnvBin = "PICLOUD_POSTGRES_BIN"

// The majors that PiCloud is made for. Newer ones are used when they are named
// by EnvBin or first in PATH.
const (
	oldest = 15
	newest = 18
)

const howToInstall = "install a PostgreSQL server, version 15 to 18 (Debian and Ubuntu: apt-get install postgresql), or set " + EnvBin + " to the folder that holds initdb and postgres"

// Binaries is an installed PostgreSQL server.
type Binaries struct {
	Dir   string // holds initdb and postgres
	Major int
}

// Find looks for a server: in the folder that EnvBin names (and then nowhere
// else), in /usr/lib/postgresql/*/bin, newest first, and in PATH. With a major
// other than 0 only that one will do, since a data directory belongs to one major
// version. Errors say what to install.
func Find(major int) (Binaries, error) { return find(os.Getenv(EnvBin), "/usr/lib/postgresql", major) }

func find(override, root string, major int) (Binaries, error) {
	if override != "" {
		b, err := inspect(override)
		switch {
		case err != nil:
			return Binaries{}, fmt.Errorf("no PostgreSQL server in %s=%s: %w; %s", EnvBin, override, err, howToInstall)
		case b.Major < oldest:
			return Binaries{}, fmt.Errorf("PostgreSQL %d in %s is too old; %s", b.Major, override, howToInstall)
		case major != 0 && b.Major != major:
			return Binaries{}, wrongMajor(major, []Binaries{b})
		}
		return b, nil
	}
	var dirs []string
	for v := newest; v >= oldest; v-- {
		dirs = append(dirs, filepath.Join(root, strconv.Itoa(v), "bin"))
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(p))
		}
	}
	if old, err := filepath.Glob(filepath.Join(root, "*", "bin")); err == nil {
		dirs = append(dirs, old...) // to say that they are too old
	}
	var found []Binaries
	for _, dir := range dirs {
		b, err := inspect(dir)
		if err != nil || slices.Contains(found, b) {
			continue
		}
		if b.Major >= oldest && (major == 0 || b.Major == major) {
			return b, nil
		}
		found = append(found, b)
	}
	switch {
	case len(found) == 0:
		return Binaries{}, errors.New("no PostgreSQL server was found: " + howToInstall)
	case major != 0:
		return Binaries{}, wrongMajor(major, found)
	default:
		return Binaries{}, fmt.Errorf("PostgreSQL %d in %s is too old: %s", found[0].Major, found[0].Dir, howToInstall)
	}
}

func wrongMajor(major int, found []Binaries) error {
	names := make([]string, len(found))
	for i, b := range found {
		names[i] = fmt.Sprintf("%d in %s", b.Major, b.Dir)
	}
	return fmt.Errorf("the database was made by PostgreSQL %d, but only %s was found; install postgresql-%d, or move the data with pg_upgrade", major, strings.Join(names, ", "), major)
}

// inspect reads the major version of the server in dir.
func inspect(dir string) (Binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return Binaries{}, err
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "-V").Output()
	if err != nil {
		return Binaries{}, err
	}
	major, err := parseVersion(string(out))
	return Binaries{Dir: dir, Major: major}, err
}

// parseVersion reads "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)" or
// "postgres (PostgreSQL) 19devel".
func parseVersion(s string) (int, error) {
	_, rest, ok := strings.Cut(s, "(PostgreSQL) ")
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		rest = rest[:end]
	}
	major, err := strconv.Atoi(rest)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is not the version of a PostgreSQL server", strings.TrimSpace(s))
	}
	return major, nil
}
