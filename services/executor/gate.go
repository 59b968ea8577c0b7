package executor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// lane is what an execution is for. Each has queues of its own.
type lane uint8

const (
	requests lane = iota // somebody waits for the answer, and not for long
	events               // nobody does: they wait as long as it takes
)

// running counts executions.
type running [2]int // by lane

func (r running) all() int { return r[requests] + r[events] }

// gate bounds how many executions run at once, on the node and in each app.
// Who finds it full waits in a queue of its app; places that become free go to
// the apps in turn, so that one app's queue does not hold up another's. Requests
// go before events, which never have all the places, but not always, so that
// events come to their turn however many requests there are.
type gate struct {
	capacity      int           // executions on the node
	share         int           // executions of one app
	eventCapacity int           // of the capacity, what events may have
	eventShare    int           // of that, what the events of one app may have
	queue         int           // requests of one app that may wait
	wait          time.Duration // longest wait of a request

	mu sync.Mutex
	running
	apps    map[string]*gateApp
	turn    [2][]*gateApp // by lane, apps with waiters, next first
	waiting int
	passed  int // requests that went before waiting events since one of those got in
	closed  bool
}

// maxPassed is how many requests in a row go before events that wait as well.
const maxPassed = 3

type gateApp struct {
	id string
	running
	waiters [2][]*waiter // by lane
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

// enter takes a place for an execution of the app, which leave gives back. A
// request fails with CodeBusy when none is free in time; all fail with
// CodeUnavailable once the gate is closed, and with ctx's error.
func (g *gate) enter(ctx context.Context, l lane, app string) error {
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
	if len(a.waiters[l]) == 0 && g.room(l, a) {
		g.running[l]++
		a.running[l]++
		g.mu.Unlock()
		return nil
	}
	if l == requests && len(a.waiters[l]) >= g.queue {
		g.mu.Unlock()
		return errBusy
	}
	w := &waiter{place: make(chan bool, 1)}
	a.waiters[l] = append(a.waiters[l], w)
	g.waiting++
	if len(a.waiters[l]) == 1 {
		g.turn[l] = append(g.turn[l], a)
	}
	g.mu.Unlock()

	var over <-chan time.Time
	if l == requests {
		timer := time.NewTimer(g.wait)
		defer timer.Stop()
		over = timer.C
	}
	var err error
	select {
	case ok := <-w.place:
		if !ok {
			return errStopping
		}
		return nil
	case <-over:
		err = errBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	if g.withdraw(l, a, w) {
		return err
	}
	// The place was handed over at the same moment.
	if !<-w.place {
		return errStopping
	}
	if ctx.Err() != nil {
		g.leave(l, app)
		return ctx.Err()
	}
	return nil
}

// room tells whether one more of the app may run.
func (g *gate) room(l lane, a *gateApp) bool {
	return g.all() < g.capacity && a.all() < g.share &&
		(l == requests || g.running[l] < g.eventCapacity && a.running[l] < g.eventShare)
}

// leave gives a place back.
func (g *gate) leave(l lane, app string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.apps[app]
	g.running[l]--
	a.running[l]--
	g.admit()
	g.forget(a)
}

// admit hands free places to waiters.
func (g *gate) admit() {
	for {
		first, second := requests, events
		if g.passed >= maxPassed {
			first, second = second, first
		}
		if !g.admitOne(first) && !g.admitOne(second) {
			return
		}
	}
}

// admitOne hands a place to the next of the lane, one app after the other, and
// reports whether there was one.
func (g *gate) admitOne(l lane) bool {
	for i, a := range g.turn[l] {
		if !g.room(l, a) {
			continue
		}
		w := a.waiters[l][0]
		a.waiters[l][0] = nil
		a.waiters[l] = a.waiters[l][1:]
		g.waiting--
		g.turn[l] = slices.Delete(g.turn[l], i, i+1)
		if len(a.waiters[l]) > 0 {
			g.turn[l] = append(g.turn[l], a)
		}
		switch {
		case l == events:
			g.passed = 0
		case len(g.turn[events]) > 0:
			g.passed++
		}
		g.running[l]++
		a.running[l]++
		w.place <- true
		return true
	}
	return false
}

// withdraw removes a waiter and reports whether it still waited.
func (g *gate) withdraw(l lane, a *gateApp, w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(a.waiters[l], w)
	if i < 0 {
		return false
	}
	a.waiters[l] = slices.Delete(a.waiters[l], i, i+1)
	g.waiting--
	if len(a.waiters[l]) == 0 {
		i := slices.Index(g.turn[l], a)
		g.turn[l] = slices.Delete(g.turn[l], i, i+1)
		g.forget(a)
	}
	return true
}

// forget drops an app that neither runs nor waits.
func (g *gate) forget(a *gateApp) {
	if a.all() == 0 && len(a.waiters[requests]) == 0 && len(a.waiters[events]) == 0 {
		delete(g.apps, a.id)
	}
}

// close refuses all who wait and all who come.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for l := range g.turn {
		for _, a := range g.turn[l] {
			for _, w := range a.waiters[l] {
				w.place <- false
			}
			a.waiters[l] = nil
			g.forget(a)
		}
		g.turn[l] = nil
	}
	g.waiting = 0
}

// count is how many executions run and wait.
func (g *gate) count() (running, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all(), g.waiting
}
