package postgres_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

// BenchmarkKV_Get compares the store with the same select on the bare pool.
func BenchmarkKV_Get(b *testing.B) {
	pool := cloudtest.Database(b)
	app, err := postgres.NewApps(pool, nil).CreateApp(b.Context(), cloud.App{Slug: "app"}, "")
	if err != nil {
		b.Fatal(err)
	}
	store := postgres.NewKV(pool, nil)
	value := json.RawMessage(`{"text":"a value of about one hundred bytes, as the benchmark of the whole server reads it, more or less"}`)
	if _, err := store.Set(b.Context(), cloud.Cause{}, app.ID, "c", "k", value, time.Time{}, nil, noon); err != nil {
		b.Fatal(err)
	}
	b.Run("store", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, ok, err := store.Get(b.Context(), app.ID, "c", "k", noon); !ok || err != nil {
					b.Error(ok, err)
				}
			}
		})
	})
	b.Run("pgx", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				var v []byte
				if err := pool.QueryRow(b.Context(), `SELECT value FROM kv_entries WHERE app_id = $1 AND collection = $2 AND key = $3`, app.ID, "c", "k").Scan(&v); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkKV_Set shows what the events of a change cost.
func BenchmarkKV_Set(b *testing.B) {
	value := json.RawMessage(`{"text":"a value of about one hundred bytes, as the benchmark of the whole server reads it, more or less"}`)
	for _, triggers := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("triggers=%d", triggers), func(b *testing.B) {
			pool := cloudtest.Database(b)
			f := eventsFixture{b, pool}
			app := f.App("app")
			script, user := f.Script(app, "script"), f.User("ann")
			for range triggers {
				addTrigger(b, pool, cloud.Trigger{AppID: app, ScriptID: script, UserID: user, Kind: cloud.EventKV, Enabled: true, Retry: cloud.DefaultRetry, Filter: cloud.TriggerFilter{Collection: "c*"}})
			}
			store := postgres.NewKV(pool, nil)
			for b.Loop() {
				if _, err := store.Set(b.Context(), cloud.Cause{}, app, "c", "k", value, time.Time{}, nil, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
