package postgres

import (
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
		time.Sleep(2 * idleTime) // the timer has come and gone
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
