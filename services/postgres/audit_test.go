package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
)

// audited is a context whose changes are recorded as action.
func audited(t *testing.T, action string) (context.Context, *cloud.AuditEntry) {
	e := &cloud.AuditEntry{UserID: cloud.NewID(), UserName: "ann", Via: "session", Address: "192.0.2.7", Action: action}
	return cloud.WithAudit(t.Context(), e), e
}

func readAudit(t *testing.T, pool *pgxpool.Pool, f cloud.AuditFilter) []cloud.AuditEntry {
	t.Helper()
	if f.Limit == 0 {
		f.Limit = 1000
	}
	entries, err := postgres.NewApps(pool, nil).Audit(t.Context(), f)
	must(t, err)
	return entries
}

func TestAudit_Changes(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	clock := func() time.Time { return noon }
	apps, users, env := postgres.NewApps(pool, clock), postgres.NewAccounts(pool, clock), postgres.NewEnv(pool, clock)
	sealed := cloud.Sealed{KeyID: "k1", Box: []byte("box")}
	var app cloud.App
	ann := newUser("ann", cloud.Owner)
	member := func(f func(ctx context.Context, tx accounts.Tx) error) func(context.Context) error {
		return func(ctx context.Context) error { return users.Change(ctx, f) }
	}
	for _, c := range []struct {
		action string
		change func(ctx context.Context) error
		slug   string // of the app that the entry is about
	}{
		{"create-app", func(ctx context.Context) (err error) {
			app, err = apps.CreateApp(ctx, cloud.App{Slug: "old"}, "")
			return err
		}, "old"},
		{"rename-app", func(ctx context.Context) error {
			return apps.ChangeApp(ctx, app.ID, func(ctx context.Context, tx manager.AppTx) error { return tx.Rename(ctx, "app", "App") })
		}, "old"},
		{"create-user", member(func(ctx context.Context, tx accounts.Tx) error { return tx.InsertUser(ctx, ann) }), ""},
		{"set-member", member(func(ctx context.Context, tx accounts.Tx) error {
			_, err := tx.SetMember(ctx, app.ID, ann.ID, cloud.Editor)
			return err
		}), "app"},
		{"remove-member", member(func(ctx context.Context, tx accounts.Tx) error { return tx.RemoveMember(ctx, app.ID, ann.ID) }), "app"},
		{"set-variable", func(ctx context.Context) error { return env.SetVariable(ctx, app.ID, "V", "value") }, "app"},
		{"set-secret", func(ctx context.Context) error { return env.SetSecret(ctx, app.ID, "S", sealed, 3) }, "app"},
		{"delete-variable", func(ctx context.Context) error { _, err := env.DeleteVariable(ctx, app.ID, "V"); return err }, "app"},
		{"delete-secret", func(ctx context.Context) error { _, err := env.DeleteSecret(ctx, app.ID, "S"); return err }, "app"},
		{"rotate-key", func(ctx context.Context) error {
			return postgres.NewInstance(pool).Record(t.Context(), *cloud.AuditFrom(ctx), noon)
		}, ""},
		{"delete-app", func(ctx context.Context) error {
			return apps.ChangeApp(ctx, app.ID, func(ctx context.Context, tx manager.AppTx) error {
				cloud.AuditFrom(ctx).Target = "apps/app"
				return tx.Delete(ctx)
			})
		}, "app"},
	} {
		ctx, e := audited(t, c.action)
		must(t, c.change(ctx))
		got := readAudit(t, pool, cloud.AuditFilter{Limit: 1})
		want := *e
		want.At, want.AppID, want.AppSlug = noon, "", c.slug
		if c.slug != "" {
			want.AppID = app.ID
		}
		if len(got) == 1 {
			want.ID = got[0].ID
		}
		equal(t, got, []cloud.AuditEntry{want})
	}
	entries := readAudit(t, pool, cloud.AuditFilter{})
	equal(t, len(entries), 11)
	equal(t, entries[0].Target, "apps/app")
}

func TestAudit_NoChange(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	apps, users, env := postgres.NewApps(pool, nil), postgres.NewAccounts(pool, nil), postgres.NewEnv(pool, nil)
	app := createApp(t, pool, "app")
	ann := addUser(t, users, "ann", cloud.Owner)
	no := errors.New("no")
	ctx, _ := audited(t, "x")
	for name, f := range map[string]func() error{
		"a change of an app that failed": func() error {
			return apps.ChangeApp(ctx, app.ID, func(ctx context.Context, tx manager.AppTx) error {
				return errors.Join(tx.Rename(ctx, "new", "New"), no)
			})
		},
		"a change of accounts that failed": func() error {
			return users.Change(ctx, func(ctx context.Context, tx accounts.Tx) error { return errors.Join(tx.DeleteUser(ctx, ann.ID), no) })
		},
		"an app that could not be made": func() error { _, err := apps.CreateApp(ctx, cloud.App{Slug: "app"}, ""); return err },
		"no such app":                   func() error { return env.SetVariable(ctx, cloud.NewID(), "V", "x") },
		"text that cannot be kept":      func() error { return env.SetVariable(ctx, app.ID, "V", "x\x00") },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	deleted, err := env.DeleteSecret(ctx, app.ID, "S")
	must(t, err)
	equal(t, deleted, false)
	deleted, err = env.DeleteVariable(ctx, cloud.NewID(), "S")
	must(t, err)
	equal(t, deleted, false)
	must(t, users.NoteKeyUse(ctx, cloud.NewID(), noon))
	_, err = env.Reseal(ctx, "k1", func(_ string, s cloud.Sealed) (cloud.Sealed, error) { return s, nil })
	must(t, err)
	_, _, err = postgres.NewInstance(pool).Seed(ctx, noon)
	must(t, err)
	must(t, env.SetVariable(t.Context(), app.ID, "V", "nobody's")) // without an entry
	equal(t, len(readAudit(t, pool, cloud.AuditFilter{})), 0)
}

func TestApps_Audit(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	apps := postgres.NewApps(pool, nil)
	var made []cloud.App
	var entries []*cloud.AuditEntry
	for i := range 4 {
		ctx, e := audited(t, []string{"create-app", "deploy"}[i%2])
		app, err := apps.CreateApp(ctx, cloud.App{Slug: fmt.Sprint("app", i)}, "")
		must(t, err)
		made, entries = append(made, app), append(entries, e)
	}
	// slugs are those of the apps that the selected entries are about.
	slugs := func(f cloud.AuditFilter) string {
		t.Helper()
		var all []string
		for _, e := range readAudit(t, pool, f) {
			all = append(all, e.AppSlug)
		}
		return strings.Join(all, " ")
	}
	equal(t, slugs(cloud.AuditFilter{}), "app3 app2 app1 app0")
	equal(t, slugs(cloud.AuditFilter{Limit: 2}), "app3 app2")
	equal(t, slugs(cloud.AuditFilter{Limit: -1}), "app3")
	equal(t, slugs(cloud.AuditFilter{Action: "deploy"}), "app3 app1")
	equal(t, slugs(cloud.AuditFilter{AppID: made[1].ID}), "app1")
	equal(t, slugs(cloud.AuditFilter{UserID: entries[2].UserID}), "app2")
	equal(t, slugs(cloud.AuditFilter{UserID: entries[2].UserID, Action: "deploy"}), "")
	equal(t, slugs(cloud.AuditFilter{UserID: "nobody"}), "")
	equal(t, slugs(cloud.AuditFilter{AppID: "x", Action: "\x00"}), "")
	page := readAudit(t, pool, cloud.AuditFilter{Limit: 2})
	equal(t, slugs(cloud.AuditFilter{Before: page[1].ID}), "app1 app0")
	_, err := apps.Audit(t.Context(), cloud.AuditFilter{Before: "x", Limit: 1})
	wantCode(t, err, cloud.CodeInvalid)

	t.Run("entries outlive what they are about", func(t *testing.T) {
		deleteApp(t, pool, made[1].ID)
		equal(t, slugs(cloud.AuditFilter{AppID: made[1].ID}), "app1")
	})
	t.Run("an entry of the machine's own command has no user", func(t *testing.T) {
		ctx := cloud.WithAudit(t.Context(), &cloud.AuditEntry{Via: "command", Action: "create\x00app"})
		_, err := apps.CreateApp(ctx, cloud.App{Slug: "last"}, "")
		must(t, err)
		e := readAudit(t, pool, cloud.AuditFilter{Limit: 1})[0]
		equal(t, []string{e.UserID, e.Via, e.Action, e.AppSlug}, []string{"", "command", "create\uFFFDapp", "last"})
	})
}

func TestAudit_Retention(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	shop, other := cloud.NewID(), cloud.NewID()
	// insert inserts n entries, a millisecond apart.
	insert := func(n int, at time.Time, via, action, appID string) {
		t.Helper()
		ids := make([]string, n)
		for i := range ids {
			ids[i] = cloud.FirstID(at.Add(time.Duration(i) * time.Millisecond))
		}
		_, err := pool.Exec(t.Context(), `
			INSERT INTO audit_log (id, at, user_name, via, address, action, app_id, app_slug, target)
			SELECT unnest($1::uuid[]), $2, '', $3, '', $4, nullif($5, '')::uuid, '', ''`, ids, at, via, action, appID)
		must(t, err)
	}
	count := func(action string) (n int) {
		t.Helper()
		must(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE action = $1`, action).Scan(&n))
		return n
	}
	now := time.Now()
	sweep := func(appID, action string, want int) {
		t.Helper()
		must(t, postgres.SweepAudit(t.Context(), pool, now, appID))
		equal(t, count(action), want)
	}

	insert(postgres.AuditSweep+10, now.AddDate(0, 0, -401), "session", "old", "")
	insert(10, now.AddDate(0, 0, -399), "session", "old", "")
	sweep("", "old", 20)
	sweep("", "old", 10)
	sweep("", "old", 10)

	// What was said of the instance, and of the other app, before somebody saves a
	// script again and again.
	before := now.AddDate(0, 0, -300)
	for i, action := range []string{"delete-user", "create-own-api-key", "claim", "log-in"} {
		insert(1, before.Add(time.Duration(i)*time.Hour), "session", action, "")
	}
	for i, action := range []string{"create-app", "delete-app", "set-member", "remove-member"} {
		insert(1, before.AddDate(0, 0, 1).Add(time.Duration(i)*time.Hour), "session", action, shop)
	}
	insert(1, before.AddDate(0, 0, 2), "command", "command", shop)
	insert(30, before.AddDate(0, 0, 3), "session", "save-script", other)
	insert(2_500, before.AddDate(0, 0, 4), "session", "add-domain", shop)
	insert(2_000, now.AddDate(0, 0, -1), "session", "deploy", shop)
	sweep(other, "add-domain", 2_500)
	sweep(shop, "add-domain", 1_500)
	sweep(shop, "add-domain", 500)
	sweep(shop, "add-domain", 0)
	sweep(shop, "deploy", 2_000)
	insert(5, now.AddDate(0, 0, -1).Add(time.Hour), "session", "deploy", shop)
	sweep(shop, "deploy", 2_000)
	equal(t, readAudit(t, pool, cloud.AuditFilter{Limit: 1})[0].ID, cloud.FirstID(now.AddDate(0, 0, -1).Add(time.Hour+4*time.Millisecond)))
	equal(t, count("save-script"), 30)
	for _, action := range []string{
		"delete-user", "create-own-api-key", "claim", "log-in",
		"create-app", "delete-app", "set-member", "remove-member", "command",
	} {
		equal(t, count(action), 1)
	}

	t.Run("changes sweep now and then", func(t *testing.T) {
		apps := postgres.NewApps(pool, nil)
		app := createApp(t, pool, "app")
		insert(2_100, before.AddDate(0, 0, 6), "session", "flood", app.ID)
		for range 256 * 30 {
			ctx, _ := audited(t, "update-app")
			must(t, apps.ChangeApp(ctx, app.ID, func(context.Context, manager.AppTx) error { return nil }))
			if count("flood") < 2_000 {
				return
			}
		}
		t.Error("no entry of thousands swept the log")
	})
	t.Run("of the instance there is a bound too", func(t *testing.T) {
		insert(100_000, now.AddDate(0, 0, -2), "session", "log-in", "")
		sweep("", "log-in", 100_000)
		equal(t, count("claim"), 0)
		equal(t, count("save-script"), 30)
		equal(t, count("deploy"), 2_000)
	})
}

// TestAudit_Everywhere keeps changes from being made without inChange, which
// records them.
func TestAudit_Everywhere(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{
		"inChange":         "records",
		"Reseal":           "a part of a rotation, which is recorded as a whole",
		"note":             "a use is no change",
		"Seed":             "what every instance gets",
		"MarkSeeded":       "what every instance gets",
		"AppendExecutions": "data",
		"SweepExecutions":  "data",
		"Enqueue":          "data",
		"FireSchedules":    "what a trigger is for",
		"Resolve":          "the dead letter says who did",
		"replaySome":       "the dead letter says who did",
	}
	files, err := os.ReadDir(".")
	must(t, err)
	callers := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.SkipObjectResolution)
		must(t, err)
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "inTransaction" {
						callers[fn.Name.Name] = true
					}
				}
				return true
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(callers)) {
		if allowed[name] == "" {
			t.Errorf("%s begins a transaction of its own: a change of the control plane takes inChange, which records it", name)
		}
	}
	equal(t, callers["inChange"], true)
}
