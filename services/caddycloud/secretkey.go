package caddycloud

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/picloud/picloud/services/secrets"
)

// secretCredential is the name of the master key among the credentials that
// systemd hands to a service (systemd.exec(5), LoadCredential=).
const secretCredential = "picloud-secret-key"

// SecretKey says where the instance's master key is. The zero value is an
// instance without one.
type SecretKey struct {
	File string // a key file as secrets.CreateKeyFile makes it, or ""
	Text string // or what would be in one

	credential bool // File is a copy that systemd made, for this run of the service
}

// FindSecretKey is where the master key is by default: in file, if that is not
// empty; else in the credential that systemd passes on, if there is one; else in
// the file that PICLOUD_SECRET_KEY_FILE names; else in PICLOUD_SECRET_KEY itself.
func FindSecretKey(file string) SecretKey {
	if file != "" {
		return SecretKey{File: file}
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		path := filepath.Join(dir, secretCredential)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return SecretKey{File: path, credential: true}
		}
	}
	return SecretKey{File: os.Getenv("PICLOUD_SECRET_KEY_FILE"), Text: os.Getenv("PICLOUD_SECRET_KEY")}
}

// keyring opens the key. A file that is named must be there: fs.ErrNotExist is in
// the error's chain if it is not.
func (k SecretKey) keyring() (*secrets.Keyring, error) {
	switch {
	case k.credential:
		// systemd keeps others from the file by means that its mode does not show.
		text, err := os.ReadFile(k.File)
		if err != nil {
			return nil, fmt.Errorf("the master key that systemd passes on: %w", err)
		}
		return secrets.ParseKeyring(string(text))
	case k.File != "":
		ring, err := secrets.OpenKeyring(k.File)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w. Put it back from its copy, readable by its owner alone: another key cannot open what was sealed with it. Nothing was changed", err)
		}
		return ring, err
	case strings.TrimSpace(k.Text) != "":
		ring, err := secrets.ParseKeyring(k.Text)
		if err != nil {
			return nil, fmt.Errorf("PICLOUD_SECRET_KEY: %w", err)
		}
		return ring, nil
	default:
		return new(secrets.Keyring), nil
	}
}

// checked opens the key, and makes sure that it opens what is sealed in vault.
// With create, a key file that is missing is made, unless something is sealed
// already.
func (k SecretKey) checked(ctx context.Context, vault secrets.Vault, create bool) (*secrets.Keyring, error) {
	ring, err := k.keyring()
	if create && errors.Is(err, fs.ErrNotExist) {
		ids, failed := vault.KeyIDs(ctx)
		if failed != nil {
			return nil, failed
		}
		if len(ids) > 0 {
			return nil, err
		}
		if err := secrets.CreateKeyFile(k.File); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		ring, err = k.keyring()
	}
	if err != nil {
		return nil, err
	}
	return ring, ring.Check(ctx, vault)
}
