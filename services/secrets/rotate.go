package secrets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/picloud/picloud/services/cloud"
)

// Rotate gives the instance a new master key while it goes on working: it puts a
// new key in front of those in the key file at path, seals everything in vault
// with it, and takes the keys out of the file that nothing is sealed with any
// more, but for the one before the new one: a server that was given a copy of it
// when it started seals with it until it starts again. Called again after it was interrupted, it goes on where it was, with the
// same key. progress, if not nil, is told how many values were sealed so far.
//
// It fails before any change if something is sealed with a key that is not in
// the file, with CodeConflict while another process rotates, and with the
// vault's errors.
func Rotate(ctx context.Context, path string, vault Vault, progress func(done int)) error {
	unlock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	f, info, err := readKeyFile(path)
	if err != nil {
		return err
	}
	if err := (&Keyring{path: path, keys: f.keys(), info: info}).Check(ctx, vault); err != nil {
		return err
	}
	ids, err := vault.KeyIDs(ctx)
	if err != nil {
		return err
	}
	// Something that is sealed with an older key is left from a rotation that was
	// interrupted.
	current := f.keys()[0].id
	if !slices.ContainsFunc(ids, func(id string) bool { return id != current }) {
		f = f.withNew()
		if err := replaceKeyFile(path, f, info); err != nil {
			return err
		}
	}

	r := resealing{vault: vault, ring: &Keyring{keys: f.keys()}, progress: progress}
	if err := r.run(ctx); err != nil {
		return err
	}
	if ids, err = vault.KeyIDs(ctx); err != nil {
		return err
	}
	kept := f.keys()[:min(2, len(f.keys()))]
	trimmed := f.without(func(key *masterKey) bool { return !slices.Contains(kept, key) && !slices.Contains(ids, key.id) })
	if err := replaceKeyFile(path, trimmed, info); err != nil {
		return err
	}
	// A process that had not seen the new key in time may have used an old one
	// until now.
	return r.run(ctx)
}

// resealing seals what is in a vault with the current key of a ring.
type resealing struct {
	vault    Vault
	ring     *Keyring
	progress func(done int)
	done     int
}

// run returns when nothing is sealed with another key.
func (r *resealing) run(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.vault.Reseal(ctx, r.ring.keys[0].id, r.reseal)
		if err != nil || n == 0 {
			return err
		}
		r.done += n
		if r.progress != nil {
			r.progress(r.done)
		}
	}
}

func (r *resealing) reseal(purpose string, s cloud.Sealed) (cloud.Sealed, error) {
	value, err := r.ring.Open(purpose, s)
	if err != nil {
		return cloud.Sealed{}, fmt.Errorf("seal %s with the new master key: %w", purpose, err)
	}
	return r.ring.Seal(purpose, value)
}

// lockDirectory keeps other rotations of a key file in dir from running until
// unlock is called or the process ends in any way.
func lockDirectory(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the master key file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, cloud.Errorf(cloud.CodeConflict, "another process is rotating the master key in %s; wait for it to end", dir)
		}
		return nil, fmt.Errorf("lock the master key file: %w", err)
	}
	return func() {
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		_ = f.Close()
	}, nil
}
