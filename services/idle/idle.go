// Package idle notices that something has not been used for a while. Noticing
// costs nothing while nothing happens: a timer exists only between the last use
// and the notice.
package idle

import (
	"sync/atomic"
	"time"
)

// Notice calls a function once after each run of uses.
type Notice struct {
	after time.Duration
	f     func()
	last  atomic.Int64 // Unix nanoseconds of the last use
	armed atomic.Bool
}

// New returns a Notice that calls f, on a goroutine of its own, when Used has
// not been called for the given time. f may still be called after the last
// reference is gone; it is never called without a use before.
func New(after time.Duration, f func()) *Notice { return &Notice{after: after, f: f} }

// Used notes a use. It is cheap and safe for concurrent use.
func (n *Notice) Used() {
	n.last.Store(time.Now().UnixNano())
	if !n.armed.Load() && n.armed.CompareAndSwap(false, true) {
		time.AfterFunc(n.after, n.check)
	}
}

func (n *Notice) check() {
	left := n.after - time.Since(time.Unix(0, n.last.Load()))
	if left > 0 {
		time.AfterFunc(left, n.check)
		return
	}
	n.armed.Store(false)
	n.f()
}
