package secrets

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// keySize is the length of a master key in bytes: AES-256.
const keySize = 32

// maxKeyFile is the most bytes that a key file may have.
const maxKeyFile = 64 << 10

// keyFile is the text of a key file: a key in base64 on each line, the current
// one first; lines that are empty or begin with "#" are for people.
type keyFile struct{ lines []keyLine }

type keyLine struct {
	text string
	key  *masterKey // nil: a line for people
}

// masterKey is a key that is ready to use. It holds no text that could be
// printed.
type masterKey struct {
	id   string
	aead cipher.AEAD
}

func newMasterKey(key []byte) *masterKey {
	sum := sha256.Sum256(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &masterKey{id: hex.EncodeToString(sum[:8]), aead: aead}
}

// parseKeyFile reads the text of a key file. Its errors name lines, not what is
// on them.
func parseKeyFile(text string) (keyFile, error) {
	var f keyFile
	if len(text) > maxKeyFile {
		return f, fmt.Errorf("has more than %d bytes, so it is no key file", maxKeyFile)
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		l := keyLine{text: strings.TrimSpace(line)}
		if l.text != "" && l.text[0] != '#' {
			key, err := base64.StdEncoding.Strict().DecodeString(l.text)
			if err != nil || len(key) != keySize || base64.StdEncoding.EncodeToString(key) != l.text {
				return keyFile{}, fmt.Errorf("line %d is not a key: %d bytes in base64", number, keySize)
			}
			l.key = newMasterKey(key)
		}
		f.lines = append(f.lines, l)
	}
	if len(f.keys()) == 0 {
		return keyFile{}, errors.New("holds no key")
	}
	return f, nil
}

// keys are the keys, the current one first.
func (f keyFile) keys() []*masterKey {
	var keys []*masterKey
	for _, l := range f.lines {
		if l.key != nil {
			keys = append(keys, l.key)
		}
	}
	return keys
}

// withNew returns f with a fresh key as the current one.
func (f keyFile) withNew() keyFile {
	var key [keySize]byte
	_, _ = rand.Read(key[:]) // crypto/rand.Read never fails
	fresh := keyLine{text: base64.StdEncoding.EncodeToString(key[:]), key: newMasterKey(key[:])}
	var g keyFile
	added := false
	for _, l := range f.lines {
		if l.key != nil && !added {
			g.lines = append(g.lines, fresh)
			added = true
		}
		g.lines = append(g.lines, l)
	}
	if !added {
		g.lines = append(g.lines, fresh)
	}
	return g
}

// without returns f without the keys that drop names.
func (f keyFile) without(drop func(*masterKey) bool) keyFile {
	var g keyFile
	for _, l := range f.lines {
		if l.key == nil || !drop(l.key) {
			g.lines = append(g.lines, l)
		}
	}
	return g
}

func (f keyFile) text() string {
	var b strings.Builder
	for _, l := range f.lines {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	return b.String()
}

// readKeyFile reads the key file at path, which nobody but its owner may have
// access to.
func readKeyFile(path string) (keyFile, fs.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return keyFile{}, nil, fmt.Errorf("open the master key file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return keyFile{}, nil, fmt.Errorf("open the master key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return keyFile{}, nil, fmt.Errorf("the master key file %s is no regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return keyFile{}, nil, fmt.Errorf("the master key file %s is open to others (mode %04o): run chmod 600 %s, and rotate the key if anybody may have read it", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return keyFile{}, nil, fmt.Errorf("read the master key file: %w", err)
	}
	f, err := parseKeyFile(string(text))
	if err != nil {
		return keyFile{}, nil, fmt.Errorf("the master key file %s: %w", path, err)
	}
	return f, info, nil
}

// CreateKeyFile makes a file with a fresh master key at path, readable by its
// owner alone. It is there whole or not at all, also after a power cut. What is
// there already is left alone: fs.ErrExist is in the error's chain.
func CreateKeyFile(path string) error {
	head := "# The master key of a PiCloud instance: 32 random bytes in base64. Without it the\n" +
		"# secrets in the database are lost. Keep a copy apart from copies of the database.\n"
	f := keyFile{lines: []keyLine{{text: strings.TrimSuffix(head, "\n")}}}.withNew()
	temporary, err := writeBeside(path, f.text())
	if err != nil {
		return fmt.Errorf("create the master key file: %w", err)
	}
	defer func() { _ = os.Remove(temporary) }()
	if err := os.Link(temporary, path); err != nil { // fails if path exists
		return fmt.Errorf("create the master key file: %w", err)
	}
	return syncDirectory(path)
}

// replaceKeyFile puts f in the place of the key file at path, which keeps its
// owner.
func replaceKeyFile(path string, f keyFile, was fs.FileInfo) error {
	temporary, err := writeBeside(path, f.text())
	if err != nil {
		return fmt.Errorf("write the master key file: %w", err)
	}
	defer func() { _ = os.Remove(temporary) }()
	// An administrator may rotate the key of a service that is another user.
	if owner, ok := was.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(temporary, int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("write the master key file: keep its owner: %w", err)
		}
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write the master key file: %w", err)
	}
	return syncDirectory(path)
}

// writeBeside writes text to a new file in path's directory, with mode 0600, and
// returns its name when it is on the disk.
func writeBeside(path, text string) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(file, bytes.NewBufferString(text))
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}

func syncDirectory(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("make the master key file durable: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("make the master key file durable: %w", err)
	}
	return nil
}
