// Command river drains a queue of River, for scripts/bench to compare with. It
// works on the database of PICLOUD_DATABASE_URL.
//
//	river -migrate              makes River's tables
//	river -insert -jobs 50000   puts in so many jobs that do nothing
//	river -jobs 50000           drains them, and prints the seconds that took
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

func main() {
	b := bench{}
	migrate := flag.Bool("migrate", false, "make River's tables, and nothing else")
	insert := flag.Bool("insert", false, "put jobs in, and nothing else")
	flag.IntVar(&b.jobs, "jobs", 50_000, "how many jobs")
	flag.IntVar(&b.workers, "workers", 2000, "how many run at once")
	flag.IntVar(&b.payload, "payload", 64, "bytes of text in a job")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	step := b.drain
	switch {
	case *migrate:
		step = b.migrate
	case *insert:
		step = b.insert
	}
	if err := b.with(ctx, step); err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
}

type bench struct {
	jobs, workers, payload int
}

// job does nothing.
type job struct {
	Key  int    `json:"key"`
	Text string `json:"text"`
}

func (job) Kind() string { return "nothing" }

type worker struct{ river.WorkerDefaults[job] }

func (worker) Work(context.Context, *river.Job[job]) error { return nil }

func (b bench) with(ctx context.Context, step func(context.Context, *pgxpool.Pool) error) error {
	pool, err := pgxpool.New(ctx, os.Getenv("PICLOUD_DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	return step(ctx, pool)
}

func (b bench) migrate(ctx context.Context, pool *pgxpool.Pool) error {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// client has the settings that River's own benchmark has.
func (b bench) client(pool *pgxpool.Pool) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, worker{})
	return river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            slog.New(slog.NewTextHandler(io.Discard, nil)),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: b.workers}},
		Workers:           workers,
	})
}

// insert takes batches, each in a transaction of its own.
func (b bench) insert(ctx context.Context, pool *pgxpool.Pool) error {
	client, err := b.client(pool)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%0*d", b.payload, 0)
	const batch = 1000
	for n := 0; n < b.jobs; {
		var params []river.InsertManyParams
		for ; n < b.jobs && len(params) < batch; n++ {
			params = append(params, river.InsertManyParams{Args: job{Key: n, Text: text}})
		}
		if _, err := client.InsertManyFast(ctx, params); err != nil {
			return err
		}
	}
	return nil
}

func (b bench) drain(ctx context.Context, pool *pgxpool.Pool) error {
	client, err := b.client(pool)
	if err != nil {
		return err
	}
	completed, cancel := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: b.jobs, Kinds: []river.EventKind{river.EventKindJobCompleted},
	})
	defer cancel()
	began := time.Now()
	if err := client.Start(ctx); err != nil {
		return err
	}
	for range b.jobs {
		select {
		case <-completed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Println(time.Since(began).Seconds())
	return client.Stop(ctx)
}
