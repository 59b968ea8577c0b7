package postgres

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

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
