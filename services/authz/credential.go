package authz

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// keyBytes is how much randomness an API key holds.
const keyBytes = 32

var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Keys mints API keys and finds out who comes with one. It is safe for
// concurrent use.
type Keys struct {
	store KeyStore
	now   func() time.Time
}

// NewKeys returns Keys over store. Nil now means time.Now.
func NewKeys(store KeyStore, now func() time.Time) *Keys {
	if now == nil {
		now = time.Now
	}
	return &Keys{store: store, now: now}
}

// MintKey returns a fresh API key. It is a secret to be shown once: what is
// stored is HashKey of it.
func MintKey() string {
	var b [keyBytes]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return cloud.KeyPrefix + keyEncoding.EncodeToString(b[:])
}

// HashKey is what is stored of an API key. A plain SHA-256 will do, since keys
// are random and too long to guess.
func HashKey(token string) [32]byte { return sha256.Sum256([]byte(token)) }

// Authenticate returns the principal that token stands for. CodeUnauthorized if
// it is no API key, or an unknown or expired one, or its user is not active;
// CodeUnavailable while that cannot be found out.
func (k *Keys) Authenticate(ctx context.Context, token string) (*cloud.Principal, error) {
	if !wellFormed(token) {
		return nil, cloud.Errorf(cloud.CodeUnauthorized, "the bearer token is not an API key; one starts with %s and has %d characters", cloud.KeyPrefix, len(cloud.KeyPrefix)+keyEncoding.EncodedLen(keyBytes))
	}
	return k.store.PrincipalByKey(ctx, HashKey(token), k.now())
}

// CreateOwnerKey mints and stores a key with all scopes for the instance's
// owner, who is created if there is none, and returns it.
func (k *Keys) CreateOwnerKey(ctx context.Context, name string) (string, error) {
	token := MintKey()
	if err := k.store.CreateOwnerKey(ctx, name, HashKey(token)); err != nil {
		return "", err
	}
	return token, nil
}

// wellFormed tells whether token can be an API key, so that nothing else costs a
// query.
func wellFormed(token string) bool {
	text, ok := strings.CutPrefix(token, cloud.KeyPrefix)
	if !ok || len(text) != keyEncoding.EncodedLen(keyBytes) {
		return false
	}
	b, err := keyEncoding.DecodeString(text)
	return err == nil && len(b) == keyBytes
}
