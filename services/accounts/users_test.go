package accounts_test

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
)

// set returns the change of a user to a role, or to being active.
func set(role cloud.InstanceRole) cloud.UserChange { return cloud.UserChange{Role: &role} }
func active(is bool) cloud.UserChange              { return cloud.UserChange{Active: &is} }
func named(name string) cloud.UserChange           { return cloud.UserChange{Name: &name} }

func TestService_CreateUser(t *testing.T) {
	t.Parallel()
	t.Run("hands over a one-time password", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		u, handover, err := w.CreateUser(t.Context(), olga, cloud.UserDraft{Name: "ann", Role: cloud.Admin})
		w.must(err)
		want := cloud.User{ID: u.ID, Name: "ann", Role: cloud.Admin, Active: true, Access: cloud.AccessOneTime, CreatedAt: w.now}
		if u != want {
			t.Errorf("user %+v, want %+v", u, want)
		}
		if stored, err := w.User(t.Context(), u.ID); err != nil || stored != want {
			t.Errorf("stored %+v, %v", stored, err)
		}
		if !regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`).MatchString(handover.Password) {
			t.Errorf("one-time password %q", handover.Password)
		}
	})
	t.Run("refuses", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, ada := w.user("ada", cloud.Admin)
		for _, test := range []struct {
			by    *cloud.Principal
			draft cloud.UserDraft
			code  cloud.Code
			field string
		}{
			{olga, cloud.UserDraft{Name: ""}, cloud.CodeInvalid, "name"},
			{olga, cloud.UserDraft{Name: "a b"}, cloud.CodeInvalid, "name"},
			{olga, cloud.UserDraft{Name: cloud.NewID()}, cloud.CodeInvalid, "name"},
			{olga, cloud.UserDraft{Name: "x", Role: "king"}, cloud.CodeInvalid, "role"},
			{olga, cloud.UserDraft{Name: "OLGA"}, cloud.CodeConflict, "name"},
			{ada, cloud.UserDraft{Name: "x", Role: cloud.Owner}, cloud.CodeForbidden, ""},
			{nil, cloud.UserDraft{Name: "x"}, cloud.CodeForbidden, ""},
		} {
			_, handover, err := w.CreateUser(t.Context(), test.by, test.draft)
			w.code(err, test.code, test.field)
			if handover != (cloud.Handover{}) {
				t.Errorf("%+v was handed over with an error", handover)
			}
		}
		if users, err := w.Users(t.Context()); err != nil || len(users) != 2 {
			t.Errorf("users %+v, %v", users, err)
		}
	})
	t.Run("an owner makes owners", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		u, _, err := w.CreateUser(t.Context(), olga, cloud.UserDraft{Name: "otto", Role: cloud.Owner, Invite: true})
		if err != nil || u.Role != cloud.Owner {
			t.Errorf("user %+v, %v", u, err)
		}
	})
}

func TestService_User(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	olga, _ := w.claim()
	for _, ref := range []string{olga.ID, strings.ToUpper(olga.ID), "olga", "Olga"} {
		if u, err := w.User(t.Context(), ref); err != nil || u != olga {
			t.Errorf("%s: %+v, %v", ref, u, err)
		}
	}
	for _, ref := range []string{"", "nobody", cloud.NewID(), "\x00", "a b", strings.Repeat("x", 1<<16)} {
		_, err := w.User(t.Context(), ref)
		w.code(err, cloud.CodeNotFound, "")
	}
}

func TestService_ChangeUser_guards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, olga := w.claim()
	otto, ottoP := w.user("otto", cloud.Owner)
	ada, adaP := w.user("ada", cloud.Admin)
	alf, _ := w.user("alf", cloud.Admin)
	mia, _ := w.user("mia", cloud.Member)
	for _, test := range []struct {
		name   string
		by     *cloud.Principal
		user   string
		change cloud.UserChange
		want   cloud.Code
		field  string
	}{
		{"an admin renames an owner", adaP, otto.ID, named("x"), cloud.CodeForbidden, ""},
		{"an admin deactivates an owner", adaP, otto.ID, active(false), cloud.CodeForbidden, ""},
		{"an admin demotes an owner", adaP, otto.ID, set(cloud.Member), cloud.CodeForbidden, ""},
		{"an admin makes a member an owner", adaP, mia.ID, set(cloud.Owner), cloud.CodeForbidden, ""},
		{"an admin makes themself an owner", adaP, ada.ID, set(cloud.Owner), cloud.CodeForbidden, ""},
		{"nobody changes somebody", nil, mia.ID, set(cloud.Admin), cloud.CodeForbidden, ""},
		{"no such role", olga, mia.ID, set("king"), cloud.CodeInvalid, "role"},
		{"no such name", olga, mia.ID, named("a b"), cloud.CodeInvalid, "name"},
		{"a name that is taken", olga, mia.ID, named("ADA"), cloud.CodeConflict, "name"},
		{"no such user", olga, cloud.NewID(), named("x"), cloud.CodeNotFound, ""},

		{"an admin makes a member an admin", adaP, mia.ID, set(cloud.Admin), "", ""},
		{"an admin demotes another", adaP, alf.ID, set(cloud.Member), "", ""},
		{"an admin resigns while there is an owner", adaP, ada.ID, set(cloud.Member), "", ""},
		{"an owner makes an owner", olga, mia.ID, set(cloud.Owner), "", ""},
		{"an owner demotes another", olga, mia.ID, set(cloud.Member), "", ""},
		{"a principal is as its user is now", adaP, otto.ID, named("x"), cloud.CodeForbidden, ""},
		{"an owner resigns while there is another", ottoP, otto.ID, set(cloud.Member), "", ""},
		{"who resigned makes no owner any more", ottoP, mia.ID, set(cloud.Owner), cloud.CodeForbidden, ""},

		{"the last owner resigns", olga, olga.UserID, set(cloud.Admin), cloud.CodeLastOwner, ""},
		{"the last owner deactivates themself", olga, olga.UserID, active(false), cloud.CodeLastOwner, ""},
		{"this machine demotes the last owner", accounts.Operator, olga.UserID, set(cloud.Member), cloud.CodeLastOwner, ""},
		{"the last owner takes another name", olga, olga.UserID, named("Olga"), "", ""},
		{"this machine makes an owner", accounts.Operator, mia.ID, set(cloud.Owner), "", ""},
		{"an inactive owner is none", olga, mia.ID, active(false), "", ""},
		{"so the last active one stays", olga, olga.UserID, set(cloud.Member), cloud.CodeLastOwner, ""},
	} {
		before, err := w.Users(t.Context())
		w.must(err)
		got, err := w.ChangeUser(t.Context(), test.by, test.user, test.change)
		if cloud.CodeOf(err) != test.want {
			t.Fatalf("%s: %v, want %q", test.name, err, test.want)
		}
		after, _ := w.Users(t.Context())
		if err != nil {
			w.code(err, test.want, test.field)
			if !slices.Equal(before, after) {
				t.Errorf("%s: refused, and yet %+v", test.name, after)
			}
		} else if !slices.Contains(after, got) {
			t.Errorf("%s: returned %+v, stored %+v", test.name, got, after)
		}
	}
}

func TestService_ChangeUser_deactivating(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, olga := w.claim()
	ann, session := w.user("ann", cloud.Member)
	_, key := w.key(session, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
	_, err := w.ChangeUser(t.Context(), olga, ann.ID, active(false))
	w.must(err)
	_, err = w.logIn("ann", good, local)
	w.code(err, cloud.CodeUnauthorized, "")
	_, _, err = w.CreateKey(t.Context(), session, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
	w.code(err, cloud.CodeUnauthorized, "")
	_, err = w.ChangeUser(t.Context(), olga, ann.ID, active(true))
	w.must(err)
	w.principal(key)
	if sessions, err := w.Sessions(t.Context(), ann.ID); err != nil || len(sessions) != 0 {
		t.Errorf("sessions came back: %+v, %v", sessions, err)
	}
}

// A key that leaked is revoked, and nothing of its user's account is lost.
func TestService_guardsAgainstKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, olga := w.claim()
	otto, _ := w.user("otto", cloud.Owner)
	ada, adaP := w.user("ada", cloud.Admin)
	mia, _ := w.user("mia", cloud.Member)
	ownerKey, _ := w.key(olga, cloud.KeyDraft{Name: "owner's", Scopes: cloud.Scopes})
	adminKey, _ := w.key(adaP, cloud.KeyDraft{Name: "admin's", Scopes: cloud.Scopes})
	reset := func(invite bool) func(by *cloud.Principal, id string) error {
		return func(by *cloud.Principal, id string) error {
			_, err := w.ResetAccess(t.Context(), by, id, invite)
			return err
		}
	}
	change := func(c cloud.UserChange) func(by *cloud.Principal, id string) error {
		return func(by *cloud.Principal, id string) error {
			_, err := w.ChangeUser(t.Context(), by, id, c)
			return err
		}
	}
	remove := func(by *cloud.Principal, id string) error { return w.DeleteUser(t.Context(), by, id) }
	create := func(role cloud.InstanceRole) func(by *cloud.Principal, id string) error {
		return func(by *cloud.Principal, _ string) error {
			_, _, err := w.CreateUser(t.Context(), by, cloud.UserDraft{Name: "new-" + string(role), Role: role})
			return err
		}
	}
	for _, test := range []struct {
		name string
		by   *cloud.Principal
		user string
		do   func(by *cloud.Principal, id string) error
		want cloud.Code
	}{
		{"resets its own user", ownerKey, olga.UserID, reset(false), cloud.CodeForbidden},
		{"invites its own user", ownerKey, olga.UserID, reset(true), cloud.CodeForbidden},
		{"renames its own user", ownerKey, olga.UserID, change(named("x")), cloud.CodeForbidden},
		{"deactivates its own user", ownerKey, olga.UserID, change(active(false)), cloud.CodeForbidden},
		{"deletes its own user", ownerKey, olga.UserID, remove, cloud.CodeForbidden},
		{"resets an owner", ownerKey, otto.ID, reset(false), cloud.CodeForbidden},
		{"demotes an owner", ownerKey, otto.ID, change(set(cloud.Member)), cloud.CodeForbidden},
		{"deletes an owner", ownerKey, otto.ID, remove, cloud.CodeForbidden},
		{"makes a member an owner", ownerKey, mia.ID, change(set(cloud.Owner)), cloud.CodeForbidden},
		{"creates an owner", ownerKey, "", create(cloud.Owner), cloud.CodeForbidden},
		{"of an admin resets its own user", adminKey, ada.ID, reset(false), cloud.CodeForbidden},
		{"of an admin deletes its own user", adminKey, ada.ID, remove, cloud.CodeForbidden},
		{"resets a member", ownerKey, mia.ID, reset(false), ""},
		{"makes a member an admin", ownerKey, mia.ID, change(set(cloud.Admin)), ""},
		{"deletes a user", adminKey, mia.ID, remove, ""},
		{"creates a user", adminKey, "", create(cloud.Member), ""},
	} {
		before, err := w.Users(t.Context())
		w.must(err)
		if err := test.do(test.by, test.user); cloud.CodeOf(err) != test.want {
			t.Fatalf("a key that %s: %v, want %q", test.name, err, test.want)
		}
		after, err := w.Users(t.Context())
		w.must(err)
		if slices.Equal(before, after) == (test.want == "") {
			t.Errorf("a key that %s: users before %+v and after %+v", test.name, before, after)
		}
	}
	_, err := w.ResetAccess(t.Context(), olga, olga.UserID, false)
	w.must(err) // with a session one may
}

// A database that was put together by hand may have admins and no owner.
func TestService_ChangeUser_lastAdminWithoutOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, _ := w.user("ada", cloud.Admin)
	alf, _ := w.user("alf", cloud.Admin)
	_, err := w.ChangeUser(t.Context(), accounts.Operator, alf.ID, active(false))
	w.must(err)
	_, err = w.ChangeUser(t.Context(), accounts.Operator, ada.ID, set(cloud.Member))
	w.code(err, cloud.CodeLastOwner, "")
	w.code(w.DeleteUser(t.Context(), accounts.Operator, ada.ID), cloud.CodeLastOwner, "")
	w.must(w.DeleteUser(t.Context(), accounts.Operator, alf.ID))
	_, err = w.ChangeUser(t.Context(), accounts.Operator, ada.ID, set(cloud.Owner))
	w.must(err)
}

func TestService_DeleteUser(t *testing.T) {
	t.Parallel()
	t.Run("takes everything along", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		ann, session := w.user("ann", cloud.Member)
		_, err := w.SetMember(t.Context(), w.app, "ann", cloud.Editor)
		w.must(err)
		w.must(w.DeleteUser(t.Context(), olga, ann.ID))
		_, err = w.User(t.Context(), "ann")
		w.code(err, cloud.CodeNotFound, "")
		if members, err := w.Members(t.Context(), w.app); err != nil || len(members) != 0 {
			t.Errorf("members %+v, %v", members, err)
		}
		w.code(w.DeleteUser(t.Context(), olga, ann.ID), cloud.CodeNotFound, "")
		_, _, err = w.CreateKey(t.Context(), session, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
		w.code(err, cloud.CodeUnauthorized, "")
	})
	t.Run("guards owners", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, ada := w.user("ada", cloud.Admin)
		w.code(w.DeleteUser(t.Context(), ada, olga.UserID), cloud.CodeForbidden, "")
		w.code(w.DeleteUser(t.Context(), olga, olga.UserID), cloud.CodeLastOwner, "")
		w.code(w.DeleteUser(t.Context(), nil, ada.UserID), cloud.CodeForbidden, "")
		w.must(w.DeleteUser(t.Context(), ada, ada.UserID))
	})
	t.Run("of the last two owners at the same moment one stays", func(t *testing.T) {
		for name, remove := range map[string]func(w *world, by, of *cloud.Principal) error{
			"deleting": func(w *world, by, of *cloud.Principal) error {
				return w.DeleteUser(w.Context(), by, of.UserID)
			},
			"deactivating": func(w *world, by, of *cloud.Principal) error {
				_, err := w.ChangeUser(w.Context(), by, of.UserID, active(false))
				return err
			},
		} {
			for _, who := range []string{"themselves", "each other"} {
				w := newWorld(t)
				_, olga := w.claim()
				_, otto := w.user("otto", cloud.Owner)
				first, second := olga, otto
				if who == "each other" {
					first, second = otto, olga
				}
				var a, b error
				var removals sync.WaitGroup
				removals.Go(func() { a = remove(w, olga, first) })
				removals.Go(func() { b = remove(w, otto, second) })
				removals.Wait()
				if (a == nil) == (b == nil) {
					t.Errorf("%s %s: %v and %v, want one error", name, who, a, b)
				}
				if claimed, err := w.store.Owned(t.Context()); err != nil || !claimed {
					t.Errorf("%s %s: nobody is left", name, who)
				}
			}
		}
	})
}

func TestService_ResetAccess(t *testing.T) {
	t.Parallel()
	t.Run("gives a one-time password and ends what there was", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, key := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
		w.secondFactor(olga)
		handover, err := w.ResetAccess(t.Context(), accounts.Operator, olga.UserID, false)
		w.must(err)
		w.secret(handover.Password)
		if sessions, err := w.Sessions(t.Context(), olga.UserID); err != nil || len(sessions) != 0 {
			t.Errorf("sessions %+v, %v", sessions, err)
		}
		u, err := w.User(t.Context(), "olga")
		w.must(err)
		if u.Access != cloud.AccessOneTime || u.SecondFactor {
			t.Errorf("user %+v", u)
		}
		w.principal(key)
		_, err = w.logIn("olga", good, local)
		w.code(err, cloud.CodeUnauthorized, "")
		_, err = w.LogIn(t.Context(), cloud.LogIn{Name: "olga", Password: handover.Password, NewPassword: "two lamps are better"})
		w.must(err)
	})
	t.Run("is guarded", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		_, ada := w.user("ada", cloud.Admin)
		for _, invite := range []bool{false, true} {
			_, err := w.ResetAccess(t.Context(), ada, olga.UserID, invite)
			w.code(err, cloud.CodeForbidden, "")
			_, err = w.ResetAccess(t.Context(), nil, olga.UserID, invite)
			w.code(err, cloud.CodeForbidden, "")
			_, err = w.ResetAccess(t.Context(), olga, cloud.NewID(), invite)
			w.code(err, cloud.CodeNotFound, "")
		}
		_, err := w.logIn("olga", good, local)
		w.must(err)
	})
}

func TestService_AcceptInvitation(t *testing.T) {
	t.Parallel()
	invite := func(w *world) (cloud.User, string) {
		w.Helper()
		_, olga := w.claim()
		u, handover, err := w.CreateUser(w.Context(), olga, cloud.UserDraft{Name: "ann", Invite: true})
		w.must(err)
		w.secret(handover.Invitation)
		if u.Access != cloud.AccessInvited || handover.Password != "" || !strings.HasPrefix(handover.Invitation, "pin_") || !handover.ExpiresAt.Equal(w.now.Add(cloud.InvitationLife)) {
			w.Errorf("user %+v, handover %+v", u, handover)
		}
		return u, handover.Invitation
	}
	t.Run("sets the password and logs in, once", func(t *testing.T) {
		w := newWorld(t)
		ann, token := invite(w)
		_, err := w.AcceptInvitation(t.Context(), token, "short", home)
		w.code(err, cloud.CodeInvalid, "password")
		entry := &cloud.AuditEntry{}
		in, err := w.AcceptInvitation(cloud.WithAudit(t.Context(), entry), token, good, home)
		w.must(err)
		if entry.UserName != "ann" || in.User.Access != cloud.AccessPassword || in.User.ID != ann.ID || in.Session.Address != home.Address {
			t.Errorf("logged in %+v, audit entry %+v", in, entry)
		}
		w.principal(in.Token)
		_, err = w.AcceptInvitation(t.Context(), token, good, home)
		w.code(err, cloud.CodeUnauthorized, "")
		_, err = w.logIn("ann", good, home)
		w.must(err)
	})
	t.Run("has one winner", func(t *testing.T) {
		w := newWorld(t)
		_, token := invite(w)
		errs := make([]error, 4)
		var acceptances sync.WaitGroup
		for i := range errs {
			acceptances.Go(func() { _, errs[i] = w.AcceptInvitation(t.Context(), token, good, local) })
		}
		acceptances.Wait()
		if lost := slices.DeleteFunc(errs, func(err error) bool { return err == nil }); len(lost) != 3 {
			t.Errorf("lost: %v, want three", lost)
		}
	})
	t.Run("refuses what is no invitation, or not any more", func(t *testing.T) {
		w := newWorld(t)
		ann, token := invite(w)
		for _, bad := range []string{"", "pin_", token[:len(token)-1], "pic_" + token[4:], "pin_" + accounts.MintKey()[4:]} {
			_, err := w.AcceptInvitation(t.Context(), bad, good, local)
			w.code(err, cloud.CodeUnauthorized, "")
		}
		_, err := w.ChangeUser(t.Context(), accounts.Operator, ann.ID, active(false))
		w.must(err)
		_, err = w.AcceptInvitation(t.Context(), token, good, local)
		w.code(err, cloud.CodeUnauthorized, "")
		_, err = w.ChangeUser(t.Context(), accounts.Operator, ann.ID, active(true))
		w.must(err)
		_, err = w.ResetAccess(t.Context(), accounts.Operator, ann.ID, true)
		w.must(err)
		_, err = w.AcceptInvitation(t.Context(), token, good, local)
		w.code(err, cloud.CodeUnauthorized, "")
	})
	t.Run("expires", func(t *testing.T) {
		w := newWorld(t)
		_, token := invite(w)
		w.pass(cloud.InvitationLife)
		_, err := w.AcceptInvitation(t.Context(), token, good, home)
		w.code(err, cloud.CodeUnauthorized, "")
	})
}

func TestService_members(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.claim()
	ann, session := w.user("ann", cloud.Member)
	m, err := w.SetMember(t.Context(), w.app, "ANN", cloud.Viewer)
	w.must(err)
	if m.UserID != ann.ID || m.UserName != "ann" || m.Role != cloud.Viewer {
		t.Errorf("member %+v", m)
	}
	changed, err := w.SetMember(t.Context(), w.app, ann.ID, cloud.AppAdminRole)
	w.must(err)
	m.Role = cloud.AppAdminRole
	if members, err := w.Members(t.Context(), w.app); err != nil || changed != m || !slices.Equal(members, []cloud.AppMember{m}) {
		t.Errorf("members %+v, changed %+v, %v", members, changed, err)
	}
	_, token := w.key(session, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
	if role := w.principal(token).RoleIn(w.app); role != cloud.AppAdminRole {
		t.Errorf("role %q in the app", role)
	}
	for _, ref := range []string{"nobody", cloud.NewID(), "", "a b"} {
		_, err := w.SetMember(t.Context(), w.app, ref, cloud.Viewer)
		w.code(err, cloud.CodeNotFound, "")
		w.code(w.RemoveMember(t.Context(), w.app, ref), cloud.CodeNotFound, "")
	}
	_, err = w.SetMember(t.Context(), noApp, "ann", cloud.Viewer)
	w.code(err, cloud.CodeNotFound, "")
	_, err = w.SetMember(t.Context(), w.app, "ann", "king")
	w.code(err, cloud.CodeInvalid, "role")
	w.must(w.RemoveMember(t.Context(), w.app, "ann"))
	w.code(w.RemoveMember(t.Context(), w.app, "ann"), cloud.CodeNotFound, "")
	if role := w.principal(token).RoleIn(w.app); role != "" {
		t.Errorf("role %q in the app after it was taken away", role)
	}
}
