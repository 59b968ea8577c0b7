package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
)

func TestApps_Triggers(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	now := noon
	s := postgres.NewApps(pool, func() time.Time { return now })
	f := eventsFixture{t, pool}
	app, other, ann, bob := f.App("app"), f.App("other"), f.User("Ann"), f.User("Bob")
	script, second, theirs := f.Script(app, "script"), f.Script(app, "second"), f.Script(other, "theirs")
	in := func(app string, f func(tx manager.AppTx) error) error {
		t.Helper()
		return change(t, s, app, f)
	}
	add := func(tr cloud.Trigger) (added cloud.Trigger) {
		t.Helper()
		must(t, in(app, func(tx manager.AppTx) (err error) {
			added, err = tx.AddTrigger(t.Context(), tr)
			return err
		}))
		return added
	}
	listed := func(app string) []cloud.Trigger {
		t.Helper()
		all, err := s.Triggers(t.Context(), app)
		must(t, err)
		must(t, in(app, func(tx manager.AppTx) error {
			inside, err := tx.Triggers(t.Context())
			equal(t, inside, all)
			return err
		}))
		return all
	}
	equal(t, len(listed(app)), 0)

	full := cloud.Trigger{
		ScriptID: script, Kind: cloud.EventKV, Enabled: true, UserID: ann, Scopes: []cloud.Scope{cloud.ScopeScriptRead},
		Filter: cloud.TriggerFilter{Collection: "a*", Key: `x%_\?`, Ops: []string{"delete"}},
		Retry:  cloud.RetryPolicy{Attempts: 20, Backoff: cloud.Constant, Base: 100 * time.Millisecond, Cap: 24 * time.Hour},
	}
	first := add(full)
	equal(t, cloud.IsID(first.ID), true)
	full.ID, full.AppID, full.Script, full.UserName, full.CreatedAt, full.UpdatedAt = first.ID, app, "script", "Ann", noon, noon
	equal(t, first, full)
	now = noon.Add(time.Second)
	cron := add(cloud.Trigger{
		ScriptID: script, Kind: cloud.EventCron, Scopes: []cloud.Scope{}, Retry: cloud.DefaultRetry,
		Filter: cloud.TriggerFilter{Schedule: "0 9 * * *", TimeZone: "Europe/Berlin"}, NextAt: noon.Add(time.Hour),
	})
	equal(t, []any{cron.Enabled, cron.UserID, cron.UserName, cron.Scopes, cron.NextAt}, []any{false, "", "", []cloud.Scope{}, noon.Add(time.Hour)})
	equal(t, listed(app), []cloud.Trigger{first, cron})
	equal(t, len(listed(other)), 0)

	t.Run("are found in their app", func(t *testing.T) {
		got, err := s.Trigger(t.Context(), app, first.ID)
		must(t, err)
		equal(t, got, first)
		for _, place := range [][2]string{{other, first.ID}, {app, cloud.NewID()}, {app, "x"}, {"x", first.ID}} {
			_, err := s.Trigger(t.Context(), place[0], place[1])
			wantCode(t, err, cloud.CodeNotFound)
		}
		for _, id := range []string{first.ID, "x"} {
			wantCode(t, in(other, func(tx manager.AppTx) error { return tx.DeleteTrigger(t.Context(), id) }), cloud.CodeNotFound)
			wantCode(t, in(other, func(tx manager.AppTx) error {
				changed := first
				changed.ID, changed.ScriptID = id, theirs
				_, err := tx.UpdateTrigger(t.Context(), changed)
				return err
			}), cloud.CodeNotFound)
		}
	})
	t.Run("run scripts of their app", func(t *testing.T) {
		for _, id := range []string{theirs, cloud.NewID(), "x", ""} {
			wrong := full
			wrong.ScriptID = id
			wantCode(t, in(app, func(tx manager.AppTx) error { _, err := tx.AddTrigger(t.Context(), wrong); return err }), cloud.CodeNotFound)
			wantCode(t, in(app, func(tx manager.AppTx) error { _, err := tx.UpdateTrigger(t.Context(), wrong); return err }), cloud.CodeNotFound)
		}
	})
	t.Run("run for users who exist", func(t *testing.T) {
		for _, id := range []string{cloud.NewID(), "x"} {
			wrong := full
			wrong.UserID = id
			wantCode(t, in(app, func(tx manager.AppTx) error { _, err := tx.AddTrigger(t.Context(), wrong); return err }), cloud.CodeNotFound)
		}
	})
	t.Run("change", func(t *testing.T) {
		now = noon.Add(time.Minute)
		want := first
		want.ScriptID, want.Enabled, want.UserID, want.Scopes = second, false, bob, nil
		want.Filter, want.Retry = cloud.TriggerFilter{Key: "k"}, cloud.DefaultRetry
		must(t, in(app, func(tx manager.AppTx) error {
			got, err := tx.UpdateTrigger(t.Context(), want)
			must(t, err)
			want.Script, want.UserName, want.UpdatedAt = "second", "Bob", now
			equal(t, got, want)
			return nil
		}))
		equal(t, listed(app), []cloud.Trigger{want, cron})
	})
	t.Run("stay when their user goes", func(t *testing.T) {
		must(t, postgres.NewAccounts(pool, nil).Change(t.Context(), func(ctx context.Context, tx accounts.Tx) error { return tx.DeleteUser(ctx, bob) }))
		got, err := s.Trigger(t.Context(), app, first.ID)
		must(t, err)
		equal(t, []string{got.UserID, got.UserName}, []string{"", ""})
	})
	t.Run("go with their script, and one by one", func(t *testing.T) {
		must(t, in(app, func(tx manager.AppTx) error { return tx.DeleteScript(t.Context(), second) }))
		equal(t, listed(app), []cloud.Trigger{cron})
		must(t, in(app, func(tx manager.AppTx) error { return tx.DeleteTrigger(t.Context(), cron.ID) }))
		equal(t, len(listed(app)), 0)
	})
}
