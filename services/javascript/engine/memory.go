package engine

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// liveHeap is how many bytes of objects the heap holds, as of now.
func liveHeap() int64 { return readMetric("/memory/classes/heap/objects:bytes") }

// heapAge is how old the figure of peakHeap may be: less than an execution takes
// that allocates much.
const heapAge = time.Millisecond

// peakHeap is liveHeap as of now or of at most heapAge ago: to read it for each
// short execution costs a tenth of that execution.
func peakHeap() int64 {
	at := now()
	if taken := heapSample.at.Load(); taken != 0 && at-time.Duration(taken) < heapAge {
		return heapSample.bytes.Load()
	}
	heap := liveHeap()
	heapSample.bytes.Store(heap)
	heapSample.at.Store(int64(at))
	return heap
}

var heapSample struct {
	at, bytes atomic.Int64
}

// markedHeap is how many bytes the last garbage collection found in use.
func markedHeap() int64 { return readMetric("/gc/heap/live:bytes") }

func readMetric(name string) int64 {
	s := [1]metrics.Sample{{Name: name}}
	metrics.Read(s[:])
	return int64(s[0].Value.Uint64())
}

// The collector's pace (GOGC): seldom while scripts hold little, since most of
// what a request makes is garbage at its end; often when they hold much, so that
// a script that only grows is seen soon.
const (
	relaxedPace = 200
	tightPace   = 25
)

// looks counts the looks at the heap that have been prepared.
var looks atomic.Uint64

// Looks is a mark in time for Watch.Kill.
func Looks() uint64 { return looks.Load() }

// Watch says what WatchMemory does.
type Watch struct {
	Limit int64 // bytes that scripts may hold
	// Relieve lets go of what nobody uses. It is called when scripts hold more than
	// half of Limit.
	Relieve func()
	// Kill ends the executions that began when Looks was less than before, so
	// before the collection that found more than Limit. It tells whether there were
	// any.
	Kill func(before uint64) bool
	// Ending tells whether executions that Kill has ended are still there.
	Ending func() bool
}

// WatchMemory looks at the heap at the end of each garbage collection and kills
// when scripts hold more than the limit. After that it waits for a collection
// that began when the killed executions were gone, so that none pays for what
// another one held. What the heap holds when WatchMemory is called does not
// count. There is no polling: the collector itself gives the sign. It sets the
// collector's pace until stop is called, and what one script may allocate at
// once for good.
func WatchMemory(w Watch) (stop func()) {
	allocatable.Store(w.Limit)
	runtime.GC()
	floor := markedHeap()
	pace := relaxedPace
	before := debug.SetGCPercent(pace)
	var stopped atomic.Bool
	killed := false // the heap may hold what killed executions held
	var watch func()
	watch = func() {
		if stopped.Load() {
			return
		}
		// A sentinel that nothing refers to: it dies in the next collection that
		// begins.
		look := looks.Add(1)
		runtime.AddCleanup(new([16]byte), func(watch func()) {
			used := markedHeap() - floor
			if used > w.Limit/2 {
				w.Relieve()
			}
			again := false
			switch {
			case stopped.Load() || killed && w.Ending():
			case used <= w.Limit:
				killed = false
			case killed:
				killed, again = false, true
			default:
				killed = w.Kill(look)
				again = !killed
			}
			wanted := relaxedPace
			if used > w.Limit/8 {
				wanted = tightPace
			}
			if wanted != pace && !stopped.Load() {
				pace = wanted
				debug.SetGCPercent(pace)
			}
			watch()
			if again {
				go runtime.GC()
			}
		}, watch)
	}
	watch()
	return func() {
		stopped.Store(true)
		debug.SetGCPercent(before)
	}
}
