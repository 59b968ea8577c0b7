package accounts

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	t.Run("the delay doubles up to a bound", func(t *testing.T) {
		l, now := newLimiter(), start
		var waits []int // in seconds
		for range 24 {
			if _, wait := l.admit(place{"192.0.2.1", "olga"}, now); wait > 0 {
				waits = append(waits, int(wait.Seconds()))
				now = now.Add(wait)
				l.admit(place{"192.0.2.1", "olga"}, now)
			}
		}
		want := []int{ // the account's, then the longer ones of the address
			1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 32, 64, 128, 256, 300, 300, 300, 300, 300,
		}
		if !slices.Equal(waits, want) {
			t.Errorf("waits %v\nwant  %v", waits, want)
		}
	})
	t.Run("attempts that come together are all counted", func(t *testing.T) {
		l := newLimiter()
		admitted := 0
		for range 100 {
			if a, _ := l.admit(place{"192.0.2.1", "olga"}, start); a != nil {
				admitted++
			}
		}
		if admitted != l.accounts.free {
			t.Errorf("%d admitted, want %d", admitted, l.accounts.free)
		}
	})
	t.Run("what is taken back does not count", func(t *testing.T) {
		l := newLimiter()
		for range 100 {
			a, wait := l.admit(place{"192.0.2.1", "olga"}, start)
			if wait > 0 {
				t.Fatalf("waits %v", wait)
			}
			l.takeBack(a)
		}
	})
	t.Run("failures are forgotten", func(t *testing.T) {
		l := newLimiter()
		for range 100 {
			l.admit(place{"192.0.2.1", "olga"}, start)
		}
		if _, wait := l.admit(place{"192.0.2.1", "olga"}, start.Add(forgetAfter)); wait != 0 {
			t.Errorf("waits %v", wait)
		}
		if n := l.accounts.of["olga"].failures; n != 1 {
			t.Errorf("%d failures", n)
		}
	})
	t.Run("a clock that was set back makes nobody wait for it", func(t *testing.T) {
		l := newLimiter()
		for range 100 {
			l.admit(place{"192.0.2.1", "olga"}, start)
		}
		if _, wait := l.admit(place{"192.0.2.1", "olga"}, start.AddDate(-50, 0, 0)); wait != 0 {
			t.Errorf("waits %v", wait)
		}
	})
	t.Run("it stays small, and keeps who is guessed at", func(t *testing.T) {
		l := newLimiter()
		for range l.accounts.free + 1 {
			l.admit(place{"192.0.2.1", "olga"}, start)
		}
		for i := range 3 * maxCounters {
			p := place{fmt.Sprintf("10.%d.%d.1", i/256, i%256), fmt.Sprintf("invented%d", i)}
			a, _ := l.admit(p, start.Add(time.Duration(i)))
			l.succeed(p, a, start)
			l.admit(place{p.address, "other" + p.account}, start.Add(time.Duration(i)))
		}
		for _, c := range []counters{l.addresses, l.accounts, l.known} {
			if len(c.of) != maxCounters {
				t.Errorf("%d counters, want %d", len(c.of), maxCounters)
			}
		}
		if _, wait := l.admit(place{"198.51.100.1", "olga"}, start); wait == 0 {
			t.Error("invented names pushed out one that is guessed at")
		}
	})
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	own := func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("2001:db8:1:3::/64")} }
	for address, want := range map[string]string{
		"":                        "",
		"192.0.2.1":               "192.0.2.1",
		"::ffff:192.0.2.1":        "192.0.2.1",
		"2001:db8:1:2:3:4:5:6":    "2001:db8:1:2::/64",
		"2001:db8:1:2::":          "2001:db8:1:2::/64",
		"2001:db8:1:3:4:5:6:7":    "2001:db8:1:3:4:5:6:7", // of the own network
		"fe80::1%eth0":            "fe80::1",
		"fd00:1:2:3:4:5:6:7":      "fd00:1:2:3:4:5:6:7",
		"::1":                     "::1",
		"what a proxy made of it": "what a proxy made of it",
		strings.Repeat("x", 100):  strings.Repeat("x", 64),
	} {
		if got := network(cloud.Client{Address: address}, own); got != want {
			t.Errorf("network of %q is %q, want %q", address, got, want)
		}
	}
}
