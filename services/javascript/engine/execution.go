package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// Execution is one run of a handler with all that belongs to it. Its exported
// methods are safe for concurrent use, before, during and after the run; what
// comes too late is dropped.
type Execution struct {
	start wire.Start
	host  Host
	began time.Duration

	mu     sync.Mutex
	inbox  []message
	vm     *goja.Runtime // while the run may be interrupted
	killed cloud.Code    // why the run must end; set once
	onKill func()
	ended  bool
	timer  *time.Timer // the watchdog
	// idleArmed says that the watchdog waits for the wall deadline alone and must
	// be set anew when JavaScript runs again.
	idleArmed bool
	wake      chan struct{} // capacity 1

	segment atomic.Int64 // instant at which running JavaScript began; 0 while waiting
	base    atomic.Int64 // process clock at that instant
	used    atomic.Int64 // CPU time of the segments that ended
}

// NewExecution prepares an execution. The wall clock runs from now on.
func NewExecution(start wire.Start, host Host) *Execution {
	return &Execution{start: start, host: host, began: now(), wake: make(chan struct{}, 1)}
}

type messageKind uint8

const (
	hostResult messageKind = iota
	bodyChunk
	bodyEnd
	bodyError
	credit
	cancel
)

// message is something that happened outside, waiting for the event loop.
type message struct {
	kind   messageKind
	result wire.HostResult
	data   []byte
	text   string
	n      int
}

// HostResult delivers the answer to a host call.
func (x *Execution) HostResult(r wire.HostResult) { x.post(message{kind: hostResult, result: r}) }

// Body delivers bytes of the request body, which the execution then owns.
func (x *Execution) Body(p []byte) { x.post(message{kind: bodyChunk, data: p}) }

// BodyEnd says that the request body is complete.
func (x *Execution) BodyEnd() { x.post(message{kind: bodyEnd}) }

// BodyError says that the request body broke off.
func (x *Execution) BodyError(reason string) { x.post(message{kind: bodyError, text: reason}) }

// Credit allows n more bytes of the response body.
func (x *Execution) Credit(n int) { x.post(message{kind: credit, n: n}) }

// Cancel says that nobody waits for the answer any more: request.signal is
// aborted, and a streamed response is cancelled.
func (x *Execution) Cancel() { x.post(message{kind: cancel}) }

func (x *Execution) post(m message) {
	x.mu.Lock()
	if !x.ended {
		x.inbox = append(x.inbox, m)
	}
	x.mu.Unlock()
	x.poke()
}

func (x *Execution) poke() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// take returns the messages that have arrived, using spare as the next inbox.
func (x *Execution) take(spare []message) []message {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.inbox) == 0 {
		return nil
	}
	got := x.inbox
	x.inbox = spare[:0]
	return got
}

// Kill ends the run with code. Running JavaScript is interrupted at its next
// instruction and cannot catch that; a native loop only ends with the process.
func (x *Execution) Kill(code cloud.Code) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.kill(code)
}

func (x *Execution) kill(code cloud.Code) {
	if x.killed != "" || x.ended {
		return
	}
	x.killed = code
	if x.vm != nil {
		x.vm.Interrupt(code)
	}
	if x.onKill != nil {
		x.onKill()
	}
	x.poke()
}

// OnKill has f called, without blocking, when the run is killed.
func (x *Execution) OnKill(f func()) {
	x.mu.Lock()
	x.onKill = f
	x.mu.Unlock()
}

// Killed is why the run was killed; "" if it was not.
func (x *Execution) Killed() cloud.Code {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.killed
}

// attach begins the time in which the run may be interrupted.
func (x *Execution) attach(vm *goja.Runtime) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.vm = vm
	if x.killed != "" {
		vm.Interrupt(x.killed)
		return
	}
	x.arm()
}

// detach ends it, and the run with it. It reports why the run was killed, if it
// was.
func (x *Execution) detach() cloud.Code {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.vm, x.ended, x.inbox = nil, true, nil
	if x.timer != nil {
		x.timer.Stop()
	}
	return x.killed
}

// arm sets the watchdog to the first moment at which a limit could be passed.
// The CPU limit cannot be passed before that much time has gone by.
func (x *Execution) arm() {
	wait := x.start.Wall - (now() - x.began)
	x.idleArmed = x.segment.Load() == 0
	if !x.idleArmed {
		wait = min(wait, x.start.CPU-x.CPU())
	}
	wait = max(wait, 0)
	if x.timer == nil {
		x.timer = time.AfterFunc(wait, x.watch)
	} else {
		x.timer.Reset(wait)
	}
}

func (x *Execution) watch() {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.ended || x.killed != "":
	case now()-x.began >= x.start.Wall:
		x.kill(cloud.CodeTimeout)
	case x.CPU() >= x.start.CPU:
		x.kill(cloud.CodeCPU)
	default:
		x.arm()
	}
}

// CPU is how long JavaScript has run: the wall time of its segments, or the CPU
// time of the process over them if that is less, as on a busy machine.
func (x *Execution) CPU() time.Duration {
	used := time.Duration(x.used.Load())
	if began := x.segment.Load(); began != 0 {
		used += charge(now()-time.Duration(began), time.Duration(x.base.Load()))
	}
	return used
}

func charge(wall, base time.Duration) time.Duration {
	if wall < sampleAge {
		return wall
	}
	return max(0, min(wall, processCPU()-base))
}

// enter begins a segment of running JavaScript.
func (x *Execution) enter() {
	at := now()
	x.base.Store(int64(cpuBefore(at)))
	x.segment.Store(int64(at))
	x.mu.Lock()
	if x.timer != nil && x.idleArmed && x.killed == "" {
		x.arm()
	}
	x.mu.Unlock()
}

// leave ends the segment.
func (x *Execution) leave() {
	began := x.segment.Load()
	if began == 0 {
		return
	}
	d := charge(now()-time.Duration(began), time.Duration(x.base.Load()))
	x.segment.Store(0)
	x.used.Add(int64(d))
}
