package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/postgres/cluster"
)

// A server that is killed under load loses nothing that it acknowledged, callers
// meanwhile are told to try again, and all recovers by itself.
func TestKV_ServerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Config{Dir: filepath.Join(t.TempDir(), "pg"), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer func() { must(t, c.Stop()) }()
	must(t, postgres.Migrate(t.Context(), c.URL(), slog.New(slog.DiscardHandler)))
	pool := cloudtest.Pool(t, c.URL())
	store := postgres.NewKV(pool, nil)
	app := createApp(t, pool, "app").ID

	const writers, kills = 4, 3
	var wg sync.WaitGroup
	acknowledged := make([][]string, writers)
	recovered := make(chan int, 1000) // a write succeeded in the round
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	round := 0
	for w := range writers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%d-%06d", w, i)
				mu.Lock()
				before := round
				mu.Unlock()
				_, err := store.Set(t.Context(), cloud.Cause{}, app, "c", key, json.RawMessage(`1`), time.Time{}, nil, noon)
				switch cloud.CodeOf(err) {
				case "":
					acknowledged[w] = append(acknowledged[w], key)
					select {
					case recovered <- before:
					default:
					}
				case cloud.CodeUnavailable:
				default:
					t.Errorf("a write while the server is away: %v", err)
					return
				}
			}
		})
	}
	// awaitWrite returns when a write has succeeded that began after the last
	// kill. Those that the dead server's children still finished do not count.
	last := 0
	awaitWrite := func() {
		for {
			got := <-recovered
			mu.Lock()
			current := round
			mu.Unlock()
			if pid := c.PID(); got == current && pid != 0 && pid != last {
				last = pid
				return
			}
		}
	}
	for range kills {
		awaitWrite()
		must(t, syscall.Kill(last, syscall.SIGKILL))
		mu.Lock()
		round++
		mu.Unlock()
	}
	awaitWrite()
	stop()
	wg.Wait()
	for w, keys := range acknowledged {
		for _, key := range keys {
			_, ok, err := store.Get(t.Context(), app, "c", key, noon)
			for cloud.CodeOf(err) == cloud.CodeUnavailable { // the last write may have been one of the dead server's
				_, ok, err = store.Get(t.Context(), app, "c", key, noon)
			}
			must(t, err)
			if !ok {
				t.Fatalf("writer %d: the acknowledged %s is lost", w, key)
			}
		}
	}
}
