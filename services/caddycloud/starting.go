package caddycloud

import (
	"context"
	"time"
)

// startWait is for how long after the process has begun requests wait for the
// tables instead of being refused: on a board that was asleep the database starts
// together with the server.
const startWait = 10 * time.Second

var processBegan = time.Now()

// awaitLoaded returns when requests can be dispatched, when that has taken too
// long, or with ctx.
func (s *Services) awaitLoaded(ctx context.Context) {
	select {
	case <-s.Loaded():
		return
	default:
	}
	left := startWait - time.Since(processBegan)
	if left <= 0 {
		return
	}
	enough := time.NewTimer(left)
	defer enough.Stop()
	select {
	case <-s.Loaded():
	case <-enough.C:
	case <-ctx.Done():
	}
}
