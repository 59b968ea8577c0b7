package accounts

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"io"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// tokenBytes is how much randomness a token holds.
const tokenBytes = 32

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// MintKey returns a fresh API key. It is a secret to be shown once: what is
// stored is HashToken of it.
func MintKey() string { return mint(rand.Reader, cloud.KeyPrefix) }

// HashToken is what is stored of an API key, a session's token or an
// invitation's. A plain SHA-256 will do, since tokens are random and too long to
// guess; and since the hash is what is looked up, the time that takes tells
// nothing about tokens.
func HashToken(token string) [32]byte { return sha256.Sum256([]byte(token)) }

func mint(random io.Reader, prefix string) string {
	return prefix + tokenEncoding.EncodeToString(randomBytes(random, tokenBytes))
}

// randomBytes panics where there is no randomness: nothing may go on with secrets
// that can be guessed.
func randomBytes(random io.Reader, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(random, b); err != nil {
		panic("accounts: no randomness: " + err.Error())
	}
	return b
}

// wellFormed tells whether token can be one that begins with prefix, so that
// nothing else costs a query.
func wellFormed(prefix, token string) bool {
	text, ok := strings.CutPrefix(token, prefix)
	if !ok || len(text) != tokenEncoding.EncodedLen(tokenBytes) {
		return false
	}
	b, err := tokenEncoding.DecodeString(text)
	return err == nil && tokenEncoding.EncodeToString(b) == text
}

// codeBytes is the randomness of one-time passwords and recovery codes: too much
// to guess from a stolen database too.
const codeBytes = 10

// randomCode is a secret that people type: four groups of four.
func randomCode(random io.Reader) string {
	text := tokenEncoding.EncodeToString(randomBytes(random, codeBytes))
	return strings.Join([]string{text[:4], text[4:8], text[8:12], text[12:]}, "-")
}
