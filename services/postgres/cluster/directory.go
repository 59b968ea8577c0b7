package cluster

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed postgresql.conf
var settings []byte

// The layout of a cluster's directory.
const (
	markerName   = "PICLOUD"
	lockName     = "lock"
	dataName     = "data"
	newDataName  = "data.new" // an initdb under way, or interrupted
	settingsName = "postgresql.conf"
	socketName   = "socket"
	socketRecord = "socket.path" // where the socket is, when it is not below the directory
)

const markerText = "The folder of a private PostgreSQL cluster that PiCloud made and manages.\n"

// maxSocketDir leaves room for "/.s.PGSQL.5432" in the 107 bytes of a unix
// socket's path.
const maxSocketDir = 107 - len("/.s.PGSQL.5432")

// directory is where a cluster lives. Everything in it belongs to this package,
// which the marker says.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

// claim creates the directory, or makes sure that it is one of ours.
func (d directory) claim() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	if text, err := os.ReadFile(d.path(markerName)); err == nil && string(text) == markerText {
		return nil
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != markerName { // a marker may be half written
			return fmt.Errorf("it holds %s and was not made by PiCloud; choose an empty or new directory", e.Name())
		}
	}
	return writeFile(d.path(markerName), []byte(markerText))
}

// major is the version that the data belongs to, 0 if there is none yet.
func (d directory) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(d.path(dataName), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(d.path(dataName)); err == nil {
			return 0, fmt.Errorf("%s is no PostgreSQL data directory: it has no PG_VERSION; restore it from a backup, or remove it to start anew", d.path(dataName))
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// initialise makes the data directory: apart, then by one rename, so that an
// interrupted run leaves nothing that looks complete.
func (d directory) initialise(bin Binaries, as account, sync bool) error {
	if err := os.RemoveAll(d.path(newDataName)); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + d.path(newDataName), "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--data-checksums",
	}
	if !sync {
		args = append(args, "--no-sync")
	}
	cmd := as.command(filepath.Join(bin.Dir, "initdb"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out.Bytes()))
	}
	if err := os.Rename(d.path(newDataName), d.path(dataName)); err != nil {
		return err
	}
	return syncDir(string(d))
}

// socket prepares the directory of the unix socket, which the account alone may
// enter, and root. Below d if the path is short enough for a socket.
func (d directory) socket(as account) (string, error) {
	dir := d.path(socketName)
	if len(dir) <= maxSocketDir {
		return dir, makePrivate(dir, as)
	}
	d.removeSocket()
	dir, err := os.MkdirTemp("", "picloud-")
	if err != nil {
		return "", err
	}
	if len(dir) > maxSocketDir {
		_ = os.Remove(dir)
		return "", fmt.Errorf("the paths %s and %s are too long for a unix socket (at most %d bytes): choose a shorter data directory, or set TMPDIR", d, dir, maxSocketDir)
	}
	if err := as.own(dir); err != nil {
		return "", err
	}
	return dir, writeFile(d.path(socketRecord), []byte(dir))
}

// removeSocket removes a socket directory elsewhere, of this run or of one that
// was killed.
func (d directory) removeSocket() {
	dir, err := os.ReadFile(d.path(socketRecord))
	if err == nil && strings.HasPrefix(filepath.Base(string(dir)), "picloud-") {
		_ = os.RemoveAll(string(dir))
		_ = os.Remove(d.path(socketRecord))
	}
}

func makePrivate(dir string, as account) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := as.own(dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700) //nolint:gosec // a directory needs its x bit
}

func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // in a private directory; the server's account reads it
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
