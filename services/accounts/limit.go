package accounts

import (
	"context"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// limiter slows down those who guess passwords. Failures count for the address
// they come from and for the account they are about; after some free ones each
// makes the next attempt wait twice as long.
//
// Nobody is locked out by others: from an address where an account was logged in
// before, its attempts are counted by themselves, and neither what others do to
// the account nor what they do from the address makes them wait.
//
// It is in memory and bounded. There is nothing to start or stop: delays are
// computed when somebody asks.
type limiter struct {
	mu        sync.Mutex
	addresses counters // by address
	accounts  counters // by name
	known     counters // by name and address, of those that were logged in
}

func newLimiter() *limiter {
	return &limiter{
		addresses: counters{free: 10, longest: 5 * time.Minute, of: map[string]counter{}},
		accounts:  counters{free: 5, longest: 30 * time.Second, of: map[string]counter{}},
		known:     counters{free: 5, longest: 30 * time.Second, of: map[string]counter{}},
	}
}

// place is where an attempt comes from and what it is about.
type place struct {
	address string // see network; "" for this machine's own commands
	account string // a user's name in lower case, or "" if it is about no account
}

// pair names the place in limiter.known.
func (p place) pair() string { return p.account + "\n" + p.address }

// network is what the addresses of one site have in common: all of an IPv4
// address, 64 bits of an IPv6 address (RFC 6177). In the machine's own networks,
// of which own are the prefixes, that would be everybody; there it is all of the
// address.
func network(c cloud.Client, own func() []netip.Prefix) string {
	a, err := netip.ParseAddr(c.Address)
	if err != nil {
		return c.Address[:min(64, len(c.Address))]
	}
	a = a.Unmap().WithZone("")
	if a.Is4() || a.IsLinkLocalUnicast() || a.IsPrivate() || a.IsLoopback() {
		return a.String()
	}
	prefix, _ := a.Prefix(64) // 64 bits are always there
	if slices.Contains(own(), prefix) {
		return a.String()
	}
	return prefix.String()
}

// ownPrefixes are the IPv6 networks of this machine as they are now, since
// providers change them; 64 bits each. If they cannot be read there are none.
func (s *Service) ownPrefixes() []netip.Prefix {
	addrs, err := s.addrs()
	if err != nil {
		s.log.Warn("this machine's addresses cannot be read", "error", err)
	}
	var own []netip.Prefix
	for _, addr := range addrs {
		ip, ok := addr.(*net.IPNet)
		if !ok {
			continue
		}
		if a, ok := netip.AddrFromSlice(ip.IP); ok && a.Unmap().Is6() {
			prefix, _ := a.Prefix(64)
			own = append(own, prefix)
		}
	}
	return own
}

// admission are the counters that an attempt was counted in.
type admission []struct {
	in  *counters
	key string
}

// admit lets an attempt pass and counts it as failed for the time being, or says
// how long it has to wait.
func (l *limiter) admit(p place, now time.Time) (admission, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := admission{{&l.addresses, p.address}, {&l.accounts, p.account}}
	switch _, known := l.known.of[p.pair()]; {
	case known:
		a = admission{{&l.known, p.pair()}}
	case p.account == "":
		a = a[:1]
	}
	var wait time.Duration
	for _, c := range a {
		wait = max(wait, c.in.wait(c.key, now))
	}
	if wait > 0 {
		return nil, wait
	}
	for _, c := range a {
		c.in.add(c.key, now)
	}
	return a, 0
}

// takeBack makes an admitted attempt one that says nothing.
func (l *limiter) takeBack(a admission) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range a {
		if n := c.in.of[c.key]; n.failures > 0 {
			n.failures--
			c.in.of[c.key] = n
		}
	}
}

// succeed forgets the failures about the account, and knows the address from
// now on. Other failures from the address stay: who has one account must not
// guess at others for free.
func (l *limiter) succeed(p place, a admission, now time.Time) {
	l.takeBack(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.accounts.of, p.account)
	l.known.put(p.pair(), counter{last: now})
}

// isKnown tells whether the account was logged in from there before.
func (l *limiter) isKnown(p place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.known.of[p.pair()]
	return ok
}

// learn makes the address one that the account was logged in from.
func (l *limiter) learn(p place, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known.of[p.pair()]; !ok {
		l.known.put(p.pair(), counter{last: now})
	}
}

// Bounds of counters. Ours.
const (
	maxCounters = 1024
	forgetAfter = time.Hour // without a failure
)

// counters count failures by some key.
type counters struct {
	free    int           // failures that cost nothing
	longest time.Duration // that a failure makes one wait
	of      map[string]counter
}

type counter struct {
	failures int
	last     time.Time
}

// wait is how long key has to wait from now on; not positive: not at all. A clock
// that was set back makes nobody wait for it.
func (c *counters) wait(key string, now time.Time) time.Duration {
	n := c.of[key]
	since := now.Sub(n.last)
	if n.failures < c.free || since < 0 || since >= forgetAfter {
		return 0
	}
	return min(c.longest, time.Second<<min(n.failures-c.free, 30)) - since
}

// add counts one more.
func (c *counters) add(key string, now time.Time) {
	n := c.of[key]
	if now.Sub(n.last) >= forgetAfter {
		n.failures = 0
	}
	c.put(key, counter{n.failures + 1, now})
}

// put makes room by forgetting who failed least, and of these who did so the
// longest time ago: many invented names or addresses push each other out, and
// not those that are being guessed at.
func (c *counters) put(key string, n counter) {
	if _, ok := c.of[key]; !ok && len(c.of) >= maxCounters {
		least, found := "", false
		for k, v := range c.of {
			old := c.of[least]
			if !found || v.failures < old.failures || v.failures == old.failures && v.last.Before(old.last) {
				least, found = k, true
			}
		}
		delete(c.of, least)
	}
	c.of[key] = n
}

// try makes an attempt at something that is guarded by a password, a code or a
// token, unless too many failed before: CodeRateLimited. Errors of attempt with
// one of the codes in wrong count as failures. account is a user's name, or "" if
// the attempt is about nobody in particular.
func (s *Service) try(ctx context.Context, account string, client cloud.Client, wrong []cloud.Code, attempt func() error) error {
	if client.Address == "" {
		return attempt()
	}
	own := sync.OnceValue(s.ownPrefixes)
	p := place{address: network(client, own), account: strings.ToLower(account)}
	admitted, wait := s.limiter.admit(p, s.now())
	if wait > 0 && !s.limiter.isKnown(p) && s.livesAt(ctx, p, own) {
		s.limiter.learn(p, s.now())
		admitted, wait = s.limiter.admit(p, s.now())
	}
	if wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		return &cloud.Error{
			Code:    cloud.CodeRateLimited,
			Message: "too many attempts failed; try again in " + (time.Duration(seconds) * time.Second).String(),
			Details: cloud.RetryDetails{RetryAfter: seconds},
		}
	}
	err := attempt()
	switch {
	case err == nil && p.account != "":
		s.limiter.succeed(p, admitted, s.now())
	case err == nil || !slices.Contains(wrong, cloud.CodeOf(err)):
		s.limiter.takeBack(admitted)
	default:
		s.log.InfoContext(ctx, "log-in refused", "address", p.address, "code", cloud.CodeOf(err))
	}
	return err
}

// livesAt tells whether the account has a session that began at the place: what
// the limiter knew before the server slept. An account that does not exist takes
// as long.
func (s *Service) livesAt(ctx context.Context, p place, own func() []netip.Prefix) bool {
	if cloud.CheckUserName(p.account) != nil {
		return false
	}
	user, err := s.store.User(ctx, p.account)
	if err != nil {
		user.ID = cloud.NewID()
	}
	sessions, err := s.store.Sessions(ctx, user.ID, s.now())
	return err == nil && slices.ContainsFunc(sessions, func(k cloud.Session) bool {
		return network(cloud.Client{Address: k.Address}, own) == p.address
	})
}
