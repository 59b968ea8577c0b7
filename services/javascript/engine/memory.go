package engine

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
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

// WatchMemory looks at the heap at the end of each garbage collection. When
// scripts hold more than half of limit bytes, relieve is called; when they hold
// more than limit, kill is called too, with cloud.CodeMemory. What the heap
// holds when WatchMemory is called does not count. There is no polling: the
// collector itself gives the sign. It sets the collector's pace until stop is
// called, and what one script may allocate at once for good.
func WatchMemory(limit int64, relieve func(), kill func(cloud.Code)) (stop func()) {
	allocatable.Store(limit)
	runtime.GC()
	floor := markedHeap()
	pace := relaxedPace
	before := debug.SetGCPercent(pace)
	var stopped atomic.Bool
	var watch func()
	watch = func() {
		if stopped.Load() {
			return
		}
		// A sentinel that nothing refers to: it dies in the next collection.
		runtime.AddCleanup(new([16]byte), func(watch func()) {
			used := markedHeap() - floor
			if used > limit/2 {
				relieve()
			}
			if used > limit && !stopped.Load() {
				kill(cloud.CodeMemory)
				go debug.FreeOSMemory()
			}
			wanted := relaxedPace
			if used > limit/8 {
				wanted = tightPace
			}
			if wanted != pace && !stopped.Load() {
				pace = wanted
				debug.SetGCPercent(pace)
			}
			watch()
		}, watch)
	}
	watch()
	return func() {
		stopped.Store(true)
		debug.SetGCPercent(before)
	}
}
