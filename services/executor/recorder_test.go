package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// scriptedLog is a LogStore that notes the sizes of its batches, or fails.
type scriptedLog struct {
	mu      sync.Mutex
	batches []int
	first   string // id of the first record of the last batch
	sweeps  []time.Time
	keep    int
	away    bool
}

func (s *scriptedLog) AppendExecutions(_ context.Context, records []cloud.Execution) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errors.New("away")
	}
	s.batches = append(s.batches, len(records))
	s.first = records[0].ID
	return nil
}

func (s *scriptedLog) SweepExecutions(_ context.Context, before time.Time, keep int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweeps = append(s.sweeps, before)
	s.keep = keep
	return nil
}

func (s *scriptedLog) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *scriptedLog) want(t *testing.T, batches ...int) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if fmt.Sprint(s.batches) != fmt.Sprint(batches) {
		t.Errorf("written were batches of %v, want %v", s.batches, batches)
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	test := func(name string, change func(*RecorderConfig), f func(t *testing.T, r *Recorder, s *scriptedLog)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scriptedLog{}
				cfg := RecorderConfig{Store: s, Logger: slog.New(slog.DiscardHandler)}
				if change != nil {
					change(&cfg)
				}
				r, err := NewRecorder(cfg)
				if err != nil {
					t.Fatal(err)
				}
				f(t, r, s)
				r.Stop(t.Context())
			})
		})
	}
	add := func(r *Recorder, n int) {
		for i := range n {
			r.Add(cloud.Execution{ID: fmt.Sprint(i), AppID: "a", ScriptID: "s"})
		}
	}

	test("a batch that is full goes at once", nil, func(t *testing.T, r *Recorder, s *scriptedLog) {
		add(r, 999)
		s.want(t)
		add(r, 1)
		s.want(t, 1000)
	})

	test("the first record waits half a second for others", nil, func(t *testing.T, r *Recorder, s *scriptedLog) {
		add(r, 3)
		time.Sleep(499 * time.Millisecond)
		add(r, 2)
		s.want(t)
		time.Sleep(time.Millisecond)
		s.want(t, 5)
		time.Sleep(time.Hour)
		s.want(t, 5)
	})

	test("a store that is away is tried again, and the oldest are dropped", func(c *RecorderConfig) {
		c.MaxPending = 10
	}, func(t *testing.T, r *Recorder, s *scriptedLog) {
		s.setAway(true)
		add(r, 8)
		time.Sleep(time.Second)
		add(r, 7)
		if r.Dropped() != 5 {
			t.Errorf("%d were dropped", r.Dropped())
		}
		s.setAway(false)
		time.Sleep(time.Minute)
		s.want(t, 10)
		if s.first != "5" {
			t.Errorf("the oldest that was kept is %s", s.first)
		}
	})

	test("memory is bounded in bytes too", func(c *RecorderConfig) { c.MaxBytes = 1000 },
		func(t *testing.T, r *Recorder, s *scriptedLog) {
			for range 5 {
				r.Add(cloud.Execution{Path: string(make([]byte, 300))})
			}
			if r.Dropped() != 2 {
				t.Errorf("%d were dropped", r.Dropped())
			}
		})

	test("it sweeps after so many records and at the end", func(c *RecorderConfig) { c.SweepAfter = 1000 }, func(t *testing.T, r *Recorder, s *scriptedLog) {
		start := time.Now()
		add(r, 999)
		time.Sleep(time.Second)
		if len(s.sweeps) != 0 {
			t.Errorf("swept at %v", s.sweeps)
		}
		add(r, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(s.sweeps) != 1 || s.keep != 10_000 || s.sweeps[0].Sub(start).Round(time.Minute) != -7*24*time.Hour {
			t.Errorf("swept at %v, keeping %d", s.sweeps, s.keep)
		}
		add(r, 1)
		r.Stop(t.Context())
		if len(s.sweeps) != 2 {
			t.Errorf("swept %d times", len(s.sweeps))
		}
	})

	test("stop writes what is left, and drops what comes later", nil, func(t *testing.T, r *Recorder, s *scriptedLog) {
		add(r, 3)
		r.Stop(t.Context())
		s.want(t, 3)
		add(r, 1)
		r.Stop(t.Context())
		s.want(t, 3)
		if r.Dropped() != 1 {
			t.Errorf("%d were dropped", r.Dropped())
		}
	})

	test("who follows an app or a script sees its records live", nil, func(t *testing.T, r *Recorder, s *scriptedLog) {
		ctx, cancel := context.WithCancel(t.Context())
		app, script, other := r.Tail(ctx, "a", ""), r.Tail(t.Context(), "a", "s2"), r.Tail(t.Context(), "b", "")
		r.Add(cloud.Execution{ID: "1", AppID: "a", ScriptID: "s1"})
		r.Add(cloud.Execution{ID: "2", AppID: "a", ScriptID: "s2"})
		if one, two := <-app, <-app; one.ID != "1" || two.ID != "2" {
			t.Errorf("the app's: %s, %s", one.ID, two.ID)
		}
		if two := <-script; two.ID != "2" || len(script) != 0 || len(other) != 0 {
			t.Errorf("the script's: %s, then %d; of others %d", two.ID, len(script), len(other))
		}
		cancel()
		if _, open := <-app; open {
			t.Error("it went on after its end")
		}
		r.Stop(t.Context())
		if _, open := <-script; open {
			t.Error("it went on after the recorder's end")
		}
		if _, open := <-r.Tail(t.Context(), "a", ""); open {
			t.Error("it began after the recorder's end")
		}
	})

	test("who is too slow misses records and holds up nobody", nil, func(t *testing.T, r *Recorder, s *scriptedLog) {
		tail := r.Tail(t.Context(), "a", "")
		add(r, tailBuffer+10)
		if len(tail) != tailBuffer {
			t.Errorf("%d are kept for it", len(tail))
		}
	})
}
