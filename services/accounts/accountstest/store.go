// Package accountstest specifies what an accounts.Store does, as tests that
// every store passes.
package accountstest

import (
	"context"
	"crypto/sha256"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
)

// New makes a store without users for one test, and names two apps that exist
// in it.
type New func(t *testing.T) (store accounts.Store, app, other string)

// TestStore runs the specification on stores that newStore makes.
func TestStore(t *testing.T, newStore New) {
	for name, test := range map[string]func(*suite){
		"an empty store knows nobody":                       (*suite).empty,
		"what is said of a user is returned":                (*suite).users,
		"users are found by id, or name in any case":        (*suite).userByReference,
		"names are unique in any case":                      (*suite).uniqueNames,
		"the instance is owned by an active owner":          (*suite).owned,
		"credentials tell how a user comes in":              (*suite).access,
		"an invitation is found until it is over":           (*suite).invitations,
		"a second factor is there, then in force, then not": (*suite).secondFactor,
		"a recovery code is good once, for its user":        (*suite).recoveryCodes,
		"a session has a principal until it is over":        (*suite).sessionPrincipal,
		"sessions are listed, last used first":              (*suite).sessions,
		"sessions end one by one and all at once":           (*suite).endSessions,
		"sessions that are over go with the next":           (*suite).forgottenSessions,
		"a key has a principal until it expires":            (*suite).keyPrincipal,
		"keys are listed, newest first":                     (*suite).keys,
		"a key ends when it is deleted, by its user":        (*suite).deleteKey,
		"a key takes along what was made by it":             (*suite).deleteParentKey,
		"a key is for an app that exists":                   (*suite).keyOfNoApp,
		"a principal is as its user is now":                 (*suite).principalFollows,
		"principals are found by their users":               (*suite).principals,
		"members have one role in an app":                   (*suite).members,
		"a user takes everything along":                     (*suite).deleteUser,
		"notes of use harm nothing":                         (*suite).notes,
		"a change that fails leaves nothing":                (*suite).rollback,
		"a change sees what it did":                         (*suite).reads,
		"changes come one after the other":                  (*suite).serial,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, app, other := newStore(t)
			test(&suite{T: t, store: store, app: app, other: other, now: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)})
		})
	}
}

type suite struct {
	*testing.T
	store      accounts.Store
	app, other string
	now        time.Time
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

func (s *suite) equal(got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// change is Store.Change with an error that is returned.
func (s *suite) change(f func(ctx context.Context, tx accounts.Tx) error) error {
	return s.store.Change(s.Context(), f)
}

// done is change that must succeed.
func (s *suite) done(f func(ctx context.Context, tx accounts.Tx) error) {
	s.Helper()
	s.must(s.change(f))
}

// add makes an active user.
func (s *suite) add(name string, role cloud.InstanceRole) cloud.User {
	s.Helper()
	u := cloud.User{ID: cloud.NewID(), Name: name, Role: role, Active: true, CreatedAt: s.now}
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.InsertUser(ctx, u) })
	u.Access = cloud.AccessNone
	return u
}

func (s *suite) session(u cloud.User, token string, seen time.Time) cloud.Session {
	s.Helper()
	k := cloud.Session{
		ID: cloud.NewID(), UserID: u.ID, CreatedAt: s.now, SeenAt: seen, ExpiresAt: seen.Add(time.Hour),
		Address: "192.0.2.7", UserAgent: "pic/1 (\"é\")",
	}
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.InsertSession(ctx, k, hash(token)) })
	return k
}

func (s *suite) key(u cloud.User, token, app string, created, expires time.Time) cloud.APIKey {
	s.Helper()
	return s.keyBy("", u, token, app, created, expires)
}

// keyBy makes a key by the one with the id parent.
func (s *suite) keyBy(parent string, u cloud.User, token, app string, created, expires time.Time) cloud.APIKey {
	s.Helper()
	k := cloud.APIKey{
		ID: cloud.NewID(), UserID: u.ID, Name: "key of " + token, AppID: app, CreatedAt: created, ExpiresAt: expires,
		Scopes: []cloud.Scope{cloud.ScopeScriptRead, cloud.ScopeLogRead},
	}
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.InsertKey(ctx, k, parent, hash(token)) })
	return k
}

func (s *suite) credentials(name string) accounts.Credentials {
	s.Helper()
	c, err := s.store.Credentials(s.Context(), name)
	s.must(err)
	return c
}

func hash(token string) [32]byte { return sha256.Sum256([]byte(token)) }

func (s *suite) empty() {
	ctx := s.Context()
	owned, err := s.store.Owned(ctx)
	s.must(err)
	s.equal(owned, false)
	users, err := s.store.Users(ctx)
	s.must(err)
	s.equal(len(users), 0)
	_, err = s.store.User(ctx, "ann")
	s.code(err, cloud.CodeNotFound)
	_, err = s.store.User(ctx, cloud.NewID())
	s.code(err, cloud.CodeNotFound)
	_, err = s.store.Credentials(ctx, "ann")
	s.code(err, cloud.CodeNotFound)
	_, _, err = s.store.PrincipalByKey(ctx, hash("k"), s.now)
	s.code(err, cloud.CodeUnauthorized)
	_, _, err = s.store.PrincipalBySession(ctx, hash("s"), s.now)
	s.code(err, cloud.CodeUnauthorized)
	members, err := s.store.Members(ctx, s.app)
	s.must(err)
	s.equal(len(members), 0)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		_, err := tx.Credentials(ctx, "ann")
		s.code(err, cloud.CodeNotFound)
		_, err = tx.InvitedUser(ctx, hash("i"), s.now)
		s.code(err, cloud.CodeUnauthorized)
		return nil
	})
	for name, f := range map[string]func(ctx context.Context, tx accounts.Tx) error{
		"UpdateUser": func(ctx context.Context, tx accounts.Tx) error {
			return tx.UpdateUser(ctx, cloud.User{ID: cloud.NewID(), Name: "x", Role: cloud.Member})
		},
		"DeleteUser": func(ctx context.Context, tx accounts.Tx) error { return tx.DeleteUser(ctx, cloud.NewID()) },
		"EndSession": func(ctx context.Context, tx accounts.Tx) error {
			return tx.EndSession(ctx, cloud.NewID(), cloud.NewID())
		},
		"DeleteKey": func(ctx context.Context, tx accounts.Tx) error {
			return tx.DeleteKey(ctx, cloud.NewID(), cloud.NewID())
		},
		"RemoveMember": func(ctx context.Context, tx accounts.Tx) error { return tx.RemoveMember(ctx, s.app, cloud.NewID()) },
	} {
		if err := s.change(f); cloud.CodeOf(err) != cloud.CodeNotFound {
			s.Errorf("%s of what does not exist: %v", name, err)
		}
	}
}

func (s *suite) users() {
	carl, ann, bob := s.add("carl", cloud.Member), s.add("ann", cloud.Owner), s.add("Bob", cloud.Admin)
	users, err := s.store.Users(s.Context())
	s.must(err)
	s.equal(users, []cloud.User{ann, bob, carl})

	bob.Name, bob.Role, bob.Active, bob.LastLoginAt = "Robert", cloud.Member, false, s.now.Add(time.Minute)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		changed := bob
		changed.CreatedAt = s.now.Add(time.Hour) // is not stored
		return tx.UpdateUser(ctx, changed)
	})
	users, err = s.store.Users(s.Context())
	s.must(err)
	s.equal(users, []cloud.User{ann, carl, bob})
}

func (s *suite) userByReference() {
	ann := s.add("Ann", cloud.Owner)
	s.add("bob", cloud.Member)
	for _, ref := range []string{ann.ID, "Ann", "ann", "ANN"} {
		u, err := s.store.User(s.Context(), ref)
		s.must(err)
		s.equal(u, ann)
		s.equal(s.credentials(ref), accounts.Credentials{User: ann})
	}
	for _, ref := range []string{"", "an", "ann ", "a%", "' OR true --"} {
		_, err := s.store.User(s.Context(), ref)
		s.code(err, cloud.CodeNotFound)
		_, err = s.store.Credentials(s.Context(), ref)
		s.code(err, cloud.CodeNotFound)
	}
}

func (s *suite) uniqueNames() {
	taken := func(err error) {
		s.Helper()
		s.code(err, cloud.CodeConflict)
		if e, ok := errors.AsType[*cloud.Error](err); !ok || e.Field != "name" {
			s.Fatalf("%v is not about name", err)
		}
	}
	ann, bob := s.add("ann", cloud.Owner), s.add("bob", cloud.Member)
	taken(s.change(func(ctx context.Context, tx accounts.Tx) error {
		return tx.InsertUser(ctx, cloud.User{ID: cloud.NewID(), Name: "ANN", Role: cloud.Member, CreatedAt: s.now})
	}))
	bob.Name = "Ann"
	taken(s.change(func(ctx context.Context, tx accounts.Tx) error { return tx.UpdateUser(ctx, bob) }))
	ann.Name = "ANN"
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.UpdateUser(ctx, ann) })
	s.equal(s.credentials("ann").User, ann)
}

func (s *suite) owned() {
	want := func(want bool) {
		s.Helper()
		owned, err := s.store.Owned(s.Context())
		s.must(err)
		s.equal(owned, want)
	}
	s.add("ann", cloud.Admin)
	want(false)
	bob := s.add("bob", cloud.Owner)
	want(true)
	bob.Active = false
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.UpdateUser(ctx, bob) })
	want(false)
}

func (s *suite) access() {
	ann := s.add("ann", cloud.Member)
	want := func(access cloud.Access, hash string, expires time.Time) {
		s.Helper()
		ann.Access = access
		s.equal(s.credentials("ann"), accounts.Credentials{User: ann, PasswordHash: hash, PasswordExpires: expires})
		u, err := s.store.User(s.Context(), ann.ID)
		s.must(err)
		s.equal(u, ann)
	}
	later := s.now.Add(time.Hour)
	password := func(hash string, expires time.Time) {
		s.Helper()
		s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.SetPassword(ctx, ann.ID, hash, expires) })
	}
	want(cloud.AccessNone, "", time.Time{})
	password("$one", later)
	want(cloud.AccessOneTime, "$one", later)
	password("$two", time.Time{})
	want(cloud.AccessPassword, "$two", time.Time{})
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		return tx.SetInvitation(ctx, ann.ID, hash("i"), later)
	})
	want(cloud.AccessInvited, "", time.Time{})
	password("$three", later)
	want(cloud.AccessOneTime, "$three", later)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		return tx.SetInvitation(ctx, ann.ID, hash("j"), later)
	})
	want(cloud.AccessInvited, "", time.Time{})
}

func (s *suite) invitations() {
	ann := s.add("ann", cloud.Member)
	expires := s.now.Add(time.Hour)
	find := func(token string, at time.Time) (user cloud.User, err error) {
		s.done(func(ctx context.Context, tx accounts.Tx) error {
			user, err = tx.InvitedUser(ctx, hash(token), at)
			return nil
		})
		return user, err
	}
	none := func(token string, at time.Time) {
		s.Helper()
		_, err := find(token, at)
		s.code(err, cloud.CodeUnauthorized)
	}
	invite := func(token string) {
		s.Helper()
		s.done(func(ctx context.Context, tx accounts.Tx) error {
			return tx.SetInvitation(ctx, ann.ID, hash(token), expires)
		})
	}
	invite("i")
	ann.Access = cloud.AccessInvited
	u, err := find("i", expires.Add(-time.Microsecond))
	s.must(err)
	s.equal(u, ann)
	none("i", expires)
	none("j", s.now)

	invite("j")
	none("i", s.now)
	_, err = find("j", s.now)
	s.must(err)

	inactive := ann
	inactive.Active = false
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.UpdateUser(ctx, inactive) })
	none("j", s.now)
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.UpdateUser(ctx, ann) })

	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.SetPassword(ctx, ann.ID, "$p", time.Time{}) })
	none("j", s.now)
}

func (s *suite) secondFactor() {
	ann := s.add("ann", cloud.Member)
	s.add("bob", cloud.Member)
	want := func(sealed *cloud.Sealed, inForce bool, step int64) {
		s.Helper()
		ann.SecondFactor = inForce
		s.equal(s.credentials("ann"), accounts.Credentials{User: ann, TOTP: sealed, TOTPInForce: inForce, TOTPStep: step})
	}
	totp := func(sealed *cloud.Sealed, inForce bool) {
		s.Helper()
		s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.SetTOTP(ctx, ann.ID, sealed, inForce) })
	}
	box := &cloud.Sealed{KeyID: "k1", Box: []byte{0, 1, 2, 255}}
	totp(box, false)
	want(box, false, 0)
	box = &cloud.Sealed{KeyID: "k2", Box: []byte("other")}
	totp(box, true)
	want(box, true, 0)
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.SetTOTPStep(ctx, ann.ID, 1<<40) })
	want(box, true, 1<<40)
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.SetTOTPStep(ctx, ann.ID, 0) })
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		return tx.SetRecoveryCodes(ctx, ann.ID, [][32]byte{hash("r")})
	})
	totp(nil, false)
	want(nil, false, 0)
	s.equal(s.credentials("bob").TOTP, (*cloud.Sealed)(nil))
	s.equal(s.useCode(ann, "r"), false)
}

func (s *suite) useCode(u cloud.User, code string) (there bool) {
	s.Helper()
	s.done(func(ctx context.Context, tx accounts.Tx) (err error) {
		there, err = tx.UseRecoveryCode(ctx, u.ID, hash(code))
		return err
	})
	return there
}

func (s *suite) recoveryCodes() {
	ann, bob := s.add("ann", cloud.Member), s.add("bob", cloud.Member)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		return tx.SetRecoveryCodes(ctx, ann.ID, [][32]byte{hash("a"), hash("b")})
	})
	s.equal(s.useCode(bob, "a"), false)
	s.equal(s.useCode(ann, "a"), true)
	s.equal(s.useCode(ann, "a"), false)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		return tx.SetRecoveryCodes(ctx, ann.ID, [][32]byte{hash("c")})
	})
	s.equal(s.useCode(ann, "b"), false)
	s.equal(s.useCode(ann, "c"), true)
}

func (s *suite) sessionPrincipal() {
	ann, bob := s.add("ann", cloud.Admin), s.add("bob", cloud.Member)
	k := s.session(ann, "s", s.now)
	s.session(bob, "other", s.now)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		_, err := tx.SetMember(ctx, s.app, ann.ID, cloud.AppAdminRole)
		s.must(err)
		_, err = tx.SetMember(ctx, s.other, ann.ID, cloud.Viewer)
		s.must(err)
		_, err = tx.SetMember(ctx, s.other, bob.ID, cloud.Editor)
		return err
	})
	p, seen, err := s.store.PrincipalBySession(s.Context(), hash("s"), k.ExpiresAt.Add(-time.Microsecond))
	s.must(err)
	s.equal(seen, s.now)
	s.equal(p, &cloud.Principal{
		UserID: ann.ID, Name: "ann", Role: cloud.Admin, SessionID: k.ID,
		Apps: map[string]cloud.AppRole{s.app: cloud.AppAdminRole, s.other: cloud.Viewer},
	})
	_, _, err = s.store.PrincipalBySession(s.Context(), hash("s"), k.ExpiresAt)
	s.code(err, cloud.CodeUnauthorized)
	_, _, err = s.store.PrincipalByKey(s.Context(), hash("s"), s.now)
	s.code(err, cloud.CodeUnauthorized)

	later := s.now.Add(30 * time.Minute)
	s.must(s.store.NoteSessionUse(s.Context(), k.ID, later, later.Add(time.Hour)))
	_, seen, err = s.store.PrincipalBySession(s.Context(), hash("s"), k.ExpiresAt)
	s.must(err)
	s.equal(seen, later)
}

func (s *suite) listSessions(u cloud.User, now time.Time) []cloud.Session {
	s.Helper()
	sessions, err := s.store.Sessions(s.Context(), u.ID, now)
	s.must(err)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		same, err := tx.Sessions(ctx, u.ID, now)
		s.equal(same, sessions)
		return err
	})
	return sessions
}

func (s *suite) sessions() {
	ann, bob := s.add("ann", cloud.Admin), s.add("bob", cloud.Member)
	s.equal(len(s.listSessions(ann, s.now)), 0)
	first := s.session(ann, "1", s.now)
	second := s.session(ann, "2", s.now.Add(2*time.Minute))
	third := s.session(ann, "3", s.now.Add(time.Minute))
	s.session(bob, "4", s.now)
	s.equal(s.listSessions(ann, s.now), []cloud.Session{second, third, first})
	s.equal(s.listSessions(ann, first.ExpiresAt), []cloud.Session{second, third})
	first.SeenAt, first.ExpiresAt = s.now.Add(time.Hour), s.now.Add(2*time.Hour)
	s.must(s.store.NoteSessionUse(s.Context(), first.ID, first.SeenAt, first.ExpiresAt))
	s.equal(s.listSessions(ann, s.now), []cloud.Session{first, second, third})
}

func (s *suite) endSessions() {
	ann, bob := s.add("ann", cloud.Admin), s.add("bob", cloud.Member)
	first, second := s.session(ann, "1", s.now), s.session(ann, "2", s.now)
	third, foreign := s.session(ann, "3", s.now), s.session(bob, "4", s.now)
	end := func(u cloud.User, id string) error {
		return s.change(func(ctx context.Context, tx accounts.Tx) error { return tx.EndSession(ctx, u.ID, id) })
	}
	s.must(end(ann, first.ID))
	_, _, err := s.store.PrincipalBySession(s.Context(), hash("1"), s.now)
	s.code(err, cloud.CodeUnauthorized)
	s.code(end(ann, first.ID), cloud.CodeNotFound)
	s.code(end(ann, foreign.ID), cloud.CodeNotFound)

	endAll := func(except string) (n int) {
		s.Helper()
		s.done(func(ctx context.Context, tx accounts.Tx) (err error) {
			n, err = tx.EndSessions(ctx, ann.ID, except)
			return err
		})
		return n
	}
	s.equal(endAll(third.ID), 1)
	_, _, err = s.store.PrincipalBySession(s.Context(), hash("2"), s.now)
	s.code(err, cloud.CodeUnauthorized)
	s.equal(s.listSessions(ann, s.now), []cloud.Session{third})
	s.code(end(ann, second.ID), cloud.CodeNotFound)
	s.equal(endAll(""), 1)
	s.equal(endAll(""), 0)
	s.equal(s.listSessions(bob, s.now), []cloud.Session{foreign})
}

func (s *suite) forgottenSessions() {
	ann, bob := s.add("ann", cloud.Admin), s.add("bob", cloud.Member)
	first, foreign := s.session(ann, "1", s.now.Add(-2*time.Hour)), s.session(bob, "2", s.now.Add(-2*time.Hour))
	third := s.session(ann, "3", s.now)
	past := s.now.Add(-3 * time.Hour)
	s.equal(s.listSessions(ann, past), []cloud.Session{third})
	s.equal(s.listSessions(bob, past), []cloud.Session{foreign})
	s.must(s.store.NoteSessionUse(s.Context(), first.ID, s.now, s.now.Add(time.Hour)))
	s.equal(s.listSessions(ann, s.now), []cloud.Session{third})
}

func (s *suite) keyPrincipal() {
	ann := s.add("ann", cloud.Member)
	expires := s.now.Add(time.Hour)
	bound, free := s.key(ann, "k", s.app, s.now, expires), s.key(ann, "free", "", s.now, time.Time{})
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		_, err := tx.SetMember(ctx, s.app, ann.ID, cloud.Editor)
		return err
	})
	apps := map[string]cloud.AppRole{s.app: cloud.Editor}
	p, used, err := s.store.PrincipalByKey(s.Context(), hash("k"), expires.Add(-time.Microsecond))
	s.must(err)
	s.equal(used, time.Time{})
	s.equal(p, &cloud.Principal{
		UserID: ann.ID, Name: "ann", Role: cloud.Member, Apps: apps,
		Key: &cloud.Key{ID: bound.ID, Name: bound.Name, Scopes: bound.Scopes, AppID: s.app, ExpiresAt: expires},
	})
	_, _, err = s.store.PrincipalByKey(s.Context(), hash("k"), expires)
	s.code(err, cloud.CodeUnauthorized)
	_, _, err = s.store.PrincipalBySession(s.Context(), hash("k"), s.now)
	s.code(err, cloud.CodeUnauthorized)

	later := s.now.Add(time.Minute)
	s.must(s.store.NoteKeyUse(s.Context(), free.ID, later))
	p, used, err = s.store.PrincipalByKey(s.Context(), hash("free"), s.now.AddDate(100, 0, 0))
	s.must(err)
	s.equal(used, later)
	s.equal(p, &cloud.Principal{
		UserID: ann.ID, Name: "ann", Role: cloud.Member, Apps: apps,
		Key: &cloud.Key{ID: free.ID, Name: free.Name, Scopes: free.Scopes},
	})
}

func (s *suite) listKeys(u cloud.User) []cloud.APIKey {
	s.Helper()
	keys, err := s.store.Keys(s.Context(), u.ID)
	s.must(err)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		same, err := tx.Keys(ctx, u.ID)
		s.equal(same, keys)
		return err
	})
	return keys
}

func (s *suite) keys() {
	ann, bob := s.add("ann", cloud.Member), s.add("bob", cloud.Member)
	s.equal(len(s.listKeys(ann)), 0)
	first := s.key(ann, "1", "", s.now, time.Time{})
	second := s.key(ann, "2", s.app, s.now.Add(time.Minute), s.now.Add(time.Hour))
	third := s.key(ann, "3", "", s.now.Add(-time.Minute), s.now.Add(-time.Second))
	s.key(bob, "4", "", s.now, time.Time{})
	s.equal(s.listKeys(ann), []cloud.APIKey{second, first, third})
	first.LastUsedAt = s.now.Add(time.Second)
	s.must(s.store.NoteKeyUse(s.Context(), first.ID, first.LastUsedAt))
	s.equal(s.listKeys(ann), []cloud.APIKey{second, first, third})
}

func (s *suite) deleteKey() {
	ann, bob := s.add("ann", cloud.Member), s.add("bob", cloud.Member)
	k := s.key(ann, "1", "", s.now, time.Time{})
	drop := func(u cloud.User) error {
		return s.change(func(ctx context.Context, tx accounts.Tx) error { return tx.DeleteKey(ctx, u.ID, k.ID) })
	}
	s.code(drop(bob), cloud.CodeNotFound)
	_, _, err := s.store.PrincipalByKey(s.Context(), hash("1"), s.now)
	s.must(err)
	s.must(drop(ann))
	_, _, err = s.store.PrincipalByKey(s.Context(), hash("1"), s.now)
	s.code(err, cloud.CodeUnauthorized)
	s.code(drop(ann), cloud.CodeNotFound)
}

func (s *suite) deleteParentKey() {
	ann, bob := s.add("ann", cloud.Member), s.add("bob", cloud.Member)
	leaked := s.key(ann, "leaked", "", s.now, time.Time{})
	child := s.keyBy(leaked.ID, ann, "child", "", s.now, time.Time{})
	s.keyBy(child.ID, ann, "grandchild", s.app, s.now, time.Time{})
	sibling := s.key(ann, "sibling", "", s.now, time.Time{})
	foreign := s.key(bob, "foreign", "", s.now, time.Time{})
	drop := func(id string) {
		s.Helper()
		s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.DeleteKey(ctx, ann.ID, id) })
	}
	drop(leaked.ID)
	s.equal(s.listKeys(ann), []cloud.APIKey{sibling})
	s.equal(s.listKeys(bob), []cloud.APIKey{foreign})
	for token, want := range map[string]cloud.Code{
		"leaked": cloud.CodeUnauthorized, "child": cloud.CodeUnauthorized, "grandchild": cloud.CodeUnauthorized,
		"sibling": "", "foreign": "",
	} {
		if _, _, err := s.store.PrincipalByKey(s.Context(), hash(token), s.now); cloud.CodeOf(err) != want {
			s.Errorf("key %s: %v, want code %q", token, err, want)
		}
	}
	youngest := s.keyBy(sibling.ID, ann, "youngest", "", s.now, time.Time{})
	drop(youngest.ID)
	s.equal(s.listKeys(ann), []cloud.APIKey{sibling})
	s.code(s.change(func(ctx context.Context, tx accounts.Tx) error {
		return tx.InsertKey(ctx, cloud.APIKey{ID: cloud.NewID(), UserID: ann.ID, Name: "orphan", CreatedAt: s.now}, leaked.ID, hash("orphan"))
	}), cloud.CodeUnauthorized)
}

func (s *suite) keyOfNoApp() {
	ann := s.add("ann", cloud.Member)
	err := s.change(func(ctx context.Context, tx accounts.Tx) error {
		return tx.InsertKey(ctx, cloud.APIKey{
			ID: cloud.NewID(), UserID: ann.ID, Name: "k", Scopes: cloud.Scopes, AppID: cloud.NewID(), CreatedAt: s.now,
		}, "", hash("k"))
	})
	s.code(err, cloud.CodeNotFound)
	if e, ok := errors.AsType[*cloud.Error](err); !ok || e.Field != "app" {
		s.Fatalf("%v is not about app", err)
	}
}

func (s *suite) principalFollows() {
	ann := s.add("ann", cloud.Admin)
	s.key(ann, "k", "", s.now, time.Time{})
	s.session(ann, "s", s.now)
	roles := func() (byKey, bySession cloud.InstanceRole) {
		if p, _, err := s.store.PrincipalByKey(s.Context(), hash("k"), s.now); err == nil {
			byKey = p.Role
		}
		if p, _, err := s.store.PrincipalBySession(s.Context(), hash("s"), s.now); err == nil {
			bySession = p.Role
		}
		return byKey, bySession
	}
	want := func(role cloud.InstanceRole) {
		s.Helper()
		byKey, bySession := roles()
		s.equal([]cloud.InstanceRole{byKey, bySession}, []cloud.InstanceRole{role, role})
	}
	update := func() {
		s.Helper()
		s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.UpdateUser(ctx, ann) })
	}
	want(cloud.Admin)
	ann.Role = cloud.Member
	update()
	want(cloud.Member)
	ann.Active = false
	update()
	want("")
	ann.Active = true
	update()
	want(cloud.Member)
}

func (s *suite) principals() {
	ann, bob, off := s.add("ann", cloud.Owner), s.add("bob", cloud.Member), s.add("off", cloud.Member)
	off.Active = false
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		for app, role := range map[string]cloud.AppRole{s.app: cloud.Editor, s.other: cloud.Viewer} {
			if _, err := tx.SetMember(ctx, app, bob.ID, role); err != nil {
				return err
			}
		}
		return tx.UpdateUser(ctx, off)
	})
	for _, test := range []struct {
		ids  []string
		want map[string]*cloud.Principal
	}{
		{nil, map[string]*cloud.Principal{}},
		{[]string{off.ID, cloud.NewID(), "x", ""}, map[string]*cloud.Principal{}},
		{[]string{bob.ID, ann.ID, bob.ID, off.ID}, map[string]*cloud.Principal{
			ann.ID: {UserID: ann.ID, Name: "ann", Role: cloud.Owner, Apps: map[string]cloud.AppRole{}},
			bob.ID: {UserID: bob.ID, Name: "bob", Role: cloud.Member, Apps: map[string]cloud.AppRole{s.app: cloud.Editor, s.other: cloud.Viewer}},
		}},
	} {
		got, err := s.store.Principals(s.Context(), test.ids)
		s.must(err)
		s.equal(got, test.want)
	}
}

func (s *suite) listMembers(app string) []cloud.AppMember {
	s.Helper()
	members, err := s.store.Members(s.Context(), app)
	s.must(err)
	for i := range members {
		if members[i].CreatedAt.IsZero() {
			s.Fatalf("member %s was never made", members[i].UserName)
		}
	}
	return members
}

func (s *suite) members() {
	bob, ann := s.add("Bob", cloud.Member), s.add("ann", cloud.Member)
	set := func(app, user string, role cloud.AppRole) (m cloud.AppMember, err error) {
		err = s.change(func(ctx context.Context, tx accounts.Tx) (err error) {
			m, err = tx.SetMember(ctx, app, user, role)
			return err
		})
		return m, err
	}
	first, err := set(s.app, bob.ID, cloud.Viewer)
	s.must(err)
	s.equal(first, cloud.AppMember{UserID: bob.ID, UserName: "Bob", Role: cloud.Viewer, CreatedAt: first.CreatedAt})
	second, err := set(s.app, ann.ID, cloud.AppAdminRole)
	s.must(err)
	other, err := set(s.other, bob.ID, cloud.Editor)
	s.must(err)
	s.equal(s.listMembers(s.app), []cloud.AppMember{second, first})
	s.equal(s.listMembers(s.other), []cloud.AppMember{other})

	changed, err := set(s.app, bob.ID, cloud.Editor)
	s.must(err)
	first.Role = cloud.Editor
	s.equal(changed, first)
	s.equal(s.listMembers(s.app), []cloud.AppMember{second, first})

	_, err = set(cloud.NewID(), bob.ID, cloud.Editor)
	s.code(err, cloud.CodeNotFound)
	_, err = set(s.app, cloud.NewID(), cloud.Editor)
	s.code(err, cloud.CodeNotFound)

	remove := func(app, user string) error {
		return s.change(func(ctx context.Context, tx accounts.Tx) error { return tx.RemoveMember(ctx, app, user) })
	}
	s.must(remove(s.app, bob.ID))
	s.code(remove(s.app, bob.ID), cloud.CodeNotFound)
	s.equal(s.listMembers(s.app), []cloud.AppMember{second})
	s.equal(s.listMembers(s.other), []cloud.AppMember{other})
	bob.Name = "Zoe"
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.UpdateUser(ctx, bob) })
	s.equal(s.listMembers(s.other)[0].UserName, "Zoe")
}

func (s *suite) deleteUser() {
	ann, bob := s.add("ann", cloud.Member), s.add("bob", cloud.Member)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		s.must(tx.SetTOTP(ctx, ann.ID, &cloud.Sealed{KeyID: "k", Box: []byte{1}}, true))
		s.must(tx.SetRecoveryCodes(ctx, ann.ID, [][32]byte{hash("r")}))
		s.must(tx.SetInvitation(ctx, ann.ID, hash("i"), s.now.Add(time.Hour)))
		_, err := tx.SetMember(ctx, s.app, ann.ID, cloud.Viewer)
		return err
	})
	s.key(ann, "k", "", s.now, time.Time{})
	s.session(ann, "s", s.now)
	s.key(bob, "l", "", s.now, time.Time{})
	s.done(func(ctx context.Context, tx accounts.Tx) error { return tx.DeleteUser(ctx, ann.ID) })

	_, err := s.store.User(s.Context(), ann.ID)
	s.code(err, cloud.CodeNotFound)
	_, _, err = s.store.PrincipalByKey(s.Context(), hash("k"), s.now)
	s.code(err, cloud.CodeUnauthorized)
	_, _, err = s.store.PrincipalBySession(s.Context(), hash("s"), s.now)
	s.code(err, cloud.CodeUnauthorized)
	s.equal(len(s.listMembers(s.app)), 0)
	s.equal(len(s.listKeys(ann)), 0)
	s.equal(len(s.listSessions(ann, s.now)), 0)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		_, err := tx.InvitedUser(ctx, hash("i"), s.now)
		s.code(err, cloud.CodeUnauthorized)
		return nil
	})
	_, _, err = s.store.PrincipalByKey(s.Context(), hash("l"), s.now)
	s.must(err)
	s.add("ann", cloud.Member)
}

func (s *suite) notes() {
	s.must(s.store.NoteKeyUse(s.Context(), cloud.NewID(), s.now))
	s.must(s.store.NoteSessionUse(s.Context(), cloud.NewID(), s.now, s.now))
	users, err := s.store.Users(s.Context())
	s.must(err)
	s.equal(len(users), 0)
}

func (s *suite) rollback() {
	ann := s.add("ann", cloud.Owner)
	refusal := cloud.Errorf(cloud.CodeLastOwner, "no")
	err := s.change(func(ctx context.Context, tx accounts.Tx) error {
		s.must(tx.SetPassword(ctx, ann.ID, "$p", time.Time{}))
		s.must(tx.SetRecoveryCodes(ctx, ann.ID, [][32]byte{hash("r")}))
		s.must(tx.InsertSession(ctx, cloud.Session{ID: cloud.NewID(), UserID: ann.ID, CreatedAt: s.now, SeenAt: s.now, ExpiresAt: s.now.Add(time.Hour)}, hash("s")))
		s.must(tx.InsertUser(ctx, cloud.User{ID: cloud.NewID(), Name: "bob", Role: cloud.Member, CreatedAt: s.now}))
		return refusal
	})
	if e, ok := errors.AsType[*cloud.Error](err); !ok || e != refusal {
		s.Fatalf("got %v, want the error of the change itself", err)
	}
	s.equal(s.credentials("ann"), accounts.Credentials{User: ann})
	s.equal(s.useCode(ann, "r"), false)
	_, _, err = s.store.PrincipalBySession(s.Context(), hash("s"), s.now)
	s.code(err, cloud.CodeUnauthorized)
	_, err = s.store.User(s.Context(), "bob")
	s.code(err, cloud.CodeNotFound)
}

func (s *suite) reads() {
	ann := s.add("ann", cloud.Owner)
	s.done(func(ctx context.Context, tx accounts.Tx) error {
		bob := cloud.User{ID: cloud.NewID(), Name: "bob", Role: cloud.Member, Active: true, CreatedAt: s.now}
		s.must(tx.InsertUser(ctx, bob))
		s.must(tx.SetPassword(ctx, bob.ID, "$p", time.Time{}))
		bob.Access = cloud.AccessPassword
		users, err := tx.Users(ctx)
		s.must(err)
		s.equal(users, []cloud.User{ann, bob})
		c, err := tx.Credentials(ctx, "BOB")
		s.must(err)
		s.equal(c, accounts.Credentials{User: bob, PasswordHash: "$p"})
		return nil
	})
}

func (s *suite) serial() {
	const owners = 4
	for i := range owners {
		s.add(string(rune('a'+i)), cloud.Owner)
	}
	last := cloud.Errorf(cloud.CodeLastOwner, "the last owner stays")
	resign := func(i int) error {
		return s.change(func(ctx context.Context, tx accounts.Tx) error {
			users, err := tx.Users(ctx)
			if err != nil {
				return err
			}
			active := 0
			for _, u := range users {
				if u.Active {
					active++
				}
			}
			if active == 1 {
				return last
			}
			u := users[i]
			u.Active = false
			return tx.UpdateUser(ctx, u)
		})
	}
	errs := make([]error, owners)
	var resigning sync.WaitGroup
	for i := range owners {
		resigning.Go(func() { errs[i] = resign(i) })
	}
	resigning.Wait()
	refused := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(refused) != 1 || cloud.CodeOf(refused[0]) != cloud.CodeLastOwner {
		s.Fatalf("refused were %v, want one", refused)
	}
}
