package executor

import (
	"context"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// gate bounds how many executions run at once, on the node and in each app.
// Who finds it full waits in a queue of its app; places that become free go to
// the apps in turn, so that one app's queue does not hold up another's.
type gate struct {
	capacity int           // executions on the node
	share    int           // executions of one app
	queue    int           // waiters of one app
	wait     time.Duration // longest wait

	mu      sync.Mutex
	running int
	apps    map[string]*gateApp
	turn    []*gateApp // apps with waiters, next first
	waiting int
	closed  bool
}

type gateApp struct {
	id      string
	running int
	waiters []*waiter
}

// waiter waits for a place. Its channel gets true with the place, false when
// the gate closes.
type waiter struct {
	place chan bool
}

var (
	errBusy     = cloud.Errorf(cloud.CodeBusy, "as many executions are running as this device allows; try again in a moment")
	errStopping = cloud.Errorf(cloud.CodeUnavailable, "PiCloud is stopping; try again in a moment")
)

// enter takes a place for an execution of the app, which leave gives back.
// It fails with CodeBusy when none is free in time, with CodeUnavailable once
// the gate is closed, and with ctx's error.
func (g *gate) enter(ctx context.Context, app string) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return errStopping
	}
	a := g.apps[app]
	if a == nil {
		a = &gateApp{id: app}
		g.apps[app] = a
	}
	// Nobody overtakes: where others of the app wait, so does this one.
	if len(a.waiters) == 0 && g.running < g.capacity && a.running < g.share {
		g.running++
		a.running++
		g.mu.Unlock()
		return nil
	}
	if len(a.waiters) >= g.queue {
		g.mu.Unlock()
		return errBusy
	}
	w := &waiter{place: make(chan bool, 1)}
	a.waiters = append(a.waiters, w)
	g.waiting++
	if len(a.waiters) == 1 {
		g.turn = append(g.turn, a)
	}
	g.mu.Unlock()

	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	var err error
	select {
	case ok := <-w.place:
		if !ok {
			return errStopping
		}
		return nil
	case <-timer.C:
		err = errBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	if g.withdraw(a, w) {
		return err
	}
	// The place was handed over at the same moment.
	if !<-w.place {
		return errStopping
	}
	if ctx.Err() != nil {
		g.leave(app)
		return ctx.Err()
	}
	return nil
}

// leave gives a place back.
func (g *gate) leave(app string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.apps[app]
	g.running--
	a.running--
	g.admit()
	g.forget(a)
}

// admit hands free places to waiters, one app after the other.
func (g *gate) admit() {
	for skipped := 0; skipped < len(g.turn) && g.running < g.capacity; {
		a := g.turn[0]
		copy(g.turn, g.turn[1:])
		if a.running >= g.share {
			g.turn[len(g.turn)-1] = a
			skipped++
			continue
		}
		skipped = 0
		w := a.waiters[0]
		a.waiters[0] = nil
		a.waiters = a.waiters[1:]
		g.waiting--
		if len(a.waiters) > 0 {
			g.turn[len(g.turn)-1] = a
		} else {
			g.turn = g.turn[:len(g.turn)-1]
		}
		g.running++
		a.running++
		w.place <- true
	}
}

// withdraw removes a waiter and reports whether it still waited.
func (g *gate) withdraw(a *gateApp, w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range a.waiters {
		if a.waiters[i] != w {
			continue
		}
		a.waiters = append(a.waiters[:i], a.waiters[i+1:]...)
		g.waiting--
		if len(a.waiters) == 0 {
			for j := range g.turn {
				if g.turn[j] == a {
					g.turn = append(g.turn[:j], g.turn[j+1:]...)
					break
				}
			}
			g.forget(a)
		}
		return true
	}
	return false
}

// forget drops an app that neither runs nor waits.
func (g *gate) forget(a *gateApp) {
	if a.running == 0 && len(a.waiters) == 0 {
		delete(g.apps, a.id)
	}
}

// close refuses all who wait and all who come.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, a := range g.turn {
		for _, w := range a.waiters {
			w.place <- false
		}
		a.waiters = nil
		g.forget(a)
	}
	g.turn = nil
	g.waiting = 0
}

// count is how many executions run and wait.
func (g *gate) count() (running, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running, g.waiting
}
