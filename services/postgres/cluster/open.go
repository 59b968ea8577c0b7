package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Open gives access to the cluster in cfg.Dir for a while: to the server that
// another process runs there, or else to one of its own, which ends with the
// call of stop. It makes no cluster: os.ErrNotExist is in the error's chain where
// there is none. Only root and the user whose server it is may.
func Open(ctx context.Context, cfg Config) (url string, stop func() error, err error) {
	path, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return "", nil, err
	}
	d := directory(path)
	data, err := os.Stat(d.path(dataName))
	if err != nil {
		return "", nil, fmt.Errorf("no database in %s: %w", path, err)
	}
	if d.inUse() {
		return databaseURL(d.currentSocket(), "postgres"), func() error { return nil }, nil
	}
	if err := mayServe(data); err != nil {
		return "", nil, fmt.Errorf("database in %s: %w", path, err)
	}
	c, err := Start(ctx, cfg)
	if err != nil {
		return "", nil, err
	}
	return c.URL(), c.Stop, nil
}

// inUse tells whether a process runs the cluster's server.
func (d directory) inUse() bool {
	f, err := os.Open(d.path(lockName))
	if err != nil {
		return false
	}
	defer unlock(f)
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// currentSocket is where the running server's socket is.
func (d directory) currentSocket() string {
	if elsewhere, err := os.ReadFile(d.path(socketRecord)); err == nil {
		return string(elsewhere)
	}
	return d.path(socketName)
}

// mayServe refuses to run a server on data that belongs to another user: what
// that would write there, the other user could not read.
func mayServe(data os.FileInfo) error {
	as, err := serverAccount()
	if err != nil {
		return err
	}
	wanted := uint32(os.Geteuid())
	if as.credential != nil {
		wanted = as.credential.Uid
	}
	if owner, ok := data.Sys().(*syscall.Stat_t); ok && owner.Uid != wanted {
		return fmt.Errorf("it belongs to the user with the id %d, and no server runs: do this as that user", owner.Uid)
	}
	return nil
}

func databaseURL(socket, name string) string {
	q := url.Values{"host": {socket}, "user": {"postgres"}, "sslmode": {"disable"}}
	return (&url.URL{Scheme: "postgres", Path: "/" + name, RawQuery: q.Encode()}).String()
}
