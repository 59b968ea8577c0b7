package postgres_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

// TestKV_GetsShareQueries shows that gets which meet in a query get each what
// they asked for: of their app, present, absent or expired.
func TestKV_GetsShareQueries(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	store := postgres.NewKV(pool, nil)
	apps := []string{createApp(t, pool, "one").ID, createApp(t, pool, "two").ID, cloud.NewID(), "no id"}
	const keys = 50
	for i := range keys {
		for _, app := range apps[:2] {
			expires := time.Time{}
			if i%5 == 4 {
				expires = noon.Add(time.Minute)
			}
			_, err := store.Set(t.Context(), cloud.Cause{}, app, "c", fmt.Sprint(i), json.RawMessage(fmt.Sprintf(`"%s %d"`, app, i)), expires, nil, noon)
			must(t, err)
		}
	}
	later := noon.Add(time.Minute)
	var all sync.WaitGroup
	for i := range 2 * keys {
		for _, app := range apps {
			all.Go(func() {
				e, found, err := store.Get(t.Context(), app, "c", fmt.Sprint(i), later)
				want := (app == apps[0] || app == apps[1]) && i < keys && i%5 != 4
				switch {
				case err != nil:
					t.Error(err)
				case found != want:
					t.Errorf("key %d of %s: found %v", i, app, found)
				case found && string(e.Value) != fmt.Sprintf(`"%s %d"`, app, i):
					t.Errorf("key %d of %s is %s", i, app, e.Value)
				}
			})
		}
	}
	all.Wait()
}
