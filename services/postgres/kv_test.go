package postgres_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/kv"
	"github.com/picloud/picloud/services/kv/kvtest"
	"github.com/picloud/picloud/services/postgres"
)

func TestKV(t *testing.T) {
	t.Parallel()
	kvtest.TestStore(t, func(t *testing.T) (kv.Store, string, string) {
		t.Helper()
		pool := cloudtest.Database(t)
		return postgres.NewKV(pool, nil), createApp(t, pool, "one").ID, createApp(t, pool, "two").ID
	})
}

func TestKV_Set(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	store := postgres.NewKV(pool, nil)
	set := func(app, value string) error {
		_, err := store.Set(t.Context(), cloud.Cause{}, app, "c", "k", json.RawMessage(value), time.Time{}, nil, time.Now())
		return err
	}
	t.Run("an app that is gone is not found", func(t *testing.T) {
		wantCode(t, set(cloud.NewID(), `1`), cloud.CodeNotFound)
	})
	t.Run("what the service lets through by mistake is refused", func(t *testing.T) {
		app := createApp(t, pool, "x").ID
		for _, value := range []string{`"\u0000"`, `"\ud800"`, `{`, `1e999999`} {
			wantCode(t, set(app, value), cloud.CodeInvalid)
		}
	})
}
