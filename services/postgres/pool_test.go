package postgres

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestNewPool(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool, err := NewPool(t.Context(), "postgres:///x?host=/nonexistent&pool_max_conns=3")
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		cfg := pool.Config()
		if cfg.MaxConns != 3 || cfg.MinConns != 0 || cfg.ConnConfig.ConnectTimeout != connectTimeout {
			t.Errorf("MaxConns %d, MinConns %d, ConnectTimeout %s", cfg.MaxConns, cfg.MinConns, cfg.ConnConfig.ConnectTimeout)
		}
		if ok, err := cfg.PrepareConn(t.Context(), (*pgx.Conn)(nil)); !ok || err != nil {
			t.Errorf("a connection is refused: %v, %v", ok, err)
		}
		time.Sleep(2 * idleTime) // the trimmer's timer has come and gone
		synctest.Wait()
		if got := pool.Stat().NewConnsCount(); got != 0 {
			t.Errorf("%d connections without use", got)
		}
	})
	for _, bad := range []string{"postgres://u:secret@h:x/", "pool_max_conns=0"} {
		if _, err := NewPool(t.Context(), bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestTrimmer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var resets atomic.Int32
		tr := &trimmer{idle: 10 * time.Second}
		tr.reset.Store(new(func() { resets.Add(1) }))
		step := func(d time.Duration, want int32) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := resets.Load(); got != want {
				t.Fatalf("%d resets, want %d", got, want)
			}
		}
		step(time.Hour, 0) // never used
		tr.used()
		step(6*time.Second, 0)
		tr.used()
		step(6*time.Second, 0)
		step(5*time.Second, 1)
		step(time.Hour, 1)
		tr.used()
		step(11*time.Second, 2)
	})
}

func TestAfterPrefix(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"a": "b", "az": "a{", "é": "ê", "a\uD7FF": "a\uE000", "a\U0010FFFF": "b", "\x7f": "\u0080",
	} {
		if got, ok := afterPrefix(prefix); got != want || !ok {
			t.Errorf("afterPrefix(%q) = %q, %v, want %q", prefix, got, ok, want)
		}
	}
	for _, prefix := range []string{"", "\U0010FFFF", "\U0010FFFF\U0010FFFF"} {
		if got, ok := afterPrefix(prefix); ok {
			t.Errorf("afterPrefix(%q) = %q, want none", prefix, got)
		}
	}
}
