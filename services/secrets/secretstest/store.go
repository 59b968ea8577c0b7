// Package secretstest specifies what a secrets.Store and a secrets.Vault do, as
// tests that every one passes.
package secretstest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
)

// New makes an empty store for one test, with its vault, and names two apps that
// exist in it. Nothing else may be sealed in what the vault is of.
type New func(t *testing.T) (store secrets.Store, vault secrets.Vault, app, other string)

// TestStore runs the specification on stores that newStore makes.
func TestStore(t *testing.T, newStore New) {
	for name, test := range map[string]func(*suite){
		"an absent secret is no error":              (*suite).absent,
		"what is set is returned":                   (*suite).roundTrip,
		"names are compared by their bytes":         (*suite).names,
		"a name is a secret's or a variable's":      (*suite).taken,
		"delete tells whether it was there":         (*suite).remove,
		"apps are apart":                            (*suite).isolation,
		"an app has so many names":                  (*suite).manyNames,
		"an app has so many bytes":                  (*suite).manyBytes,
		"concurrent changes keep the bounds":        (*suite).concurrentBounds,
		"the vault knows the keys in use":           (*suite).keyIDs,
		"the vault is sealed anew in steps":         (*suite).reseal,
		"a step that fails changes nothing":         (*suite).resealFails,
		"what is set meanwhile is not sealed again": (*suite).resealWhileWriting,
	} {
		t.Run(name, func(t *testing.T) {
			store, vault, app, other := newStore(t)
			test(&suite{T: t, store: store, vault: vault, app: app, other: other})
		})
	}
}

type suite struct {
	*testing.T
	store      secrets.Store
	vault      secrets.Vault
	app, other string
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) code(err error, want cloud.Code) {
	s.Helper()
	if cloud.CodeOf(err) != want {
		s.Fatalf("error %v, want code %q", err, want)
	}
}

func sealed(keyID, box string) cloud.Sealed { return cloud.Sealed{KeyID: keyID, Box: []byte(box)} }

func (s *suite) set(app, name string, value cloud.Sealed) {
	s.Helper()
	s.must(s.store.SetSecret(s.Context(), app, name, value, len(value.Box)))
}

// want checks the secret; a zero value means that there is none.
func (s *suite) want(app, name string, want cloud.Sealed) {
	s.Helper()
	got, ok, err := s.store.Secret(s.Context(), app, name)
	s.must(err)
	if ok != (want.KeyID != "") || !reflect.DeepEqual(got, want) {
		s.Errorf("secret %s is %+v, %v; want %+v", name, got, ok, want)
	}
}

func (s *suite) absent() {
	s.want(s.app, "NAME", cloud.Sealed{})
	for _, list := range []func() ([]cloud.EnvEntry, error){
		func() ([]cloud.EnvEntry, error) { return s.store.Secrets(s.Context(), s.app) },
		func() ([]cloud.EnvEntry, error) { return s.store.Variables(s.Context(), s.app) },
	} {
		if entries, err := list(); err != nil || len(entries) != 0 {
			s.Errorf("an empty app has %v, %v", entries, err)
		}
	}
}

func (s *suite) roundTrip() {
	before := time.Now().Add(-time.Minute)
	s.set(s.app, "B", sealed("k1", "\x00\xff one"))
	s.set(s.app, "B", sealed("k2", "two"))
	s.set(s.app, "A", sealed("k1", "x"))
	s.want(s.app, "B", sealed("k2", "two"))
	s.must(s.store.SetVariable(s.Context(), s.app, "V", "old"))
	s.must(s.store.SetVariable(s.Context(), s.app, "V", "ünïcode\nnew"))
	s.must(s.store.SetVariable(s.Context(), s.app, "EMPTY", ""))

	names := func(entries []cloud.EnvEntry, err error) (plain []cloud.EnvEntry) {
		s.must(err)
		for _, e := range entries {
			if e.UpdatedAt.Before(before) {
				s.Errorf("%s was updated at %s", e.Name, e.UpdatedAt)
			}
			plain = append(plain, cloud.EnvEntry{Name: e.Name, Value: e.Value})
		}
		return plain
	}
	if got, want := names(s.store.Secrets(s.Context(), s.app)), []cloud.EnvEntry{{Name: "A"}, {Name: "B"}}; !reflect.DeepEqual(got, want) {
		s.Errorf("secrets are %v, want %v", got, want)
	}
	if got, want := names(s.store.Variables(s.Context(), s.app)), []cloud.EnvEntry{{Name: "EMPTY"}, {Name: "V", Value: "ünïcode\nnew"}}; !reflect.DeepEqual(got, want) {
		s.Errorf("variables are %v, want %v", got, want)
	}
}

func (s *suite) names() {
	for _, name := range []string{"b", "B", "_", "a_", "aa", "A"} {
		s.set(s.app, name, sealed("k1", name))
	}
	s.want(s.app, "b", sealed("k1", "b"))
	s.want(s.app, "B", sealed("k1", "B"))
	entries, err := s.store.Secrets(s.Context(), s.app)
	s.must(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name)
	}
	if want := []string{"A", "B", "_", "a_", "aa", "b"}; !slices.Equal(got, want) {
		s.Errorf("names are %v, want %v", got, want)
	}
}

func (s *suite) taken() {
	s.set(s.app, "SECRET", sealed("k1", "x"))
	s.must(s.store.SetVariable(s.Context(), s.app, "VARIABLE", "x"))
	s.code(s.store.SetVariable(s.Context(), s.app, "SECRET", "y"), cloud.CodeConflict)
	s.code(s.store.SetSecret(s.Context(), s.app, "VARIABLE", sealed("k1", "y"), 1), cloud.CodeConflict)
	for _, remove := range []func() (bool, error){
		func() (bool, error) { return s.store.DeleteVariable(s.Context(), s.app, "SECRET") },
		func() (bool, error) { return s.store.DeleteSecret(s.Context(), s.app, "VARIABLE") },
	} {
		if was, err := remove(); was || err != nil {
			s.Errorf("deleted as the other kind: %v, %v", was, err)
		}
	}
	s.want(s.app, "SECRET", sealed("k1", "x"))
	s.want(s.app, "VARIABLE", cloud.Sealed{})
}

func (s *suite) remove() {
	s.set(s.app, "S", sealed("k1", "x"))
	s.must(s.store.SetVariable(s.Context(), s.app, "V", "x"))
	for _, want := range []bool{true, false} {
		if was, err := s.store.DeleteSecret(s.Context(), s.app, "S"); was != want || err != nil {
			s.Errorf("deleted a secret: %v, %v, want %v", was, err, want)
		}
		if was, err := s.store.DeleteVariable(s.Context(), s.app, "V"); was != want || err != nil {
			s.Errorf("deleted a variable: %v, %v, want %v", was, err, want)
		}
	}
	s.absent()
	s.must(s.store.SetVariable(s.Context(), s.app, "S", "the name is free"))
}

func (s *suite) isolation() {
	s.set(s.app, "S", sealed("k1", "mine"))
	s.must(s.store.SetVariable(s.Context(), s.other, "S", "theirs"))
	s.want(s.other, "S", cloud.Sealed{})
	if was, err := s.store.DeleteSecret(s.Context(), s.other, "S"); was || err != nil {
		s.Errorf("deleted another app's secret: %v, %v", was, err)
	}
	s.want(s.app, "S", sealed("k1", "mine"))
	if entries, err := s.store.Secrets(s.Context(), s.other); err != nil || len(entries) != 0 {
		s.Errorf("the other app has secrets %v, %v", entries, err)
	}
}

func (s *suite) manyNames() {
	for i := range cloud.MaxEnvNames {
		if i%2 == 0 {
			s.set(s.app, fmt.Sprint("N", i), sealed("k1", "x"))
		} else {
			s.must(s.store.SetVariable(s.Context(), s.app, fmt.Sprint("N", i), "x"))
		}
	}
	s.code(s.store.SetSecret(s.Context(), s.app, "MORE", sealed("k1", "x"), 1), cloud.CodeLimit)
	s.code(s.store.SetVariable(s.Context(), s.app, "MORE", "x"), cloud.CodeLimit)
	s.set(s.app, "N0", sealed("k1", "instead"))
	s.set(s.other, "MORE", sealed("k1", "x"))
	if was, err := s.store.DeleteVariable(s.Context(), s.app, "N1"); !was || err != nil {
		s.Errorf("deleted %v, %v", was, err)
	}
	s.set(s.app, "MORE", sealed("k1", "x"))
}

func (s *suite) manyBytes() {
	const n = cloud.MaxEnvValues / cloud.MaxSecret
	for i := range n {
		// A value counts by its own size, not by that of its box.
		s.must(s.store.SetSecret(s.Context(), s.app, fmt.Sprint("N", i), sealed("k1", "x"), cloud.MaxSecret))
	}
	s.code(s.store.SetVariable(s.Context(), s.app, "MORE", "x"), cloud.CodeLimit)
	s.must(s.store.SetVariable(s.Context(), s.app, "EMPTY", ""))
	s.must(s.store.SetSecret(s.Context(), s.app, "N0", sealed("k1", "x"), cloud.MaxSecret-1))
	s.must(s.store.SetVariable(s.Context(), s.app, "MORE", "x"))
	s.code(s.store.SetVariable(s.Context(), s.app, "MORE", "xx"), cloud.CodeLimit)
	s.must(s.store.SetVariable(s.Context(), s.other, "MORE", "xx"))
}

func (s *suite) concurrentBounds() {
	for i := range cloud.MaxEnvNames - 4 {
		s.must(s.store.SetVariable(s.Context(), s.app, fmt.Sprint("N", i), ""))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[cloud.Code]int{}
	for i := range 8 {
		wg.Go(func() {
			err := s.store.SetVariable(s.Context(), s.app, fmt.Sprint("M", i), strings.Repeat("x", i))
			mu.Lock()
			defer mu.Unlock()
			codes[cloud.CodeOf(err)]++
		})
	}
	wg.Wait()
	if codes[""] != 4 || codes[cloud.CodeLimit] != 4 {
		s.Errorf("four had room; the outcomes are %v", codes)
	}
}

func (s *suite) wantKeyIDs(want ...string) {
	s.Helper()
	got, err := s.vault.KeyIDs(s.Context())
	s.must(err)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.Errorf("keys in use are %v, want %v", got, want)
	}
}

func (s *suite) keyIDs() {
	s.wantKeyIDs()
	s.must(s.store.SetVariable(s.Context(), s.app, "V", "x"))
	s.wantKeyIDs()
	s.set(s.app, "A", sealed("k1", "x"))
	s.set(s.app, "B", sealed("k2", "x"))
	s.set(s.other, "A", sealed("k2", "x"))
	s.wantKeyIDs("k1", "k2")
	s.set(s.app, "A", sealed("k2", "x"))
	s.wantKeyIDs("k2")
}

func (s *suite) reseal() {
	var all []string
	for i := range 7 {
		for _, app := range []string{s.app, s.other} {
			name := fmt.Sprint("N", i)
			s.set(app, name, sealed(fmt.Sprint("k", i%3), app+name))
			all = append(all, cloud.SecretPurpose(app, name))
		}
	}
	s.must(s.store.SetVariable(s.Context(), s.app, "V", "x"))
	before, err := s.store.Secrets(s.Context(), s.app)
	s.must(err)
	var seen []string
	for total, steps := 0, 0; ; steps++ {
		n, err := s.vault.Reseal(s.Context(), "k0", func(purpose string, was cloud.Sealed) (cloud.Sealed, error) {
			seen = append(seen, purpose)
			if was.KeyID == "k0" {
				s.Errorf("%s is sealed with k0 already", purpose)
			}
			return sealed("k0", string(was.Box)+" again"), nil
		})
		s.must(err)
		if total += n; n == 0 {
			if want := 2 * 4; total != want || len(seen) != want { // 1, 2, 4 and 5
				s.Errorf("resealed %d, of which %v were seen, want %d", total, seen, want)
			}
			break
		}
		if steps > 100 {
			s.Fatal("there is no end")
		}
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != 8 {
		s.Errorf("some were resealed twice: %v", seen)
	}
	for _, purpose := range seen {
		if !slices.Contains(all, purpose) {
			s.Errorf("nothing was sealed for %q", purpose)
		}
	}
	s.wantKeyIDs("k0")
	s.want(s.app, "N0", sealed("k0", s.app+"N0"))
	s.want(s.other, "N1", sealed("k0", s.other+"N1 again"))
	after, err := s.store.Secrets(s.Context(), s.app)
	s.must(err)
	if !reflect.DeepEqual(after, before) {
		s.Errorf("a secret that is sealed anew is no change of it: %v became %v", before, after)
	}
}

func (s *suite) resealFails() {
	s.set(s.app, "A", sealed("k1", "a"))
	s.set(s.app, "B", sealed("k1", "b"))
	broken := cloud.Errorf(cloud.CodeInternal, "broken")
	calls := 0
	n, err := s.vault.Reseal(s.Context(), "k2", func(_ string, was cloud.Sealed) (cloud.Sealed, error) {
		if calls++; calls == 2 {
			return cloud.Sealed{}, broken
		}
		return sealed("k2", string(was.Box)), nil
	})
	if n != 0 || cloud.CodeOf(err) != cloud.CodeInternal || calls != 2 {
		s.Errorf("resealed %d after %d calls: %v", n, calls, err)
	}
	s.wantKeyIDs("k1")
	s.want(s.app, "A", sealed("k1", "a"))
	s.want(s.app, "B", sealed("k1", "b"))
}

// resealWhileWriting sets secrets while others are sealed anew: what was set
// last is there in the end.
func (s *suite) resealWhileWriting() {
	for i := range 20 {
		s.set(s.app, fmt.Sprint("N", i), sealed("k1", "old"))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			if err := s.store.SetSecret(s.Context(), s.app, fmt.Sprint("N", i), sealed("k2", "new"), 3); err != nil {
				s.Error(err)
			}
		}
	})
	reseal := func() int {
		n, err := s.vault.Reseal(s.Context(), "k2", func(_ string, was cloud.Sealed) (cloud.Sealed, error) {
			return sealed("k2", string(was.Box)), nil
		})
		if err != nil {
			s.Error(err)
		}
		return n
	}
	for reseal() > 0 {
	}
	wg.Wait()
	if n := reseal(); n != 0 {
		s.Errorf("%d were left", n)
	}
	for i := range 20 {
		s.want(s.app, fmt.Sprint("N", i), sealed("k2", "new"))
	}
}
