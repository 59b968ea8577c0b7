package caddycloud

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryIdle is how long after the last request memory is given back.
	memoryIdle = 5 * time.Second
	// worthwhile is how many bytes make that worth a collection, which costs some
	// 10 ms of CPU time.
	worthwhile = 8 << 20
)

// releaseMemory collects garbage and gives what is free back to the system, if
// it is enough.
func releaseMemory() {
	s := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if free, objects, live := s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(); free+objects >= live+worthwhile {
		debug.FreeOSMemory()
	}
}
