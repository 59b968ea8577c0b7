package engine

import (
	"runtime"
	"testing"
)

func TestWatchMemory(t *testing.T) {
	type look struct {
		before, now uint64
		ending      bool
	}
	looked := make(chan look) // Kill is asked, or Ending
	answer := make(chan bool)
	ask := func(l look) bool {
		l.now = Looks()
		looked <- l
		return <-answer
	}
	// next collects until somebody looks: a collection that began before the last
	// look was over has none.
	next := func() look {
		for {
			runtime.GC()
			select {
			case l := <-looked:
				return l
			default:
			}
		}
	}
	began := Looks()
	stop := WatchMemory(Watch{
		Limit: 1 << 20, Relieve: func() {},
		Kill:   func(before uint64) bool { return ask(look{before: before}) },
		Ending: func() bool { return ask(look{ending: true}) },
	})
	ballast := make([]byte, 4<<20)

	// Nothing is old enough: another collection comes by itself, and then another
	// look, to which what began before that collection is old enough.
	first := next()
	if first.ending || first.before <= began || first.now >= first.before+1 {
		t.Errorf("first look %+v, begun at %d", first, began)
	}
	answer <- false
	second := <-looked
	if second.ending || second.before <= first.now {
		t.Errorf("second look %+v after %+v", second, first)
	}
	answer <- true
	// What was killed is still there, then it is gone, which the next collection
	// sees, and the one after that may kill again.
	for _, there := range []bool{true, true, false} {
		if l := next(); !l.ending {
			t.Errorf("look %+v while the killed ones end", l)
		}
		answer <- there
	}
	if l := <-looked; l.ending || l.before <= second.now {
		t.Errorf("look %+v after all have ended", l)
	}
	runtime.KeepAlive(ballast)
	stop()
	answer <- true
}
