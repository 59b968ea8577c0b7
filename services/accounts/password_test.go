package accounts

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/picloud/picloud/services/cloud"
)

func quickHasher(t testing.TB, h Hashing) *hasher {
	t.Helper()
	h.Memory, h.Passes = 8, 1
	made, err := newHasher(h, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestHasher(t *testing.T) {
	t.Parallel()
	t.Run("by default as RFC 9106 and a small board want it", func(t *testing.T) {
		h, err := newHasher(Hashing{}, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := h.hash(t.Context(), "a lamp on the window sill")
		if err != nil || !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Fatalf("stored %s, %v", stored, err)
		}
		if ok, stale, err := h.verify(t.Context(), stored, "a lamp on the window sill"); !ok || stale || err != nil {
			t.Errorf("ok %v, stale %v, %v", ok, stale, err)
		}
		if ok, _, err := h.verify(t.Context(), stored, "a lamp on the window sil"); ok || err != nil {
			t.Errorf("another password: ok %v, %v", ok, err)
		}
	})
	t.Run("reads what other programs wrote", func(t *testing.T) {
		// Of the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1
		const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
		ok, stale, err := quickHasher(t, Hashing{}).verify(t.Context(), reference, "password")
		if !ok || !stale || err != nil {
			t.Errorf("ok %v, stale %v, %v", ok, stale, err)
		}
	})
	t.Run("gives equal passwords different hashes", func(t *testing.T) {
		h := quickHasher(t, Hashing{})
		a, _ := h.hash(t.Context(), "x")
		b, _ := h.hash(t.Context(), "x")
		if a == b {
			t.Errorf("both %s", a)
		}
	})
	t.Run("nothing stored is no password", func(t *testing.T) {
		h := quickHasher(t, Hashing{})
		for _, password := range []string{"", "x", strings.Repeat("x", cloud.MaxPassword+1)} {
			if ok, _, err := h.verify(t.Context(), "", password); ok || err != nil {
				t.Errorf("%.10q: ok %v, %v", password, ok, err)
			}
		}
	})
	t.Run("an empty password is not what is too long", func(t *testing.T) {
		h := quickHasher(t, Hashing{})
		stored, err := h.hash(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if ok, _, err := h.verify(t.Context(), stored, strings.Repeat("x", cloud.MaxPassword+1)); ok || err != nil {
			t.Errorf("ok %v, %v", ok, err)
		}
	})
	t.Run("what cannot be read is not told", func(t *testing.T) {
		_, _, err := quickHasher(t, Hashing{}).verify(t.Context(), "$2y$10$abcdefg", "x")
		if cloud.CodeOf(err) != cloud.CodeInternal || strings.Contains(err.Error(), "abcdefg") {
			t.Errorf("err = %v", err)
		}
	})
}

// The time that a log-in takes does not tell who exists: each costs one hash.
func TestHasher_logIn(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Store: NewMemory(nil), Hashing: Hashing{Memory: 8, Passes: 1, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	inactive := false
	for name, change := range map[string]cloud.UserChange{"ann": {}, "gone": {Active: &inactive}} {
		user, _, err := s.CreateUser(t.Context(), Operator, cloud.UserDraft{Name: name})
		if err == nil {
			_, err = s.ChangeUser(t.Context(), Operator, user.ID, change)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.CreateUser(t.Context(), Operator, cloud.UserDraft{Name: "invited", Invite: true}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "gone", "invited", "nobody", "", "no name"} {
		before := s.hasher.turns.Load()
		_, err := s.LogIn(t.Context(), cloud.LogIn{Name: name, Password: "wrong password"})
		if n := s.hasher.turns.Load() - before; n != 1 || cloud.CodeOf(err) != cloud.CodeUnauthorized {
			t.Errorf("logging in as %q cost %d hashes and gave %v, want one and %s", name, n, err, cloud.CodeUnauthorized)
		}
	}
}

func TestHasher_queue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := quickHasher(t, Hashing{AtOnce: 1, Waiting: 2})
		leave, err := h.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		impatient, giveUp := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		var patientErr, impatientErr error
		waiting.Go(func() { _, patientErr = h.hash(t.Context(), "x") })
		waiting.Go(func() { _, impatientErr = h.hash(impatient, "x") })
		synctest.Wait()
		// The line is full, also for who does not exist.
		if _, _, err := h.verify(t.Context(), "", "x"); cloud.CodeOf(err) != cloud.CodeBusy {
			t.Errorf("beyond the line: %v", err)
		}
		giveUp()
		synctest.Wait()
		if len(h.line) != 2 {
			t.Errorf("%d in line after one gave up, want 2", len(h.line))
		}
		leave()
		waiting.Wait()
		if patientErr != nil || cloud.CodeOf(impatientErr) != cloud.CodeBusy {
			t.Errorf("who waited: %v; who gave up: %v", patientErr, impatientErr)
		}
		if len(h.line) != 0 || len(h.slots) != 0 {
			t.Errorf("%d in line, %d hashing at the end", len(h.line), len(h.slots))
		}
	})
}

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	for _, password := range []string{
		"a lamp on the window sill", "xkqzvjwpym", "ключ под ковриком", "🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑", strings.Repeat("é", cloud.MaxPassword/2),
		"olga is my name", "passwords are fun", "1234567890 sheep",
	} {
		if err := checkPassword("password", "olga", password); err != nil {
			t.Errorf("%q: %v", password, err)
		}
	}
	for password, why := range map[string]string{
		"":                             "has 0 characters; use at least 10",
		"ninechars":                    "has 9 characters",
		"🔑🔑🔑🔑🔑🔑🔑🔑🔑":                    "has 9 characters",
		strings.Repeat("é", 129):       "has 258 bytes",
		"bad utf8 \xff here":           "not valid UTF-8",
		"password123":                  "tried first",
		"PassWord!!!":                  "tried first",
		"qwertyuiop":                   "tried first",
		"1234567890":                   "tried first",
		"1234567890!!":                 "tried first",
		"raspberry2024!":               "tried first",
		"Correct Horse Battery Staple": "tried first",
		"MARGARETHE":                   "the user's name",
		"margarethe2026!":              "the user's name",
	} {
		err := checkPassword("new_password", "Margarethe", password)
		if cloud.CodeOf(err) != cloud.CodeInvalid || !strings.HasPrefix(err.Error(), "invalid: new_password: ") || !strings.Contains(err.Error(), why) {
			t.Errorf("%.40q: %v, want %q", password, err, why)
		}
		if password != "" && err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("%v tells the password", err)
		}
	}
}

func TestBadPasswords_canAllBeMet(t *testing.T) {
	t.Parallel()
	for word := range badPasswords {
		password := word + strings.Repeat("1", max(0, cloud.MinPassword-len(word)))
		if err := checkPassword("password", "olga", password); cloud.CodeOf(err) != cloud.CodeInvalid {
			t.Errorf("%q is in the list, and %q passes", word, password)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	for _, s := range []string{
		"", "$", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=4294967295,t=4294967295,p=255$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=019456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=16$m=19456,t=2,p=257$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPd",
		"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$", "$argon2id$v=19$t=2,m=19456,p=1$c29tZXNhbHQ$AAAA$AAAA",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			return
		}
		if p.String() != s || p.check() != nil {
			t.Errorf("%q was read as %q: %v", s, p, p.check())
		}
	})
}

func TestParsePHC_refuses(t *testing.T) {
	t.Parallel()
	const fine = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if _, err := parsePHC(fine); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"argon2id", "argon2i"}, {"v=19", "v=16"}, {"m=19456", "m=4194304"}, {"m=19456", "m=7"}, {"m=19456", "m=019456"},
		{"m=19456", "m=-1"}, {"m=19456", "m=99999999999999999999"}, {"t=2", "t=0"}, {"t=2", "t=1000000"}, {"p=1", "p=0"},
		{"p=1", "p=257"}, {"p=1", "p=17"}, {"m=19456,t=2", "t=2,m=19456"}, {"p=1", "p=1,data=AA"}, {"c29tZXNhbHQ", "AAAA"},
		{"c29tZXNhbHQ", "c29tZXNhbHQ="}, {"c29tZXNhbHQ", strings.Repeat("A", 200)}, {"PPc", "PPd"}, {"$argon2id", "argon2id"}, {"PPc", "PPc$"},
	} {
		bad := strings.Replace(fine, change[0], change[1], 1)
		if p, err := parsePHC(bad); err == nil {
			t.Errorf("%s was read as %v", bad, p)
		}
	}
}

func BenchmarkHasher(b *testing.B) {
	h, err := newHasher(Hashing{}, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.hash(b.Context(), "a lamp on the window sill"); err != nil {
			b.Fatal(err)
		}
	}
}
