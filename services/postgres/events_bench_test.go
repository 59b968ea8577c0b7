package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/postgres"
)

// fillOutbox makes apps, and puts deliveries into the outbox that are due at noon,
// those of each app one after the other.
func fillOutbox(b *testing.B, pool *pgxpool.Pool, apps, deliveries int) {
	b.Helper()
	for _, sql := range []string{
		`INSERT INTO apps (id, slug, name, created_at, updated_at)
		 SELECT gen_random_uuid(), 'app-' || n, 'App', now(), now() FROM generate_series(1, $1) n WHERE $2::integer IS NOT NULL`,
		`INSERT INTO outbox (app_id, event_id, trigger_id, script_id, kind, op, payload, user_id, depth, max_attempts, backoff, base_ms, cap_ms, at, due_at)
		 SELECT app.id, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'kv', 'set',
		        json_build_object('collection', 'orders', 'key', 'k' || n, 'value', json_build_object('n', n, 'text', 'what a script has stored')),
		        gen_random_uuid(), 1, 5, 'exponential', 1000, 3600000, now(), '2026-03-01T12:00:00Z'
		 FROM generate_series(1, $2) n JOIN (SELECT id, row_number() OVER () - 1 AS place FROM apps) app ON app.place = n % $1`,
	} {
		if _, err := pool.Exec(b.Context(), sql, apps, deliveries); err != nil {
			b.Fatal(err)
		}
	}
}

// walBytes is how much the server has written to its log so far.
func walBytes(b *testing.B, pool *pgxpool.Pool) (n int64) {
	b.Helper()
	if err := pool.QueryRow(b.Context(), `SELECT pg_current_wal_insert_lsn() - '0/0'`).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkEvents_Drain claims and settles what fills the outbox, in batches.
func BenchmarkEvents_Drain(b *testing.B) {
	for _, c := range []struct{ apps, deliveries, batch int }{
		{1, 50_000, 64}, {1, 50_000, 256}, {1, 50_000, 1000}, {1, 100_000, 256}, {1000, 50_000, 64}, {1000, 50_000, 256},
	} {
		b.Run(fmt.Sprintf("apps=%d/deliveries=%d/batch=%d", c.apps, c.deliveries, c.batch), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				pool := cloudtest.Database(b)
				store := postgres.NewEvents(pool, nil)
				fillOutbox(b, pool, c.apps, c.deliveries)
				wal := walBytes(b, pool)
				b.StartTimer()
				for settled := 0; settled < c.deliveries; {
					claimed, err := store.Claim(b.Context(), events.Claim{Now: noon.Add(time.Hour), Until: noon.Add(2 * time.Hour), Limit: c.batch, PerApp: c.batch})
					if err != nil || len(claimed) == 0 {
						b.Fatalf("%d claimed, %d settled: %v", len(claimed), settled, err)
					}
					outcomes := make([]events.Outcome, len(claimed))
					for i, d := range claimed {
						outcomes[i].Delivery = d
					}
					if _, err := store.Settle(b.Context(), noon, outcomes); err != nil {
						b.Fatal(err)
					}
					settled += len(claimed)
				}
				b.StopTimer()
				b.ReportMetric(float64(walBytes(b, pool)-wal)/float64(c.deliveries), "walB/event")
			}
			b.ReportMetric(float64(c.deliveries)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkEvents_Dispatch drains the outbox by a dispatcher whose handler does
// nothing.
func BenchmarkEvents_Dispatch(b *testing.B) {
	for _, capacity := range []int{64, 512} {
		b.Run(fmt.Sprintf("capacity=%d", capacity), func(b *testing.B) {
			const deliveries = 50_000
			for range b.N {
				b.StopTimer()
				pool := cloudtest.Database(b)
				fillOutbox(b, pool, 1, deliveries)
				done := make(chan struct{}, deliveries)
				d := events.New(events.Config{
					Store: postgres.NewEvents(pool, nil), Capacity: capacity,
					Run: func(context.Context, context.Context, cloud.Delivery) (events.Result, error) {
						done <- struct{}{}
						return events.Result{}, nil
					},
				})
				b.StartTimer()
				d.Start()
				for range deliveries {
					<-done
				}
				d.Stop(b.Context())
				b.StopTimer()
			}
			b.ReportMetric(float64(deliveries)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
