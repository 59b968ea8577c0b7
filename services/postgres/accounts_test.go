package postgres_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/accounts/accountstest"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

func TestAccounts_Conformance(t *testing.T) {
	t.Parallel()
	accountstest.TestStore(t, func(t *testing.T) (accounts.Store, string, string) {
		pool := cloudtest.Database(t)
		return postgres.NewAccounts(pool, nil), createApp(t, pool, "app").ID, createApp(t, pool, "other").ID
	})
}

func hash(token string) [32]byte { return sha256.Sum256([]byte(token)) }

func newUser(name string, role cloud.InstanceRole) cloud.User {
	return cloud.User{ID: cloud.NewID(), Name: name, Role: role, Active: true, CreatedAt: noon}
}

func addUser(t *testing.T, s *postgres.Accounts, name string, role cloud.InstanceRole) cloud.User {
	t.Helper()
	u := newUser(name, role)
	must(t, s.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error { return tx.InsertUser(ctx, u) }))
	return u
}

func TestAccounts_Names(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewAccounts(pool, nil)
	_, err := pool.Exec(t.Context(), `INSERT INTO users (id, name, role) VALUES ($1, 'Owner', 'owner')`, cloud.NewID())
	must(t, err) // as a program of before did
	for _, name := range []string{"Ärger", "Kim", "λόγος", "Straße"} {
		addUser(t, s, name, cloud.Member)
	}
	for name, ref := range map[string]string{
		"Owner": "oWNER", "Ärger": "äRGER", "Kim": "\u212aIM", "λόγος": "ΛΌΓΟΣ", "Straße": "STRAẞE",
	} {
		u, err := s.User(t.Context(), ref)
		must(t, err)
		equal(t, u.Name, name)
		err = s.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error {
			return tx.InsertUser(ctx, newUser(ref, cloud.Member))
		})
		wantCode(t, err, cloud.CodeConflict)
	}
	for _, ref := range []string{"arger", "kim\x00", "kim\xff", ""} {
		_, err := s.User(t.Context(), ref)
		wantCode(t, err, cloud.CodeNotFound)
	}
}

func TestAccounts_TooManySessions(t *testing.T) {
	t.Parallel()
	s := postgres.NewAccounts(cloudtest.Database(t), nil)
	ann, bob := addUser(t, s, "ann", cloud.Owner), addUser(t, s, "bob", cloud.Member)
	insert := func(u cloud.User, token string, seen time.Time) {
		t.Helper()
		must(t, s.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error {
			return tx.InsertSession(ctx, cloud.Session{
				ID: cloud.NewID(), UserID: u.ID, CreatedAt: noon, SeenAt: seen, ExpiresAt: noon.Add(time.Hour),
			}, hash(token))
		}))
	}
	insert(bob, "bob", noon.Add(-time.Hour))
	for i := range cloud.MaxUserSessions {
		insert(ann, fmt.Sprint(i), noon.Add(time.Duration(i)*time.Second))
	}
	insert(ann, "last", noon.Add(-time.Minute))
	for token, want := range map[string]cloud.Code{"0": cloud.CodeUnauthorized, "1": "", "last": "", "bob": ""} {
		if _, _, err := s.PrincipalBySession(t.Context(), hash(token), noon); cloud.CodeOf(err) != want {
			t.Errorf("session %s: %v, want code %q", token, err, want)
		}
	}
	sessions, err := s.Sessions(t.Context(), ann.ID, noon)
	must(t, err)
	equal(t, len(sessions), cloud.MaxUserSessions)
}

func TestAccounts_Notes(t *testing.T) {
	t.Parallel()
	s := postgres.NewAccounts(cloudtest.Database(t), nil)
	ann := addUser(t, s, "ann", cloud.Owner)
	session := cloud.Session{ID: cloud.NewID(), UserID: ann.ID, CreatedAt: noon, SeenAt: noon.Add(time.Hour), ExpiresAt: noon.Add(25 * time.Hour)}
	key := cloud.APIKey{ID: cloud.NewID(), UserID: ann.ID, Name: "k", CreatedAt: noon}
	must(t, s.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error {
		return errors.Join(tx.InsertSession(ctx, session, hash("s")), tx.InsertKey(ctx, key, "", hash("k")))
	}))
	for _, at := range []time.Time{noon.Add(time.Minute), noon} { // the later note comes first
		must(t, s.NoteKeyUse(t.Context(), key.ID, at))
		must(t, s.NoteSessionUse(t.Context(), session.ID, at, at.Add(24*time.Hour)))
	}
	_, used, err := s.PrincipalByKey(t.Context(), hash("k"), noon)
	must(t, err)
	equal(t, used, noon.Add(time.Minute))
	sessions, err := s.Sessions(t.Context(), ann.ID, noon)
	must(t, err)
	equal(t, sessions, []cloud.Session{session})
	for _, id := range []string{cloud.NewID(), "", "x"} {
		must(t, s.NoteKeyUse(t.Context(), id, noon))
		must(t, s.NoteSessionUse(t.Context(), id, noon, noon))
	}
}

// waitForLock returns once a connection to the database waits for a lock.
func waitForLock(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for range 20_000 {
		var waiting bool
		err := pool.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waiting)
		must(t, err)
		if waiting {
			return
		}
	}
	t.Fatal("nobody waits for a lock")
}

func TestAccounts_LastOwners(t *testing.T) {
	t.Parallel()
	url := cloudtest.URL(t)
	here, there := cloudtest.Pool(t, url), cloudtest.Pool(t, url) // two processes
	ann := addUser(t, postgres.NewAccounts(here, nil), "ann", cloud.Owner)
	bob := addUser(t, postgres.NewAccounts(here, nil), "bob", cloud.Owner)
	last := cloud.Errorf(cloud.CodeLastOwner, "the last owner stays")
	// remove reads who there is, does something, and removes the user if it was
	// not the last one.
	remove := func(pool *pgxpool.Pool, id string, meanwhile func()) error {
		return postgres.NewAccounts(pool, nil).Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error {
			users, err := tx.Users(ctx)
			meanwhile()
			switch {
			case err != nil:
				return err
			case len(users) == 1:
				return last
			}
			return tx.DeleteUser(ctx, id)
		})
	}
	second := make(chan error, 1)
	must(t, remove(here, ann.ID, func() {
		go func() { second <- remove(there, bob.ID, func() {}) }()
		waitForLock(t, here)
	}))
	wantCode(t, <-second, cloud.CodeLastOwner)
	owned, err := postgres.NewAccounts(there, nil).Owned(t.Context())
	must(t, err)
	equal(t, owned, true)
}

func TestAccounts_DeletedApp(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewAccounts(pool, nil)
	app, other := createApp(t, pool, "app"), createApp(t, pool, "other")
	ann := addUser(t, s, "ann", cloud.Member)
	must(t, s.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error {
		for _, a := range []cloud.App{app, other} {
			_, err := tx.SetMember(ctx, a.ID, ann.ID, cloud.Editor)
			must(t, err)
			must(t, tx.InsertKey(ctx, cloud.APIKey{ID: cloud.NewID(), UserID: ann.ID, Name: a.Slug, AppID: a.ID, CreatedAt: noon}, "", hash(a.Slug)))
		}
		return nil
	}))
	deleteApp(t, pool, app.ID)
	_, _, err := s.PrincipalByKey(t.Context(), hash("app"), noon)
	wantCode(t, err, cloud.CodeUnauthorized)
	p, _, err := s.PrincipalByKey(t.Context(), hash("other"), noon)
	must(t, err)
	equal(t, p.Apps, map[string]cloud.AppRole{other.ID: cloud.Editor})
	members, err := s.Members(t.Context(), app.ID)
	must(t, err)
	equal(t, len(members), 0)
	for _, id := range []string{app.ID, "x", ""} {
		err = s.Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error {
			_, err := tx.SetMember(ctx, id, ann.ID, cloud.Viewer)
			return err
		})
		wantCode(t, err, cloud.CodeNotFound)
	}
}

func TestAccounts_Away(t *testing.T) {
	t.Parallel()
	s := postgres.NewAccounts(cloudtest.Pool(t, "host=/nonexistent user=nobody dbname=nothing"), nil)
	ctx := t.Context()
	for name, f := range map[string]func() error{
		"PrincipalByKey":     func() error { _, _, err := s.PrincipalByKey(ctx, hash("k"), noon); return err },
		"PrincipalBySession": func() error { _, _, err := s.PrincipalBySession(ctx, hash("s"), noon); return err },
		"NoteKeyUse":         func() error { return s.NoteKeyUse(ctx, cloud.NewID(), noon) },
		"Owned":              func() error { _, err := s.Owned(ctx); return err },
		"Users":              func() error { _, err := s.Users(ctx); return err },
		"Credentials":        func() error { _, err := s.Credentials(ctx, "ann"); return err },
		"Change": func() error {
			return s.Change(ctx, func(context.Context, accounts.Tx) error { return errors.New("not reached") })
		},
	} {
		if err := f(); cloud.CodeOf(err) != cloud.CodeUnavailable {
			t.Errorf("%s: %v, want it unavailable", name, err)
		}
	}
}
