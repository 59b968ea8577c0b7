package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

func newGate(capacity, share, queue int) *gate {
	return &gate{capacity: capacity, share: share, eventCapacity: max(1, capacity/2), eventShare: max(1, capacity/2), queue: queue, wait: time.Second, apps: map[string]*gateApp{}}
}

// queueEvent makes an event of the app wait and note its name when it gets in.
func queueEvent(t *testing.T, g *gate, app, name string, in *names) {
	go func() {
		if err := g.enter(t.Context(), events, app); err != nil {
			name += " " + string(cloud.CodeOf(err))
		}
		in.add(name)
	}()
	synctest.Wait()
}

// mustEnter takes a place that must be free.
func mustEnter(t *testing.T, g *gate, app string) {
	t.Helper()
	if err := g.enter(t.Context(), requests, app); err != nil {
		t.Fatalf("enter %s: %v", app, err)
	}
}

// queueUp makes an execution of the app wait and note its name when it gets in.
func queueUp(t *testing.T, g *gate, app, name string, in *names) {
	go func() {
		if err := g.enter(t.Context(), requests, app); err != nil {
			name += " " + string(cloud.CodeOf(err))
		}
		in.add(name)
	}()
	synctest.Wait()
}

type names struct {
	mu   sync.Mutex
	list []string
}

func (n *names) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, s)
}

func (n *names) want(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.list, want) {
		t.Errorf("in came %q, want %q", n.list, want)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	test := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}

	test("who finds it full waits its time and is refused as busy", func(t *testing.T) {
		g := newGate(1, 1, 8)
		mustEnter(t, g, "a")
		start := time.Now()
		err := g.enter(t.Context(), requests, "b")
		if cloud.CodeOf(err) != cloud.CodeBusy || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		g.leave(requests, "a")
		if running, waiting := g.count(); running != 0 || waiting != 0 || len(g.apps) != 0 || len(g.turn[requests])+len(g.turn[events]) != 0 {
			t.Errorf("left are %d running, %d waiting, %d apps", running, waiting, len(g.apps))
		}
	})

	test("an app gets no more than its share", func(t *testing.T) {
		g := newGate(4, 2, 8)
		mustEnter(t, g, "a")
		mustEnter(t, g, "a")
		var in names
		queueUp(t, g, "a", "a3", &in)
		in.want(t)
		mustEnter(t, g, "b")
		g.leave(requests, "b")
		in.want(t)
		g.leave(requests, "a")
		synctest.Wait()
		in.want(t, "a3")
	})

	test("an app's requests come in as they came, the apps in turn", func(t *testing.T) {
		g := newGate(1, 1, 8)
		mustEnter(t, g, "x")
		var in names
		for _, name := range []string{"a1", "a2", "a3", "b1", "c1", "c2"} {
			queueUp(t, g, name[:1], name, &in)
		}
		last := "x"
		for _, next := range []string{"a", "b", "c", "a", "c", "a"} {
			g.leave(requests, last)
			synctest.Wait()
			last = next
		}
		in.want(t, "a1", "b1", "c1", "a2", "c2", "a3")
	})

	test("an app at its share does not hold up the others' queue", func(t *testing.T) {
		g := newGate(3, 2, 8)
		mustEnter(t, g, "a")
		mustEnter(t, g, "a")
		mustEnter(t, g, "b")
		var in names
		queueUp(t, g, "a", "a3", &in)
		queueUp(t, g, "c", "c1", &in)
		g.leave(requests, "b")
		synctest.Wait()
		in.want(t, "c1")
		g.leave(requests, "a")
		synctest.Wait()
		in.want(t, "c1", "a3")
	})

	test("nobody overtakes the queue of their app", func(t *testing.T) {
		g := newGate(2, 1, 8)
		mustEnter(t, g, "a")
		var in names
		queueUp(t, g, "a", "a2", &in)
		queueUp(t, g, "a", "a3", &in)
		g.leave(requests, "a")
		synctest.Wait()
		in.want(t, "a2")
	})

	test("the queue is bounded", func(t *testing.T) {
		g := newGate(1, 1, 1)
		mustEnter(t, g, "a")
		var in names
		queueUp(t, g, "a", "a2", &in)
		start := time.Now()
		if err := g.enter(t.Context(), requests, "a"); cloud.CodeOf(err) != cloud.CodeBusy || time.Since(start) != 0 {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		g.leave(requests, "a")
		synctest.Wait()
		in.want(t, "a2")
	})

	test("who goes away leaves the queue", func(t *testing.T) {
		g := newGate(1, 1, 8)
		mustEnter(t, g, "a")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.enter(ctx, requests, "a") }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		g.leave(requests, "a")
		mustEnter(t, g, "a")
	})

	test("close refuses who waits and who comes", func(t *testing.T) {
		g := newGate(1, 1, 8)
		mustEnter(t, g, "a")
		var in names
		queueUp(t, g, "a", "a2", &in)
		g.close()
		synctest.Wait()
		in.want(t, "a2 unavailable")
		if err := g.enter(t.Context(), requests, "b"); cloud.CodeOf(err) != cloud.CodeUnavailable {
			t.Errorf("got %v", err)
		}
		g.leave(requests, "a")
	})

	test("events have no more than their part of the places, and wait for them without end", func(t *testing.T) {
		g := newGate(4, 4, 0)
		var in names
		for _, name := range []string{"a1", "a2", "a3", "b1"} {
			queueEvent(t, g, name[:1], name, &in)
		}
		in.want(t, "a1", "a2")
		mustEnter(t, g, "a")
		mustEnter(t, g, "a")
		time.Sleep(time.Hour)
		in.want(t, "a1", "a2")
		g.leave(events, "a")
		synctest.Wait()
		g.leave(events, "a")
		synctest.Wait()
		in.want(t, "a1", "a2", "a3", "b1")
		if running, waiting := g.count(); running != 4 || waiting != 0 {
			t.Errorf("%d run, %d wait", running, waiting)
		}
	})

	test("an app's events leave room for those of others", func(t *testing.T) {
		g := newGate(8, 8, 8)
		g.eventShare = 3
		var in names
		for _, name := range []string{"a1", "a2", "a3", "a4", "a5", "b1"} {
			queueEvent(t, g, name[:1], name, &in)
		}
		in.want(t, "a1", "a2", "a3", "b1")
		g.leave(events, "b")
		synctest.Wait()
		in.want(t, "a1", "a2", "a3", "b1")
		g.leave(events, "a")
		synctest.Wait()
		in.want(t, "a1", "a2", "a3", "b1", "a4")
	})

	test("requests go before events, but not always", func(t *testing.T) {
		g := newGate(2, 2, 8)
		mustEnter(t, g, "x")
		mustEnter(t, g, "x")
		var in names
		queueEvent(t, g, "x", "e1", &in)
		queueEvent(t, g, "y", "e2", &in)
		for _, name := range []string{"r1", "r2", "r3", "r4", "r5", "r6", "r7"} {
			queueUp(t, g, "x", name, &in)
		}
		lanes := map[string]lane{"e1": events, "e2": events}
		apps := map[string]string{"e2": "y"}
		for i := range 9 {
			in.mu.Lock()
			last := ""
			if i > 0 {
				last = in.list[i-1]
			}
			in.mu.Unlock()
			app := apps[last]
			if app == "" {
				app = "x"
			}
			g.leave(lanes[last], app)
			synctest.Wait()
		}
		in.want(t, "r1", "r2", "r3", "e1", "r4", "r5", "r6", "e2", "r7")
	})

	test("a request waits for nothing that only events may not have", func(t *testing.T) {
		g := newGate(2, 2, 8)
		var in names
		queueEvent(t, g, "a", "e1", &in)
		queueEvent(t, g, "a", "e2", &in)
		mustEnter(t, g, "a")
		in.want(t, "e1")
	})

	test("events that wait are refused by close, and go when they are called back", func(t *testing.T) {
		g := newGate(1, 1, 8)
		mustEnter(t, g, "a")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.enter(ctx, events, "a") }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		var in names
		queueEvent(t, g, "a", "e1", &in)
		g.close()
		synctest.Wait()
		in.want(t, "e1 unavailable")
		g.leave(requests, "a")
		if running, waiting := g.count(); running != 0 || waiting != 0 || len(g.apps) != 0 || len(g.turn[events]) != 0 {
			t.Errorf("left are %d running, %d waiting, %d apps", running, waiting, len(g.apps))
		}
	})

	test("places are never lost nor made", func(t *testing.T) {
		g := newGate(3, 2, 64)
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				app, l := fmt.Sprint(i%5), lane(i%2)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
				defer cancel()
				if g.enter(ctx, l, app) == nil {
					time.Sleep(time.Duration(i%7) * time.Millisecond)
					if running, _ := g.count(); running > 3 {
						t.Errorf("%d run at once", running)
					}
					g.leave(l, app)
				}
			})
		}
		all.Wait()
		if running, waiting := g.count(); running != 0 || waiting != 0 || len(g.turn[requests])+len(g.turn[events]) != 0 || len(g.apps) != 0 {
			t.Errorf("left are %d running, %d waiting, %d in turn, %d apps", running, waiting, len(g.turn[requests]), len(g.apps))
		}
	})
}
