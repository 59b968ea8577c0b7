package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
)

const manySecrets = 7

// sealedStore has secrets that are sealed with the key in the file at path.
func sealedStore(t *testing.T, path string) *secrets.Memory {
	t.Helper()
	store := secrets.NewMemory()
	ring, err := secrets.OpenKeyring(path)
	must(t, err)
	s := secrets.New(secrets.Config{Store: store, Sealer: ring})
	for i := range manySecrets {
		must(t, s.Set(t.Context(), byScript(app), fmt.Sprint("S", i), fmt.Sprint("value ", i)))
	}
	return store
}

// intact checks that the secrets can be read by who opens the file now.
func intact(t *testing.T, path string, store secrets.Store, vault secrets.Vault) {
	t.Helper()
	ring, err := secrets.OpenKeyring(path)
	must(t, err)
	must(t, ring.Check(context.WithoutCancel(t.Context()), vault))
	s := secrets.New(secrets.Config{Store: store, Sealer: ring})
	for i := range manySecrets {
		if got, _, err := s.Get(context.WithoutCancel(t.Context()), byScript(app), fmt.Sprint("S", i)); got != fmt.Sprint("value ", i) || err != nil {
			t.Errorf("S%d is %q, %v", i, got, err)
		}
	}
}

// keysIn are the lines with keys in the file.
func keysIn(t *testing.T, path string) (keys []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			keys = append(keys, line)
		}
	}
	return keys
}

func TestRotate(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	store := sealedStore(t, path)
	before := keysIn(t, path)
	was, err := store.KeyIDs(t.Context())
	must(t, err)
	var steps []int
	must(t, secrets.Rotate(t.Context(), path, store, func(done int) { steps = append(steps, done) }))

	if len(steps) < 2 || steps[len(steps)-1] != manySecrets || !slices.IsSorted(steps) {
		t.Errorf("told of %v", steps)
	}
	after := keysIn(t, path)
	if len(after) != 2 || after[0] == before[0] || after[1] != before[0] {
		t.Errorf("the file has %d keys, of which the first is new: %v; want a new one and the one before", len(after), after[0] != before[0])
	}
	if is, err := store.KeyIDs(t.Context()); err != nil || len(is) != 1 || is[0] == was[0] {
		t.Errorf("sealed with %v, before with %v, %v", is, was, err)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), "# ") {
		t.Errorf("the comments are gone: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	intact(t, path, store, store)

	must(t, secrets.Rotate(t.Context(), path, store, nil))
	if again := keysIn(t, path); len(again) != 2 || again[0] == after[0] || again[1] != after[0] {
		t.Error("a second rotation made no new key, or kept more than the one before")
	}
	intact(t, path, store, store)
}

func TestRotate_keepsTheOwner(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	path := newKeyFile(t)
	must(t, os.Chown(path, 65534, 65534))
	must(t, secrets.Rotate(t.Context(), path, secrets.NewMemory(), nil))
	info, err := os.Stat(path)
	must(t, err)
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 65534 || owner.Gid != 65534 {
		t.Errorf("the file belongs to %d:%d", owner.Uid, owner.Gid)
	}
}

// dyingVault fails at its n-th call, before or after the call's work: what a
// process leaves behind that is killed there.
type dyingVault struct {
	*secrets.Memory
	left   int
	before bool
}

var errKilled = errors.New("killed")

func (v *dyingVault) dies(work func()) bool {
	if v.left--; v.left > 0 {
		work()
		return false
	}
	if v.left == 0 && !v.before {
		work()
	}
	return true
}

func (v *dyingVault) KeyIDs(ctx context.Context) (ids []string, err error) {
	if v.dies(func() { ids, err = v.Memory.KeyIDs(ctx) }) {
		return nil, errKilled
	}
	return ids, err
}

func (v *dyingVault) Reseal(ctx context.Context, id string, f func(string, cloud.Sealed) (cloud.Sealed, error)) (n int, err error) {
	if v.dies(func() { n, err = v.Memory.Reseal(ctx, id, f) }) {
		return 0, errKilled
	}
	return n, err
}

// TestRotate_resumes kills a rotation at each of its steps.
func TestRotate_resumes(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		for step := 1; ; step++ {
			path := newKeyFile(t)
			store := sealedStore(t, path)
			first := keysIn(t, path)
			err := secrets.Rotate(t.Context(), path, &dyingVault{store, step, before}, nil)
			if err == nil {
				if step < manySecrets/2 {
					t.Errorf("there were only %d steps", step)
				}
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatalf("step %d: %v", step, err)
			}
			intact(t, path, store, store)
			interrupted := keysIn(t, path)
			if len(interrupted) > 2 || !slices.Contains(interrupted, first[0]) && len(interrupted) > 1 {
				t.Errorf("step %d: the file has %d keys", step, len(interrupted))
			}
			ids, err := store.KeyIDs(t.Context())
			must(t, err)
			must(t, secrets.Rotate(t.Context(), path, store, nil))
			intact(t, path, store, store)
			done := keysIn(t, path)
			if len(done) != 2 || done[0] == first[0] {
				t.Errorf("step %d: the rotation was not finished: %d keys", step, len(done))
			}
			// What was left half done goes on with the same key.
			if half := len(ids) > 1; half && done[0] != interrupted[0] {
				t.Errorf("step %d: going on made another key", step)
			}
		}
	}
}

func TestRotate_ends(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	store := sealedStore(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	err := secrets.Rotate(ctx, path, store, func(int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	intact(t, path, store, store)
	must(t, secrets.Rotate(t.Context(), path, store, nil))
	intact(t, path, store, store)
}

func TestRotate_oneAtATime(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	store := sealedStore(t, path)
	second := errors.New("not tried")
	must(t, secrets.Rotate(t.Context(), path, store, func(int) {
		second = secrets.Rotate(t.Context(), path, store, nil)
	}))
	if cloud.CodeOf(second) != cloud.CodeConflict {
		t.Errorf("a second one beside it: %v", second)
	}
	intact(t, path, store, store)
}

// A value that does not open ends the rotation; nothing else is lost.
func TestRotate_tampered(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	store := sealedStore(t, path)
	bad, _, err := store.Secret(t.Context(), app, "S0")
	must(t, err)
	must(t, store.SetSecret(t.Context(), app, "BAD", bad, 7)) // moved to another name
	if err := secrets.Rotate(t.Context(), path, store, nil); cloud.CodeOf(err) != cloud.CodeInternal || !strings.Contains(err.Error(), "secret/"+app+"/BAD") {
		t.Errorf("ended with %v", err)
	}
	intact(t, path, store, store)
}

// lateVault has something sealed with the old key by a process that has not
// seen the new one, when the rotation has just found that nothing is.
type lateVault struct {
	*secrets.Memory
	asked int
	late  func()
}

func (v *lateVault) KeyIDs(ctx context.Context) ([]string, error) {
	ids, err := v.Memory.KeyIDs(ctx)
	if v.asked++; v.asked == 3 {
		v.late()
	}
	return ids, err
}

func TestRotate_lateWriters(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	store := sealedStore(t, path)
	slow, err := secrets.ParseKeyring(keysIn(t, path)[0])
	must(t, err)
	vault := &lateVault{Memory: store, late: func() {
		s := secrets.New(secrets.Config{Store: store, Sealer: slow})
		must(t, s.Set(t.Context(), byScript(app), "S3", "value 3"))
	}}
	must(t, secrets.Rotate(t.Context(), path, vault, nil))
	if vault.asked < 3 {
		t.Errorf("asked %d times", vault.asked)
	}
	intact(t, path, store, store)
}

// TestRotate_copies shows that what a server seals after a rotation with the copy
// of the key that it was started with can still be opened by the file.
func TestRotate_copies(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	store := sealedStore(t, path)
	copied, err := secrets.ParseKeyring(keysIn(t, path)[0])
	must(t, err)
	must(t, secrets.Rotate(t.Context(), path, store, nil))
	s := secrets.New(secrets.Config{Store: store, Sealer: copied})
	must(t, s.Set(t.Context(), byScript(app), "S3", "value 3"))
	intact(t, path, store, store)
}
