package accounts_test

import (
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
)

func TestService_secondFactor(t *testing.T) {
	t.Parallel()
	logIn := func(w *world, code string) (cloud.LoggedIn, error) {
		w.secret(code)
		return w.LogIn(w.Context(), cloud.LogIn{Name: "olga", Password: good, Code: code})
	}
	t.Run("begins with what an app scans", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		setup, err := w.BeginTOTP(t.Context(), olga, good, home)
		w.must(err)
		w.secret(setup.Secret)
		u, err := url.Parse(setup.URI)
		w.must(err)
		q := u.Query()
		if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/pi.local:olga" || q.Get("secret") != setup.Secret ||
			q.Get("issuer") != "pi.local" || q.Get("algorithm") != "SHA1" || q.Get("digits") != "6" || q.Get("period") != "30" {
			t.Errorf("URI %s", setup.URI)
		}
		if !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(setup.Secret) {
			t.Errorf("secret %s", setup.Secret)
		}
		c, err := w.store.Credentials(t.Context(), "olga")
		w.must(err)
		if c.TOTP.KeyID != "totp/"+olga.UserID || strings.Contains(string(c.TOTP.Box), setup.Secret) {
			t.Errorf("stored %+v", c.TOTP)
		}
	})
	t.Run("is in force once a code was right", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, err := w.ConfirmTOTP(t.Context(), olga, "123456")
		w.code(err, cloud.CodeConflict, "")
		first, err := w.BeginTOTP(t.Context(), olga, good, home)
		w.must(err)
		second, err := w.BeginTOTP(t.Context(), olga, good, home)
		w.must(err)
		w.secret(first.Secret, second.Secret)
		for _, code := range []string{"", "12345", "abcdef", w.totp(first.Secret, 0), w.totp(second.Secret, time.Minute), w.totp(second.Secret, -time.Minute)} {
			_, err = w.ConfirmTOTP(t.Context(), olga, code)
			w.code(err, cloud.CodeInvalid, "code")
		}
		_, err = logIn(w, "")
		w.must(err)
		code := w.totp(second.Secret, 0)
		recovery, err := w.ConfirmTOTP(t.Context(), olga, code[:3]+" "+code[3:])
		w.must(err)
		w.secret(recovery...)
		slices.Sort(recovery)
		if len(slices.Compact(recovery)) != 10 || !regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`).MatchString(recovery[0]) {
			t.Errorf("recovery codes %q", recovery)
		}
		if u, err := w.User(t.Context(), "olga"); err != nil || !u.SecondFactor {
			t.Errorf("user %+v, %v", u, err)
		}
		_, err = w.BeginTOTP(t.Context(), olga, good, home)
		w.code(err, cloud.CodeConflict, "")
		_, err = w.ConfirmTOTP(t.Context(), olga, w.totp(second.Secret, 0))
		w.code(err, cloud.CodeConflict, "")
	})
	t.Run("is asked for, as often as it takes", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		w.secondFactor(olga)
		for range 20 {
			_, err := w.logIn("olga", good, abroad)
			w.code(err, cloud.CodeSecondFactor, "")
		}
	})
	t.Run("no code is good twice", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		secret, _ := w.secondFactor(olga)
		_, err := logIn(w, w.totp(secret, 0)) // the one that confirmed it
		w.code(err, cloud.CodeSecondFactor, "")
		w.pass(time.Minute)
		code := w.totp(secret, 0)
		_, err = logIn(w, code)
		w.must(err)
		_, err = logIn(w, code)
		w.code(err, cloud.CodeSecondFactor, "")
		_, err = logIn(w, w.totp(secret, -30*time.Second))
		w.code(err, cloud.CodeSecondFactor, "")
		_, err = logIn(w, w.totp(secret, 30*time.Second))
		w.must(err)
	})
	t.Run("clocks may differ by a step", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		secret, _ := w.secondFactor(olga)
		w.pass(time.Hour)
		for _, off := range []time.Duration{-time.Minute, time.Minute} {
			_, err := logIn(w, w.totp(secret, off))
			w.code(err, cloud.CodeSecondFactor, "")
		}
		for _, off := range []time.Duration{-30 * time.Second, 0, 30 * time.Second} {
			_, err := logIn(w, w.totp(secret, off))
			w.must(err)
		}
	})
	t.Run("a recovery code is good once", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, recovery := w.secondFactor(olga)
		_, err := logIn(w, strings.ToUpper(strings.ReplaceAll(recovery[3], "-", " ")))
		w.must(err)
		_, err = logIn(w, recovery[3])
		w.code(err, cloud.CodeSecondFactor, "")
		_, err = logIn(w, recovery[4][:15]+"?")
		w.code(err, cloud.CodeSecondFactor, "")
		_, err = w.LogIn(t.Context(), cloud.LogIn{Name: "olga", Password: "wrong password", Code: recovery[4]})
		w.code(err, cloud.CodeUnauthorized, "")
		_, err = logIn(w, recovery[4])
		w.must(err)
	})
	t.Run("goes with the password", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, recovery := w.secondFactor(olga)
		w.code(w.DisableTOTP(t.Context(), olga, "wrong password", home), cloud.CodeForbidden, "")
		w.must(w.DisableTOTP(t.Context(), olga, good, home))
		_, err := logIn(w, "")
		w.must(err)
		w.secondFactor(olga)
		_, err = logIn(w, recovery[0])
		w.code(err, cloud.CodeSecondFactor, "")
	})
	t.Run("takes the password to begin", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		for _, wrong := range []string{"", "wrong password"} {
			_, err := w.BeginTOTP(t.Context(), olga, wrong, home)
			w.code(err, cloud.CodeForbidden, "")
		}
		var err error
		for range 6 {
			_, err = w.BeginTOTP(t.Context(), olga, "wrong password", abroad)
		}
		w.code(err, cloud.CodeRateLimited, "")
		if c, err := w.store.Credentials(t.Context(), "olga"); err != nil || c.TOTP != nil {
			t.Errorf("a secret waits: %+v, %v", c.TOTP, err)
		}
	})
	t.Run("ends the other sessions", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, ann := w.user("ann", cloud.Member)
		other, err := w.logIn("olga", good, home)
		w.must(err)
		w.secondFactor(olga)
		_, err = w.Authenticate(t.Context(), other.Token)
		w.code(err, cloud.CodeUnauthorized, "")
		for _, p := range []*cloud.Principal{olga, ann} {
			sessions, err := w.Sessions(t.Context(), p.UserID)
			if err != nil || len(sessions) != 1 || sessions[0].ID != p.SessionID {
				t.Errorf("sessions of %s: %+v, %v", p.Name, sessions, err)
			}
		}
	})
	t.Run("takes a session", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		key, _ := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
		for _, p := range []*cloud.Principal{key, nil} {
			_, err := w.BeginTOTP(t.Context(), p, good, home)
			w.code(err, cloud.CodeForbidden, "")
			_, err = w.ConfirmTOTP(t.Context(), p, "123456")
			w.code(err, cloud.CodeForbidden, "")
			w.code(w.DisableTOTP(t.Context(), p, good, home), cloud.CodeForbidden, "")
		}
	})
	t.Run("takes a master key", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, recovery := w.secondFactor(olga)
		s, err := accounts.New(accounts.Config{Store: w.store, Hashing: quick, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now }})
		w.must(err)
		w.Service = s
		_, err = logIn(w, "123456")
		w.code(err, cloud.CodeUnavailable, "")
		_, err = logIn(w, recovery[0])
		w.must(err)
		w.must(w.DisableTOTP(t.Context(), olga, good, home))
		_, err = w.BeginTOTP(t.Context(), olga, good, home)
		w.code(err, cloud.CodeUnavailable, "")
	})
}
