package secrets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/picloud/picloud/services/cloud"
)

// Keyring holds the instance's master keys: it seals with the current one and
// opens what is sealed with any (AES-256-GCM, a random nonce in front of the
// box, the purpose as additional data). One that was opened from a file follows
// the file, so that another process may rotate the key. The zero value has no
// key and refuses with CodeUnavailable. It is safe for concurrent use, and
// prints nothing of its keys.
type Keyring struct {
	path string // "": not from a file

	mu   sync.Mutex
	keys []*masterKey // current first
	info fs.FileInfo  // of the file as it was read
}

var _ cloud.Sealer = (*Keyring)(nil)

// OpenKeyring reads the key file at path (see CreateKeyFile), which must be
// readable by its owner alone. fs.ErrNotExist is in the error's chain if there
// is none.
func OpenKeyring(path string) (*Keyring, error) {
	f, info, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	return &Keyring{path: path, keys: f.keys(), info: info}, nil
}

// ParseKeyring reads text as OpenKeyring does a file: a key in base64 on each
// line, the current one first, "#" before comments. Such a keyring cannot be
// rotated.
func ParseKeyring(text string) (*Keyring, error) {
	f, err := parseKeyFile(text)
	if err != nil {
		return nil, cloud.Errorf(cloud.CodeInvalid, "the master key: %v", err)
	}
	return &Keyring{keys: f.keys()}, nil
}

// String keeps keys out of what is printed.
func (k *Keyring) String() string { return "Keyring" }

// GoString does so for %#v.
func (k *Keyring) GoString() string { return "Keyring" }

var errNoKey = cloud.Errorf(cloud.CodeUnavailable, "this instance has no master key to seal secrets with; give it one in PICLOUD_SECRET_KEY, or a key file, and start it again")

// Seal implements cloud.Sealer.
func (k *Keyring) Seal(purpose string, value []byte) (cloud.Sealed, error) {
	k.mu.Lock()
	k.follow()
	if len(k.keys) == 0 {
		k.mu.Unlock()
		return cloud.Sealed{}, errNoKey
	}
	current := k.keys[0]
	k.mu.Unlock()
	return cloud.Sealed{KeyID: current.id, Box: current.aead.Seal(nil, nil, value, []byte(purpose))}, nil
}

// Open implements cloud.Sealer.
func (k *Keyring) Open(purpose string, s cloud.Sealed) ([]byte, error) {
	key, err := k.find(s.KeyID)
	if err != nil {
		return nil, err
	}
	value, err := key.aead.Open(nil, nil, s.Box, []byte(purpose))
	if err != nil {
		return nil, cloud.Errorf(cloud.CodeInternal, "a sealed value was changed in the database, or belongs elsewhere").Because(errors.New(purpose + ": " + err.Error()))
	}
	return value, nil
}

// find returns the key with this id.
func (k *Keyring) find(id string) (*masterKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	has := func(key *masterKey) bool { return key.id == id }
	i := slices.IndexFunc(k.keys, has)
	if i < 0 {
		k.follow()
		i = slices.IndexFunc(k.keys, has)
	}
	switch {
	case len(k.keys) == 0:
		return nil, errNoKey
	case i < 0:
		return nil, k.missing([]string{id})
	}
	return k.keys[i], nil
}

// follow reads the file again if it is another than the one that was read. What
// cannot be read changes nothing. The mutex is held.
func (k *Keyring) follow() {
	if k.path == "" {
		return
	}
	now, err := os.Stat(k.path)
	if err != nil || os.SameFile(now, k.info) && now.ModTime().Equal(k.info.ModTime()) && now.Size() == k.info.Size() {
		return
	}
	if f, info, err := readKeyFile(k.path); err == nil {
		k.keys, k.info = f.keys(), info
	}
}

// ErrMissingKey is in the chain of errors about keys that trying again does not
// bring back.
var ErrMissingKey = errors.New("a master key is missing")

// missing is the error about values that are sealed with keys that are not here.
func (k *Keyring) missing(ids []string) error {
	where := "the master key that was given"
	if k.path != "" {
		where = k.path
	}
	return cloud.Errorf(cloud.CodeUnavailable,
		"secrets in the database are sealed with the master key %s, which is not in %s: add the line with that key from a copy, below the first key, and start again. Nothing was changed",
		strings.Join(ids, ", "), where).Because(ErrMissingKey)
}

// Check tells whether everything in vault can be opened, as far as its keys are
// concerned. If not, the CodeUnavailable error, with ErrMissingKey in its chain, names the keys that are missing
// and says how to restore them. Nothing is changed.
func (k *Keyring) Check(ctx context.Context, vault Vault) error {
	ids, err := vault.KeyIDs(ctx)
	if err != nil {
		return err
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		_, err := k.find(id)
		return err == nil
	})
	if len(ids) == 0 {
		return nil
	}
	return k.missing(ids)
}
