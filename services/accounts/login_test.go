package accounts_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
)

func TestService_LogIn(t *testing.T) {
	t.Parallel()
	t.Run("begins a session", func(t *testing.T) {
		w := newWorld(t)
		olga, _ := w.claim()
		w.pass(time.Minute)
		entry := &cloud.AuditEntry{}
		in, err := w.LogIn(cloud.WithAudit(t.Context(), entry), cloud.LogIn{
			Name: " OLGA ", Password: good,
			Client: cloud.Client{Address: "::ffff:192.0.2.1", UserAgent: "A\x00\n\xff" + strings.Repeat("b", 300)},
		})
		w.must(err)
		olga.LastLoginAt = w.now
		if in.User != olga {
			t.Errorf("user %+v, want %+v", in.User, olga)
		}
		want := cloud.Session{
			ID: in.Session.ID, UserID: olga.ID, CreatedAt: w.now, SeenAt: w.now, ExpiresAt: w.now.Add(24 * time.Hour),
			Address: "192.0.2.1", UserAgent: "A" + strings.Repeat("b", 196),
		}
		if in.Session != want {
			t.Errorf("session %+v, want %+v", in.Session, want)
		}
		if p := w.principal(in.Token); p.SessionID != want.ID || !strings.HasPrefix(in.Token, "pis_") {
			t.Errorf("principal %+v", p)
		}
		if entry.UserID != olga.ID || entry.UserName != "olga" {
			t.Errorf("audit entry %+v", entry)
		}
	})
	t.Run("refuses in the same words whoever it is", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		inactive := false
		gone, _ := w.user("gone", cloud.Member)
		_, err := w.ChangeUser(t.Context(), olga, gone.ID, cloud.UserChange{Active: &inactive})
		w.must(err)
		_, handover, err := w.CreateUser(t.Context(), olga, cloud.UserDraft{Name: "invited", Invite: true})
		w.must(err)
		w.secret(handover.Invitation)
		for name, attempt := range map[string]cloud.LogIn{
			"wrong password":          {Name: "olga", Password: "wrong password"},
			"no password":             {Name: "olga"},
			"too long a password":     {Name: "olga", Password: good + strings.Repeat("x", 1<<20)},
			"nobody":                  {Name: "nobody", Password: good},
			"no name":                 {Password: good},
			"what is no name":         {Name: "\x00'--", Password: good},
			"deactivated":             {Name: "gone", Password: good},
			"without a password":      {Name: "invited", Password: good},
			"empty against none":      {Name: "invited"},
			"the id of another":       {Name: cloud.NewID(), Password: good},
			"with a code":             {Name: "olga", Password: "wrong password", Code: "123456"},
			"with a password to come": {Name: "olga", Password: "wrong password", NewPassword: "x"},
		} {
			w.secret(attempt.Password)
			_, err := w.LogIn(t.Context(), attempt)
			w.code(err, cloud.CodeUnauthorized, "")
			if err.Error() != "unauthorized: wrong name or password" {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("replaces a one-time password", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		ann, handover, err := w.CreateUser(t.Context(), olga, cloud.UserDraft{Name: "ann"})
		w.must(err)
		w.secret(handover.Password)
		if ann.Access != cloud.AccessOneTime || ann.Role != cloud.Member || !handover.ExpiresAt.Equal(w.now.Add(cloud.InvitationLife)) || handover.Invitation != "" {
			t.Errorf("user %+v, handover until %v", ann, handover.ExpiresAt)
		}
		replace := func(with string) (cloud.LoggedIn, error) {
			return w.LogIn(t.Context(), cloud.LogIn{Name: "ann", Password: handover.Password, NewPassword: with, Client: home})
		}
		for range 10 { // asking is no failure
			_, err = replace("")
			w.code(err, cloud.CodePasswordChange, "")
		}
		_, err = replace("short")
		w.code(err, cloud.CodeInvalid, "new_password")
		_, err = replace(handover.Password)
		w.code(err, cloud.CodeInvalid, "new_password")
		in, err := replace(good)
		w.must(err)
		if in.User.Access != cloud.AccessPassword {
			t.Errorf("access %q", in.User.Access)
		}
		_, err = w.logIn("ann", handover.Password, home)
		w.code(err, cloud.CodeUnauthorized, "")
		_, err = replace(good)
		w.code(err, cloud.CodeUnauthorized, "")
		_, err = w.logIn("ann", good, home)
		w.must(err)
		_, err = w.LogIn(t.Context(), cloud.LogIn{Name: "ann", Password: good, NewPassword: "another lamp", Client: home})
		w.code(err, cloud.CodeInvalid, "new_password")
	})
	t.Run("refuses a one-time password that has expired", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, handover, err := w.CreateUser(t.Context(), olga, cloud.UserDraft{Name: "ann"})
		w.must(err)
		w.pass(cloud.InvitationLife)
		_, err = w.LogIn(t.Context(), cloud.LogIn{Name: "ann", Password: handover.Password, NewPassword: good})
		w.code(err, cloud.CodeUnauthorized, "")
	})
	t.Run("hashes anew what was hashed otherwise", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		stored := func() string {
			c, err := w.store.Credentials(t.Context(), "olga")
			w.must(err)
			w.secret(c.PasswordHash)
			return c.PasswordHash
		}
		first := stored()
		w.restart(accounts.Hashing{Memory: 16, Passes: 2, Threads: 1})
		_, err := w.logIn("olga", "wrong password", local)
		w.code(err, cloud.CodeUnauthorized, "")
		if stored() != first {
			t.Error("a wrong password changed the hash")
		}
		_, err = w.logIn("olga", good, local)
		w.must(err)
		second := stored()
		if !strings.HasPrefix(first, "$argon2id$v=19$m=8,t=1,p=1$") || !strings.HasPrefix(second, "$argon2id$v=19$m=16,t=2,p=1$") {
			t.Errorf("hashes %s, %s", first, second)
		}
		_, err = w.logIn("olga", good, local)
		w.must(err)
		if stored() != second {
			t.Error("hashed anew without a reason")
		}
	})
	t.Run("gives way to a new session when there are too many", func(t *testing.T) {
		w := newWorld(t)
		olga, first := w.claim()
		var second string
		for i := range cloud.MaxUserSessions {
			w.pass(time.Second)
			in, err := w.logIn("olga", good, local)
			w.must(err)
			if i == 0 {
				second = in.Token
			}
		}
		sessions, err := w.Sessions(t.Context(), olga.ID)
		w.must(err)
		if len(sessions) != cloud.MaxUserSessions {
			t.Errorf("%d sessions", len(sessions))
		}
		w.code(w.EndSession(t.Context(), olga.ID, first.SessionID), cloud.CodeNotFound, "")
		w.principal(second)
	})
	t.Run("keeps no session of a change that failed", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		w.secondFactor(olga)
		_, err := w.LogIn(t.Context(), cloud.LogIn{Name: "olga", Password: good, Code: "000000"})
		w.code(err, cloud.CodeSecondFactor, "")
		sessions, err := w.Sessions(t.Context(), olga.UserID)
		w.must(err)
		if len(sessions) != 1 {
			t.Errorf("%d sessions", len(sessions))
		}
	})
}

func TestService_LogIn_limits(t *testing.T) {
	t.Parallel()
	limited := func(w *world, err error) time.Duration {
		w.Helper()
		w.code(err, cloud.CodeRateLimited, "")
		e, _ := errors.AsType[*cloud.Error](err)
		details, ok := e.Details.(cloud.RetryDetails)
		if !ok || details.RetryAfter < 1 {
			w.Fatalf("details %+v", e.Details)
		}
		return time.Duration(details.RetryAfter) * time.Second
	}
	// guess fails n times, waiting as told.
	guess := func(w *world, name string, n int, client cloud.Client) (waited time.Duration) {
		w.Helper()
		for i := range n {
			_, err := w.logIn(name, fmt.Sprintf("a guess like %d", i), client)
			if cloud.CodeOf(err) == cloud.CodeRateLimited {
				d := limited(w, err)
				waited += d
				w.pass(d)
				_, err = w.logIn(name, fmt.Sprintf("a guess like %d", i), client)
			}
			w.code(err, cloud.CodeUnauthorized, "")
		}
		return waited
	}
	t.Run("guessing becomes slow, whoever it is about", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		a := guess(w, "olga", 20, abroad)
		_, err := w.logIn("olga", good, abroad) // is not looked at
		limited(w, err)
		b := guess(w, "nobody", 20, cloud.Client{Address: "203.0.113.67"})
		if a != b || a < 5*time.Minute {
			t.Errorf("20 guesses took %v and %v", a, b)
		}
	})
	t.Run("an attacker does not lock out who logged in before", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		_, err := w.logIn("olga", good, home)
		w.must(err)
		guess(w, "olga", 30, abroad)
		_, err = w.logIn("olga", good, cloud.Client{Address: "203.0.113.68"})
		limited(w, err)
		_, err = w.logIn("olga", good, home)
		w.must(err)
	})
	t.Run("nor one who shares the address", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		_, err := w.logIn("olga", good, home)
		w.must(err)
		guess(w, "nobody", 30, home)
		_, err = w.logIn("olga", good, home)
		w.must(err)
	})
	t.Run("nor one in the same network", func(t *testing.T) {
		for _, lan := range []string{"fe80::", "fd00:1:2:3::", "2001:db8:1:2::"} { // the last is the world's own
			w := newWorld(t)
			w.claim()
			owner, attacker := cloud.Client{Address: lan + "10"}, cloud.Client{Address: lan + "66"}
			_, err := w.logIn("olga", good, owner)
			w.must(err)
			guess(w, "olga", 30, attacker)
			_, err = w.logIn("olga", good, owner)
			w.must(err)
			_, err = w.logIn("olga", good, attacker)
			limited(w, err)
		}
	})
	t.Run("but one site elsewhere is one attacker", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		for i := range 10 {
			_, err := w.logIn(fmt.Sprint("nobody", i), good, cloud.Client{Address: fmt.Sprintf("2001:db8:9:9::%x", i)})
			w.code(err, cloud.CodeUnauthorized, "")
		}
		_, err := w.logIn("olga", good, cloud.Client{Address: "2001:db8:9:9:8::"})
		limited(w, err)
	})
	t.Run("nor after the server slept", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		_, err := w.logIn("olga", good, home)
		w.must(err)
		w.restart(quick)
		guess(w, "olga", 30, abroad)
		_, err = w.logIn("olga", good, home)
		w.must(err)
	})
	t.Run("guessing from where an account is known is slow too", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		_, err := w.logIn("olga", good, home)
		w.must(err)
		if waited := guess(w, "olga", 20, home); waited < 5*time.Minute {
			t.Errorf("20 guesses took %v", waited)
		}
	})
	t.Run("logging in with one account makes guessing at another no cheaper", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		w.user("mallory", cloud.Member)
		waited := time.Duration(0)
		for range 30 {
			waited += guess(w, "olga", 1, abroad)
			_, err := w.logIn("mallory", good, abroad)
			if cloud.CodeOf(err) != cloud.CodeRateLimited {
				w.must(err)
			}
		}
		if waited < 5*time.Minute {
			t.Errorf("30 guesses took %v", waited)
		}
	})
	t.Run("commands of this machine are not limited", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		if waited := guess(w, "olga", 50, local); waited != 0 {
			t.Errorf("50 guesses took %v", waited)
		}
	})
	t.Run("success starts over", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		for range 5 {
			guess(w, "olga", 4, home)
			_, err := w.logIn("olga", good, home)
			w.must(err)
		}
	})
	t.Run("codes are guessed slowly", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		w.secondFactor(olga)
		last := error(nil)
		for range 6 {
			_, last = w.LogIn(t.Context(), cloud.LogIn{Name: "olga", Password: good, Code: "000000", Client: abroad})
		}
		limited(w, last)
	})
	t.Run("invitations and claims are guessed slowly", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		var invitation, claim error
		for range 11 {
			_, invitation = w.AcceptInvitation(t.Context(), "pin_"+accounts.MintKey()[4:], good, abroad)
			_, claim = w.Claim(t.Context(), "mallory", good, cloud.Client{Address: "203.0.113.67"})
		}
		limited(w, invitation)
		limited(w, claim)
	})
	t.Run("current passwords are guessed slowly", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		last := error(nil)
		for range 6 {
			last = w.ChangePassword(t.Context(), olga, "a wrong one", "another lamp post", abroad)
		}
		limited(w, last)
		limited(w, w.DisableTOTP(t.Context(), olga, good, abroad))
		w.must(w.ChangePassword(t.Context(), olga, good, "another lamp post", local))
	})
}

func TestService_LogOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, olga := w.claim()
	in, err := w.logIn("olga", good, home)
	w.must(err)
	key, _ := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
	w.code(w.LogOut(t.Context(), key), cloud.CodeInvalid, "")
	w.code(w.LogOut(t.Context(), nil), cloud.CodeInvalid, "")
	p := w.principal(in.Token)
	w.must(w.LogOut(t.Context(), p))
	w.must(w.LogOut(t.Context(), p))
	_, err = w.Authenticate(t.Context(), in.Token)
	w.code(err, cloud.CodeUnauthorized, "")
	if sessions, err := w.Sessions(t.Context(), olga.UserID); err != nil || len(sessions) != 1 {
		t.Errorf("sessions %+v, %v", sessions, err)
	}
}

func TestService_sessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, olga := w.claim()
	_, ann := w.user("ann", cloud.Admin)
	first, err := w.logIn("olga", good, home)
	w.must(err)
	w.code(w.EndSession(t.Context(), ann.UserID, first.Session.ID), cloud.CodeNotFound, "")
	w.code(w.EndSession(t.Context(), olga.UserID, "x"), cloud.CodeNotFound, "")
	w.must(w.EndSession(t.Context(), olga.UserID, first.Session.ID))
	_, err = w.Authenticate(t.Context(), first.Token)
	w.code(err, cloud.CodeUnauthorized, "")

	second, err := w.logIn("olga", good, home)
	w.must(err)
	key, _ := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
	_, err = w.EndOtherSessions(t.Context(), key)
	w.code(err, cloud.CodeForbidden, "")
	n, err := w.EndOtherSessions(t.Context(), w.principal(second.Token))
	if err != nil || n != 1 {
		t.Errorf("ended %d, %v", n, err)
	}
	w.principal(second.Token)
	if sessions, err := w.Sessions(t.Context(), ann.UserID); err != nil || len(sessions) != 1 {
		t.Errorf("sessions of another user %+v, %v", sessions, err)
	}
}

func TestService_ChangePassword(t *testing.T) {
	t.Parallel()
	const better = "two lamps on the window sill"
	t.Run("ends the other sessions", func(t *testing.T) {
		w := newWorld(t)
		w.secret(better)
		_, olga := w.claim()
		other, err := w.logIn("olga", good, home)
		w.must(err)
		_, key := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
		w.code(w.ChangePassword(t.Context(), olga, "not this one", better, home), cloud.CodeForbidden, "")
		w.code(w.ChangePassword(t.Context(), olga, good, "short", home), cloud.CodeInvalid, "new_password")
		w.code(w.ChangePassword(t.Context(), olga, good, good, home), cloud.CodeInvalid, "new_password")
		w.must(w.ChangePassword(t.Context(), olga, good, better, home))
		_, err = w.Authenticate(t.Context(), other.Token)
		w.code(err, cloud.CodeUnauthorized, "")
		w.principal(key)
		if sessions, err := w.Sessions(t.Context(), olga.UserID); err != nil || len(sessions) != 1 || sessions[0].ID != olga.SessionID {
			t.Errorf("sessions %+v, %v", sessions, err)
		}
		_, err = w.logIn("olga", good, home)
		w.code(err, cloud.CodeUnauthorized, "")
		_, err = w.logIn("olga", better, home)
		w.must(err)
	})
	t.Run("takes a session", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		key, _ := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
		w.code(w.ChangePassword(t.Context(), key, good, better, home), cloud.CodeForbidden, "")
		w.code(w.ChangePassword(t.Context(), nil, good, better, home), cloud.CodeForbidden, "")
	})
	t.Run("takes an administrator's key, for the first password", func(t *testing.T) {
		w := newWorld(t)
		token, err := w.CreateOwnerKey(t.Context(), "owner-token")
		w.must(err)
		owner := w.principal(token)
		weak, _ := w.key(owner, cloud.KeyDraft{Name: "weak", Scopes: []cloud.Scope{cloud.ScopeAppAdmin}})
		w.code(w.ChangePassword(t.Context(), weak, "", better, home), cloud.CodeForbidden, "")
		w.must(w.ChangePassword(t.Context(), owner, "", better, home))
		_, err = w.logIn("owner", better, home)
		w.must(err)
		w.code(w.ChangePassword(t.Context(), owner, better, good, home), cloud.CodeForbidden, "")
	})
	t.Run("takes no key while an invitation waits", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		key, _ := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
		handover, err := w.ResetAccess(t.Context(), accounts.Operator, olga.UserID, true)
		w.must(err)
		w.secret(handover.Invitation)
		w.code(w.ChangePassword(t.Context(), key, "", better, home), cloud.CodeForbidden, "")
		_, err = w.AcceptInvitation(t.Context(), handover.Invitation, better, home)
		w.must(err)
	})
	t.Run("is no good to who was deleted meanwhile", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		ann, session := w.user("ann", cloud.Admin)
		w.must(w.DeleteUser(t.Context(), olga, ann.ID))
		w.code(w.ChangePassword(t.Context(), session, good, better, home), cloud.CodeUnauthorized, "")
	})
}
