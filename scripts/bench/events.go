package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
)

// drained is how many events a drain is of.
const drained = 50_000

// buildRiver builds the program that River is compared by. It is a module of its
// own, which the product does not need.
func buildRiver(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "river")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	build.Dir = "scripts/bench/river"
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the comparison with River: %w\n%s", err, out)
	}
	return program, nil
}

// drains compares how fast an outbox is emptied with River, and what each writes
// to the disk for an event, from its insertion to its end.
func (b *bench) drains(ctx context.Context) error {
	river, err := buildRiver(ctx, b.dir)
	if err != nil {
		return err
	}
	ours, theirs := b.cluster.DatabaseURL("bench_outbox"), b.cluster.DatabaseURL("bench_river")
	if err := b.exec(ctx, b.cluster.URL(), `CREATE DATABASE bench_outbox`, `CREATE DATABASE bench_river`); err != nil {
		return err
	}
	if err := b.command(ctx, ours, filepath.Join(b.bin, "picloud"), "migrate"); err != nil {
		return err
	}
	if err := b.command(ctx, theirs, river, "-migrate"); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, ours)
	if err != nil {
		return err
	}
	defer pool.Close()
	var app string
	if err := pool.QueryRow(ctx, `SELECT id FROM apps WHERE slug = 'default'`).Scan(&app); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	jobs := strconv.Itoa(drained)
	for _, atOnce := range []int{64, 2000} {
		workers := strconv.Itoa(atOnce)
		a := contestant{
			url:    ours,
			insert: func() error { return fill(ctx, pool, drained, app, cloud.NewID(), "") },
			drain:  []string{self, "-drain", jobs, "-at-once", workers},
		}
		r := contestant{
			url: theirs,
			insert: func() error {
				return b.command(ctx, theirs, river, "-insert", "-jobs", jobs, "-payload", strconv.Itoa(payloadText))
			},
			drain: []string{river, "-jobs", jobs, "-workers", workers},
		}
		var ratios []float64
		for range b.rounds {
			rateA, err := a.round(ctx)
			if err != nil {
				return err
			}
			rateR, err := r.round(ctx)
			if err != nil {
				return err
			}
			ratios = append(ratios, rateA/rateR)
		}
		fmt.Printf("| drain of %d events, no-op Go handler, %d at once / River | **%.2f** (%.2f–%.2f): %.0f/s of %.0f/s | ≥ 1 |\n",
			drained, atOnce, median(ratios), slices.Min(ratios), slices.Max(ratios), median(a.rates), median(r.rates))
		fmt.Printf("| bytes written for each of them (WAL + pages) / River | **%.2f**: %.0f (%.0f + %.0f) of %.0f (%.0f + %.0f) | < 1 |\n",
			(median(a.wal)+median(a.pages))/(median(r.wal)+median(r.pages)),
			median(a.wal)+median(a.pages), median(a.wal), median(a.pages),
			median(r.wal)+median(r.pages), median(r.wal), median(r.pages))
	}
	return nil
}

// contestant drains a queue in a process of its own.
type contestant struct {
	url    string
	insert func() error
	drain  []string

	rates, wal, pages []float64 // of each round; bytes for an event
}

func (c *contestant) round(ctx context.Context) (rate float64, err error) {
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	walBefore, pagesBefore, err := written(ctx, conn)
	if err != nil {
		return 0, err
	}
	if err := c.insert(); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, c.drain[0], c.drain[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "PICLOUD_DATABASE_URL="+c.url), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Base(c.drain[0]), err)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		return 0, err
	}
	wal, pages, err := written(ctx, conn)
	if err != nil {
		return 0, err
	}
	rate = drained / seconds
	c.rates = append(c.rates, rate)
	c.wal = append(c.wal, float64(wal-walBefore)/drained)
	c.pages = append(c.pages, float64(pages-pagesBefore)/drained)
	return rate, nil
}

func (b *bench) command(ctx context.Context, database, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "PICLOUD_DATABASE_URL="+database)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, out)
	}
	return nil
}

// handlerRate times a server that finds many due events for a handler in a worker
// that does nothing.
func (b *bench) handlerRate(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, b.cluster.URL())
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := deploy(ctx, cloudAddress, b.token, "nothing", `export default { trigger() {} };`); err != nil {
		return err
	}
	if err := b.api(ctx, http.MethodPost, "/api/v1/apps/default/triggers", `{"script":"nothing","kind":"kv","collection":"bench-nothing"}`); err != nil {
		return err
	}
	var app, script, user string
	err = pool.QueryRow(ctx, `SELECT app_id, script_id, user_id FROM triggers WHERE place_like = 'bench-nothing'`).Scan(&app, &script, &user)
	if err != nil {
		return err
	}
	var rates []float64
	for range b.rounds {
		if err := fill(ctx, pool, drained, app, script, user); err != nil {
			return err
		}
		began := time.Now()
		// The one more that this emits wakes the dispatcher.
		if err := b.api(ctx, http.MethodPut, "/api/v1/apps/default/kv/bench-nothing/wake", `{"value":1}`); err != nil {
			return err
		}
		if err := empty(ctx, pool); err != nil {
			return err
		}
		rates = append(rates, drained/time.Since(began).Seconds())
	}
	var dead int
	if err := pool.QueryRow(ctx, `SELECT count(*) FROM dead_letters`).Scan(&dead); err != nil || dead > 0 {
		return errors.Join(err, fmt.Errorf("%d events were not delivered", dead))
	}
	fmt.Printf("| events/s with a trivial handler in a worker | **%.0f** (%.0f–%.0f) | ≥ 5000 |\n", median(rates), slices.Min(rates), slices.Max(rates))
	return nil
}

// empty waits until the outbox is.
func empty(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		var some bool
		if err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox)`).Scan(&some); err != nil || !some {
			return err
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// latency is from the commit of a change, as PostgreSQL notes it before it syncs
// the commit to disk, to when the handler looks at the clock; one change at a time.
func (b *bench) latency(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, b.cluster.URL())
	if err != nil {
		return err
	}
	defer pool.Close()
	err = deploy(ctx, cloudAddress, b.token, "clock", `import { kv } from "picloud";
export default { async trigger(event) {
	const now = performance.timeOrigin + performance.now();
	await kv.collection("bench-seen").set(event.key, now);
} };`)
	if err != nil {
		return err
	}
	if err := b.api(ctx, http.MethodPost, "/api/v1/apps/default/triggers", `{"script":"clock","kind":"kv","collection":"bench-clock"}`); err != nil {
		return err
	}
	var p50s, p99s []time.Duration
	for round := range b.rounds {
		var times []time.Duration
		for i := range 200 {
			took, err := b.reaction(ctx, pool, fmt.Sprintf("%d-%d", round, i))
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		slices.Sort(times)
		p50s, p99s = append(p50s, times[len(times)/2]), append(p99s, times[len(times)*99/100])
	}
	fmt.Printf("| commit to handler start, idle server: p50 / p99 | **%.1f ms** (%.1f–%.1f) / **%.1f ms** (%.1f–%.1f) | ≤ 5 ms / ≤ 20 ms |\n",
		ms(median(p50s)), ms(slices.Min(p50s)), ms(slices.Max(p50s)), ms(median(p99s)), ms(slices.Min(p99s)), ms(slices.Max(p99s)))
	return nil
}

// reaction makes one change and returns how long after its commit the handler
// began.
func (b *bench) reaction(ctx context.Context, pool *pgxpool.Pool, key string) (time.Duration, error) {
	if err := b.api(ctx, http.MethodPut, "/api/v1/apps/default/kv/bench-clock/"+key, `{"value":1}`); err != nil {
		return 0, err
	}
	if err := empty(ctx, pool); err != nil {
		return 0, err
	}
	var ms float64
	err := pool.QueryRow(ctx, `
		SELECT seen.value::text::float8 - extract(epoch FROM pg_xact_commit_timestamp(caused.xmin)) * 1000
		FROM kv_entries caused JOIN kv_entries seen ON seen.key = caused.key AND seen.collection = 'bench-seen'
		WHERE caused.collection = 'bench-clock' AND caused.key = $1`, key).Scan(&ms)
	return time.Duration(ms * float64(time.Millisecond)), err
}

// api sends a request to the server under load.
func (b *bench) api(ctx context.Context, method, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+cloudAddress+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	return nil
}
