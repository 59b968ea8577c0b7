package accounts_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
)

// quick hashes so fast that tests may log in at every turn.
var quick = accounts.Hashing{Memory: 8, Passes: 1, Threads: 1, AtOnce: 4}

// world is an instance with accounts in memory. At its end it looks for secrets
// in what errors and logs said.
type world struct {
	*testing.T
	*accounts.Service
	store *watched
	app   string // exists, as every app does but those in noApp

	mu      sync.Mutex
	now     time.Time
	said    bytes.Buffer // by errors and logs
	secrets []string
}

const noApp = "00000000-0000-7000-8000-000000000000"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, app: cloud.NewID(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.store = &watched{Store: accounts.NewMemory(func(id string) bool { return id != noApp })}
	w.restart(quick)
	t.Cleanup(func() {
		for _, secret := range w.secrets {
			if secret != "" && bytes.Contains(w.said.Bytes(), []byte(secret)) {
				t.Errorf("an error or the log tells the secret %q", secret)
			}
		}
	})
	return w
}

// ownInterfaces are those of a machine in two networks.
func ownInterfaces() ([]net.Addr, error) {
	return []net.Addr{
		&net.IPNet{IP: net.ParseIP("192.0.2.1"), Mask: net.CIDRMask(24, 32)},
		&net.IPNet{IP: net.ParseIP("2001:db8:1:2::1"), Mask: net.CIDRMask(128, 128)}, // as DHCPv6 gives it
	}, nil
}

// restart puts a new service on the same store.
func (w *world) restart(hashing accounts.Hashing) {
	w.Helper()
	s, err := accounts.New(accounts.Config{
		Store: w.store, Sealer: sealer{}, Hashing: hashing, Issuer: "pi.local",
		Logger:     slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Interfaces: ownInterfaces,
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Service = s
}

// Write takes what is logged.
func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.Write(p)
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) secret(secrets ...string) { w.secrets = append(w.secrets, secrets...) }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// code wants an error with a code, about field if that is not "".
func (w *world) code(err error, want cloud.Code, field string) {
	w.Helper()
	if err != nil {
		_, _ = w.Write([]byte(err.Error() + "\n"))
	}
	if cloud.CodeOf(err) != want {
		w.Fatalf("error %v, want code %q", err, want)
	}
	if e, ok := errors.AsType[*cloud.Error](err); ok && field != "" && e.Field != field {
		w.Fatalf("%v is about %q, want %q", err, e.Field, field)
	}
}

var (
	home   = cloud.Client{Address: "192.0.2.10", UserAgent: "Browser/1"}
	abroad = cloud.Client{Address: "203.0.113.66", UserAgent: "Tool/1"}
	local  = cloud.Client{}
)

const good = "a lamp on the window sill"

// claim makes olga the owner.
func (w *world) claim() (cloud.User, *cloud.Principal) {
	w.Helper()
	in, err := w.Claim(w.Context(), "olga", good, home)
	w.must(err)
	w.secret(good, in.Token)
	return in.User, w.principal(in.Token)
}

func (w *world) principal(token string) *cloud.Principal {
	w.Helper()
	p, err := w.Authenticate(w.Context(), token)
	w.must(err)
	return p
}

// user makes a user who logged in from the machine itself.
func (w *world) user(name string, role cloud.InstanceRole) (cloud.User, *cloud.Principal) {
	w.Helper()
	u, handover, err := w.CreateUser(w.Context(), accounts.Operator, cloud.UserDraft{Name: name, Role: role})
	w.must(err)
	in, err := w.LogIn(w.Context(), cloud.LogIn{Name: name, Password: handover.Password, NewPassword: good})
	w.must(err)
	w.secret(handover.Password, in.Token)
	return u, w.principal(in.Token)
}

func (w *world) logIn(name, password string, client cloud.Client) (cloud.LoggedIn, error) {
	in, err := w.LogIn(w.Context(), cloud.LogIn{Name: name, Password: password, Client: client})
	w.secret(password, in.Token)
	return in, err
}

// key makes an API key of p's user.
func (w *world) key(p *cloud.Principal, draft cloud.KeyDraft) (*cloud.Principal, string) {
	w.Helper()
	_, token, err := w.CreateKey(w.Context(), p, draft)
	w.must(err)
	w.secret(token)
	return w.principal(token), token
}

// secondFactor gives p one.
func (w *world) secondFactor(p *cloud.Principal) (secret string, recovery []string) {
	w.Helper()
	setup, err := w.BeginTOTP(w.Context(), p, good, local)
	w.must(err)
	recovery, err = w.ConfirmTOTP(w.Context(), p, w.totp(setup.Secret, 0))
	w.must(err)
	w.secret(setup.Secret)
	w.secret(recovery...)
	return setup.Secret, recovery
}

// totp is the code that an app shows some time from now.
func (w *world) totp(secret string, in time.Duration) string {
	w.Helper()
	code, err := totp.GenerateCodeCustom(secret, w.now.Add(in), totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
	w.must(err)
	return code
}

// watched is a store that counts and can be made to fail.
type watched struct {
	accounts.Store
	mu       sync.Mutex
	lookups  int
	notes    int
	failNote error
}

func (s *watched) count(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

func (s *watched) PrincipalByKey(ctx context.Context, hash [32]byte, now time.Time) (*cloud.Principal, time.Time, error) {
	s.count(&s.lookups)
	return s.Store.PrincipalByKey(ctx, hash, now)
}

func (s *watched) PrincipalBySession(ctx context.Context, hash [32]byte, now time.Time) (*cloud.Principal, time.Time, error) {
	s.count(&s.lookups)
	return s.Store.PrincipalBySession(ctx, hash, now)
}

func (s *watched) NoteKeyUse(ctx context.Context, id string, at time.Time) error {
	s.count(&s.notes)
	if s.failNote != nil {
		return s.failNote
	}
	return s.Store.NoteKeyUse(ctx, id, at)
}

func (s *watched) NoteSessionUse(ctx context.Context, id string, at, expires time.Time) error {
	s.count(&s.notes)
	if s.failNote != nil {
		return s.failNote
	}
	return s.Store.NoteSessionUse(ctx, id, at, expires)
}

// sealer hides nothing from who looks closely, but from who greps.
type sealer struct{}

func (sealer) Seal(purpose string, value []byte) (cloud.Sealed, error) {
	return cloud.Sealed{KeyID: purpose, Box: flip(value)}, nil
}

func (sealer) Open(purpose string, s cloud.Sealed) ([]byte, error) {
	if s.KeyID != purpose {
		return nil, cloud.Errorf(cloud.CodeInternal, "sealed for another purpose")
	}
	return flip(s.Box), nil
}

func flip(b []byte) []byte {
	b = slices.Clone(b)
	for i := range b {
		b[i] ^= 0xff
	}
	return b
}

func TestNew(t *testing.T) {
	t.Parallel()
	store := accounts.NewMemory(nil)
	for name, cfg := range map[string]accounts.Config{
		"no store":               {},
		"too much memory":        {Store: store, Hashing: accounts.Hashing{Memory: 1 << 30}},
		"memory for no thread":   {Store: store, Hashing: accounts.Hashing{Memory: 8, Threads: 2}},
		"endless passes":         {Store: store, Hashing: accounts.Hashing{Passes: 1 << 20}},
		"a queue of less than 0": {Store: store, Hashing: accounts.Hashing{Waiting: -1}},
	} {
		if _, err := accounts.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := accounts.New(accounts.Config{Store: store}); err != nil {
		t.Error(err)
	}
}

func TestService_Claim(t *testing.T) {
	t.Parallel()
	t.Run("makes the first owner and logs them in", func(t *testing.T) {
		w := newWorld(t)
		claimed, err := w.Claimed(t.Context())
		w.must(err)
		if claimed {
			t.Error("claimed by nobody")
		}
		entry := &cloud.AuditEntry{}
		in, err := w.Claim(cloud.WithAudit(t.Context(), entry), "olga", good, home)
		w.must(err)
		want := cloud.User{
			ID: in.User.ID, Name: "olga", Role: cloud.Owner, Active: true, Access: cloud.AccessPassword,
			CreatedAt: w.now, LastLoginAt: w.now,
		}
		if in.User != want {
			t.Errorf("user %+v, want %+v", in.User, want)
		}
		if stored, err := w.User(t.Context(), "OLGA"); err != nil || stored != want {
			t.Errorf("stored %+v, %v", stored, err)
		}
		if entry.UserID != want.ID || entry.UserName != "olga" {
			t.Errorf("the audit entry names %q", entry.UserName)
		}
		p := w.principal(in.Token)
		if p.UserID != want.ID || p.Role != cloud.Owner || p.SessionID != in.Session.ID || p.Key != nil {
			t.Errorf("principal %+v", p)
		}
		sessions, err := w.Sessions(t.Context(), want.ID)
		w.must(err)
		if !slices.Equal(sessions, []cloud.Session{in.Session}) || in.Session.Address != home.Address || in.Session.UserAgent != home.UserAgent {
			t.Errorf("sessions %+v, begun %+v", sessions, in.Session)
		}
		if claimed, err = w.Claimed(t.Context()); err != nil || !claimed {
			t.Errorf("claimed: %v, %v", claimed, err)
		}
	})
	t.Run("is over when there is an owner", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		_, err := w.Claim(t.Context(), "mallory", good, abroad)
		w.code(err, cloud.CodeConflict, "")
		w.restart(quick)
		_, err = w.Claim(t.Context(), "mallory", good, abroad)
		w.code(err, cloud.CodeConflict, "")
	})
	t.Run("refuses bad names and passwords, as often as they come", func(t *testing.T) {
		w := newWorld(t)
		for range 20 {
			_, err := w.Claim(t.Context(), "-", good, home)
			w.code(err, cloud.CodeInvalid, "name")
			_, err = w.Claim(t.Context(), "olga", "short", home)
			w.code(err, cloud.CodeInvalid, "password")
		}
		w.claim()
	})
	t.Run("has one winner", func(t *testing.T) {
		w := newWorld(t)
		errs := make([]error, 4)
		var claims sync.WaitGroup
		for i := range errs {
			claims.Go(func() { _, errs[i] = w.Claim(t.Context(), "olga", good, local) })
		}
		claims.Wait()
		lost := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
		if len(lost) != 3 {
			t.Fatalf("lost: %v, want three", lost)
		}
		for _, err := range lost {
			w.code(err, cloud.CodeConflict, "")
		}
	})
	t.Run("is done by a key for the owner too", func(t *testing.T) {
		w := newWorld(t)
		first, err := w.CreateOwnerKey(t.Context(), "owner-token")
		w.must(err)
		second, err := w.CreateOwnerKey(t.Context(), "owner-token")
		w.must(err)
		w.secret(first, second)
		a, b := w.principal(first), w.principal(second)
		if a.UserID != b.UserID || a.Name != "owner" || a.Role != cloud.Owner || !slices.Equal(a.Key.Scopes, cloud.Scopes) || a.Key.AppID != "" {
			t.Errorf("principals %+v, %+v", a, b)
		}
		_, err = w.Claim(t.Context(), "mallory", good, abroad)
		w.code(err, cloud.CodeConflict, "")
	})
}

func TestService_Authenticate(t *testing.T) {
	t.Parallel()
	t.Run("refuses what is no token without asking the store", func(t *testing.T) {
		w := newWorld(t)
		key := accounts.MintKey()
		for _, token := range []string{
			"", "pic_", key[4:], "PIC_" + key[4:], key + "a", key[:len(key)-1], strings.ToUpper(key), "pin_" + key[4:],
			key[:20] + "1" + key[21:], key[:20] + "\n" + key[21:], key[:20] + "\x00" + key[21:], key + "\n", "pic_pis_" + key[4:],
			strings.Repeat("x", 1<<20), "pis_" + strings.Repeat("=", 52), key[:len(key)-1] + "b",
		} {
			_, err := w.Authenticate(t.Context(), token)
			w.code(err, cloud.CodeUnauthorized, "")
			if len(token) > 4 && strings.Contains(err.Error(), token[4:]) {
				t.Errorf("%v tells the token", err)
			}
		}
		if w.store.lookups != 0 {
			t.Errorf("the store was asked %d times", w.store.lookups)
		}
	})
	t.Run("refuses tokens of other instances", func(t *testing.T) {
		w, other := newWorld(t), newWorld(t)
		w.claim()
		in, err := other.Claim(t.Context(), "olga", good, home)
		other.must(err)
		for _, token := range []string{in.Token, accounts.MintKey(), "pis_" + accounts.MintKey()[4:], "pic_" + in.Token[4:]} {
			_, err := w.Authenticate(t.Context(), token)
			w.code(err, cloud.CodeUnauthorized, "")
		}
	})
	t.Run("follows the user", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		ann, session := w.user("ann", cloud.Admin)
		_, token := w.key(session, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
		member, active, inactive := cloud.Member, true, false

		_, err := w.ChangeUser(t.Context(), olga, ann.ID, cloud.UserChange{Role: &member})
		w.must(err)
		if p := w.principal(token); p.Role != cloud.Member {
			t.Errorf("role %q after the change", p.Role)
		}
		_, err = w.SetMember(t.Context(), w.app, "ann", cloud.Editor)
		w.must(err)
		if p := w.principal(token); p.RoleIn(w.app) != cloud.Editor {
			t.Errorf("role %q in the app", p.RoleIn(w.app))
		}
		_, err = w.ChangeUser(t.Context(), olga, ann.ID, cloud.UserChange{Active: &inactive})
		w.must(err)
		_, err = w.Authenticate(t.Context(), token)
		w.code(err, cloud.CodeUnauthorized, "")
		_, err = w.ChangeUser(t.Context(), olga, ann.ID, cloud.UserChange{Active: &active})
		w.must(err)
		w.principal(token)
		w.must(w.DeleteUser(t.Context(), olga, ann.ID))
		_, err = w.Authenticate(t.Context(), token)
		w.code(err, cloud.CodeUnauthorized, "")
	})
	t.Run("prolongs a session, once an hour", func(t *testing.T) {
		w := newWorld(t)
		in, err := w.Claim(t.Context(), "olga", good, home)
		w.must(err)
		for range 48 { // two days of a request every 59 minutes
			w.pass(59 * time.Minute)
			w.principal(in.Token)
			w.principal(in.Token)
		}
		if w.store.notes != 24 {
			t.Errorf("%d notes, want 24", w.store.notes)
		}
		w.pass(cloud.SessionLife)
		_, err = w.Authenticate(t.Context(), in.Token)
		w.code(err, cloud.CodeUnauthorized, "")
		sessions, err := w.Sessions(t.Context(), in.User.ID)
		w.must(err)
		if len(sessions) != 0 {
			t.Errorf("sessions that are over: %+v", sessions)
		}
	})
	t.Run("notes once when requests come together", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, token := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
		w.store.notes = 0
		w.pass(2 * time.Hour)
		var requests sync.WaitGroup
		for range 8 {
			requests.Go(func() {
				if _, err := w.Authenticate(t.Context(), token); err != nil {
					t.Error(err)
				}
			})
		}
		requests.Wait()
		if w.store.notes != 1 {
			t.Errorf("%d notes, want 1", w.store.notes)
		}
		keys, err := w.Keys(t.Context(), olga.UserID)
		w.must(err)
		if !keys[0].LastUsedAt.Equal(w.now) {
			t.Errorf("last used at %v", keys[0].LastUsedAt)
		}
	})
	t.Run("works though the use cannot be noted", func(t *testing.T) {
		w := newWorld(t)
		in, err := w.Claim(t.Context(), "olga", good, home)
		w.must(err)
		w.secret(in.Token)
		w.pass(2 * time.Hour)
		w.store.failNote = cloud.Errorf(cloud.CodeUnavailable, "away")
		w.principal(in.Token)
		if !strings.Contains(w.said.String(), "not noted") {
			t.Errorf("log: %s", w.said.String())
		}
		w.store.failNote = nil
		w.principal(in.Token)
		w.pass(cloud.SessionLife - time.Minute)
		w.principal(in.Token)
	})
}
