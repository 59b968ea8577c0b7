package secrets_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
)

// key is the line of a key file with a key of 32 times c.
func key(c byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{c}, 32)) }

func keyID(c byte) string {
	sum := sha256.Sum256(bytes.Repeat([]byte{c}, 32))
	return hex.EncodeToString(sum[:])[:16]
}

func newRing(t *testing.T) *secrets.Keyring {
	t.Helper()
	ring, err := secrets.ParseKeyring(key('a'))
	must(t, err)
	return ring
}

func newKeyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret.key")
	must(t, secrets.CreateKeyFile(path))
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path+".new", []byte(text), 0o600))
	must(t, os.Rename(path+".new", path))
}

func TestParseKeyring(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a line":               key('a'),
		"a comment":            "# mine\n\n" + key('a') + "\n#" + key('b') + "\n",
		"older keys behind it": key('a') + "\n" + key('b') + "\n",
		"Windows' lines":       "  " + key('a') + "\r\n\r\n",
		"a key twice":          key('a') + "\n" + key('a'),
	} {
		ring, err := secrets.ParseKeyring(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s, err := ring.Seal("p", nil); err != nil || s.KeyID != keyID('a') {
			t.Errorf("%s: sealed with %s, %v", name, s.KeyID, err)
		}
	}
	for name, text := range map[string]string{
		"nothing":              "",
		"a comment alone":      "# " + key('a'),
		"a short key":          key('a') + "\n" + base64.StdEncoding.EncodeToString([]byte("too short to be a key")),
		"a long key":           base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 33)),
		"no base64":            "correct horse battery staple",
		"hex":                  strings.Repeat("ab", 32),
		"base64 cut off":       key('a')[:40],
		"two keys on one line": key('a') + " " + key('b'),
		"base64 for URLs":      strings.Repeat("_", 43) + "=",
		"a book":               strings.Repeat("# x\n", 1<<18),
	} {
		_, err := secrets.ParseKeyring(text)
		if cloud.CodeOf(err) != cloud.CodeInvalid {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for line := range strings.Lines(text) {
			if l := strings.TrimSpace(line); len(l) > 3 && strings.Contains(err.Error(), l) {
				t.Errorf("%s: the error tells the key: %v", name, err)
			}
		}
	}
}

func TestKeyring_seals(t *testing.T) {
	t.Parallel()
	old, err := secrets.ParseKeyring(key('b'))
	must(t, err)
	ring, err := secrets.ParseKeyring(key('a') + "\n" + key('b'))
	must(t, err)
	before, err := old.Seal("p", []byte("old value"))
	must(t, err)
	if value, err := ring.Open("p", before); string(value) != "old value" || err != nil {
		t.Errorf("an older key opens %q, %v", value, err)
	}
	one, err := ring.Seal("p", []byte("value"))
	must(t, err)
	two, err := ring.Seal("p", []byte("value"))
	must(t, err)
	if bytes.Equal(one.Box, two.Box) {
		t.Error("the same value is sealed the same way twice")
	}
	if one.KeyID != keyID('a') {
		t.Errorf("sealed with %s", one.KeyID)
	}
	if value, err := ring.Open("p", one); string(value) != "value" || err != nil {
		t.Errorf("opened %q, %v", value, err)
	}
	if _, err := ring.Open("q", one); cloud.CodeOf(err) != cloud.CodeInternal {
		t.Errorf("opened for another purpose: %v", err)
	}
	for i := range one.Box {
		bad := cloud.Sealed{KeyID: one.KeyID, Box: bytes.Clone(one.Box)}
		bad.Box[i] ^= 1
		if _, err := ring.Open("p", bad); cloud.CodeOf(err) != cloud.CodeInternal {
			t.Errorf("opened what was changed at %d: %v", i, err)
		}
		bad.Box = one.Box[:i]
		if _, err := ring.Open("p", bad); cloud.CodeOf(err) != cloud.CodeInternal {
			t.Errorf("opened what was cut at %d: %v", i, err)
		}
	}
	_, err = old.Open("p", one)
	if cloud.CodeOf(err) != cloud.CodeUnavailable || !strings.Contains(err.Error(), keyID('a')) {
		t.Errorf("without the key: %v", err)
	}
	relabelled := cloud.Sealed{KeyID: keyID('b'), Box: one.Box}
	if _, err := ring.Open("p", relabelled); cloud.CodeOf(err) != cloud.CodeInternal {
		t.Errorf("opened with the wrong key: %v", err)
	}
}

func TestKeyring_printsNothing(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	encoded, err := json.Marshal(map[string]any{"ring": ring}) // as a log would
	must(t, err)
	raw := strings.Repeat("a", 32)
	for _, text := range []string{fmt.Sprint(ring), fmt.Sprintf("%+v %#v %s %q", ring, ring, ring, ring), string(encoded)} {
		if strings.Contains(text, key('a')) || strings.Contains(text, raw) || strings.Contains(text, "97 97") || strings.Contains(text, "0x61") {
			t.Errorf("prints %s", text)
		}
	}
}

func TestCreateKeyFile(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %04o", info.Mode().Perm())
	}
	before, err := os.ReadFile(path)
	must(t, err)
	if err := secrets.CreateKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made a second time: %v", err)
	}
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	if other, err := os.ReadFile(newKeyFile(t)); err != nil || bytes.Equal(before, other) {
		t.Errorf("two files have the same key: %v", err)
	}
	if err := secrets.CreateKeyFile(filepath.Join(t.TempDir(), "none", "key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the directory: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	t.Run("by many at once", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "key")
		var wg sync.WaitGroup
		made := make(chan bool, 8)
		for range cap(made) {
			wg.Go(func() {
				err := secrets.CreateKeyFile(path)
				if err != nil && !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
				made <- err == nil
			})
		}
		wg.Wait()
		close(made)
		n := 0
		for ok := range made {
			if ok {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d made it", n)
		}
	})
}

func TestOpenKeyring(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	if _, err := secrets.OpenKeyring(path); err != nil {
		t.Error(err)
	}
	if _, err := secrets.OpenKeyring(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if _, err := secrets.OpenKeyring(filepath.Dir(path)); err == nil {
		t.Error("opened a directory")
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o660, 0o606, 0o610} {
		must(t, os.Chmod(path, mode))
		if _, err := secrets.OpenKeyring(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	must(t, os.Chmod(path, 0o400))
	if _, err := secrets.OpenKeyring(path); err != nil {
		t.Errorf("one that cannot be written: %v", err)
	}
	write(t, path, key('a')+"\nrubbish\n")
	if _, err := secrets.OpenKeyring(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "rubbish") {
		t.Errorf("a broken file: %v", err)
	}
}

func TestKeyring_followsItsFile(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	write(t, path, key('a'))
	ring, err := secrets.OpenKeyring(path)
	must(t, err)
	sealed, err := ring.Seal("p", []byte("before"))
	must(t, err)

	write(t, path, key('b')+"\n"+key('a'))
	if s, err := ring.Seal("p", nil); err != nil || s.KeyID != keyID('b') {
		t.Errorf("after a rotation it seals with %s, %v", s.KeyID, err)
	}
	if value, err := ring.Open("p", sealed); string(value) != "before" || err != nil {
		t.Errorf("opened %q, %v", value, err)
	}

	late, err := secrets.ParseKeyring(key('c'))
	must(t, err)
	sealed, err = late.Seal("p", []byte("late"))
	must(t, err)
	if _, err := ring.Open("p", sealed); cloud.CodeOf(err) != cloud.CodeUnavailable || !strings.Contains(err.Error(), path) {
		t.Errorf("an unknown key: %v", err)
	}
	write(t, path, key('c')+"\n"+key('b'))
	if value, err := ring.Open("p", sealed); string(value) != "late" || err != nil {
		t.Errorf("opened %q, %v", value, err)
	}

	write(t, path, "broken")
	if s, err := ring.Seal("p", nil); err != nil || s.KeyID != keyID('c') {
		t.Errorf("with a broken file it seals with %s, %v", s.KeyID, err)
	}
	must(t, os.Remove(path))
	if value, err := ring.Open("p", sealed); string(value) != "late" || err != nil {
		t.Errorf("without its file it opens %q, %v", value, err)
	}
}

func TestKeyring_withoutKey(t *testing.T) {
	t.Parallel()
	var ring secrets.Keyring
	_, err := ring.Seal("p", nil)
	wantError(t, err, cloud.CodeUnavailable, "")
	if !strings.Contains(err.Error(), "PICLOUD_SECRET_KEY") {
		t.Errorf("the error does not say how: %v", err)
	}
	_, err = ring.Open("p", cloud.Sealed{KeyID: keyID('a')})
	wantError(t, err, cloud.CodeUnavailable, "")
}

func TestKeyring_Check(t *testing.T) {
	t.Parallel()
	store := secrets.NewMemory()
	path := newKeyFile(t)
	write(t, path, key('b')+"\n"+key('c'))
	ring, err := secrets.OpenKeyring(path)
	must(t, err)
	must(t, ring.Check(t.Context(), store))
	must(t, (&secrets.Keyring{}).Check(t.Context(), store))
	set := func(name string, c byte) {
		must(t, store.SetSecret(t.Context(), app, name, cloud.Sealed{KeyID: keyID(c)}, 1))
	}
	set("C", 'c')
	must(t, ring.Check(t.Context(), store))
	set("A", 'a')
	set("D", 'd')
	text, err := os.ReadFile(path)
	must(t, err)
	err = ring.Check(t.Context(), store)
	wantError(t, err, cloud.CodeUnavailable, "")
	for _, part := range []string{keyID('a'), keyID('d'), path} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), keyID('c')) {
		t.Errorf("a key that is there is said to be missing: %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		t.Errorf("the file was changed: %v", err)
	}
	wantError(t, secrets.Rotate(t.Context(), path, store, nil), cloud.CodeUnavailable, "")
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		t.Errorf("a rotation that cannot be changed the file: %v", err)
	}
	write(t, path, key('b')+"\n"+key('c')+"\n"+key('a')+"\n"+key('d'))
	must(t, ring.Check(t.Context(), store))
	wantError(t, (&secrets.Keyring{}).Check(t.Context(), store), cloud.CodeUnavailable, "")
}

func FuzzParseKeyring(f *testing.F) {
	for _, text := range []string{"", key('a'), "# x\r\n" + key('a') + "\n\n" + key('b'), "AAAA", "\x00", key('a')[:43]} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := secrets.ParseKeyring(text)
		if err != nil {
			if cloud.CodeOf(err) != cloud.CodeInvalid {
				t.Errorf("error %v", err)
			}
			return
		}
		sealed, err := ring.Seal("p", []byte("value"))
		must(t, err)
		if value, err := ring.Open("p", sealed); string(value) != "value" || err != nil {
			t.Errorf("opened %q, %v", value, err)
		}
	})
}

// FuzzKeyring_Open: what was sealed opens as it was, and not once a bit of it is
// another, or the purpose; what was never sealed does not open.
func FuzzKeyring_Open(f *testing.F) {
	ring, err := secrets.ParseKeyring(key('a'))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("p", "p", []byte("value"), uint(0), byte(0))
	f.Add("p", "q", []byte("value"), uint(0), byte(0))
	f.Add("p", "p", []byte{}, uint(27), byte(1))
	f.Fuzz(func(t *testing.T, purpose, other string, value []byte, at uint, bits byte) {
		sealed, err := ring.Seal(purpose, value)
		must(t, err)
		sealed.Box[at%uint(len(sealed.Box))] ^= bits
		got, err := ring.Open(other, sealed)
		if genuine := purpose == other && bits == 0; genuine != (err == nil) || genuine && !bytes.Equal(got, value) {
			t.Errorf("opened %q, %v", got, err)
		}
		if got, err := ring.Open(purpose, cloud.Sealed{KeyID: sealed.KeyID, Box: value}); err == nil {
			t.Errorf("opened %q as %q", value, got)
		}
	})
}
