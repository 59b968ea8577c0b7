package worker

import (
	"os"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
	"github.com/picloud/picloud/services/javascript/engine"
)

// flushAt is how many bytes are collected before they are written in any case.
const flushAt = 32 << 10

// execution is one execution's way to the server. It is the engine's host.
type execution struct {
	worker *worker
	id     uint32
	engine *engine.Execution
	looks  uint64 // engine.Looks at the start

	mu       sync.Mutex
	buffer   *[]byte // from batches
	batch    []byte
	answered bool
	ended    bool // the End frame is in the batch or written
	timers   []*time.Timer
}

var batches = sync.Pool{New: func() any { return new([]byte) }}

func newExecution(w *worker, id uint32, s wire.Start) *execution {
	x := &execution{worker: w, id: id, looks: engine.Looks(), buffer: batches.Get().(*[]byte)}
	x.batch = (*x.buffer)[:0]
	x.engine = engine.NewExecution(s, x)
	x.engine.OnKill(x.killed)
	return x
}

// run runs the execution on a runtime of p.
func (x *execution) run(p *program, env *engine.Env) {
	end := x.work(p, env)
	x.worker.remove(x.id)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.timers {
		t.Stop()
	}
	if !x.ended {
		x.ended = true
		x.begin(wire.TypeEnd, end.Append)
		x.flush()
	}
	if cap(x.batch) <= 2*flushAt {
		*x.buffer = x.batch[:0]
		batches.Put(x.buffer)
	}
	x.batch, x.buffer = nil, nil
}

func (x *execution) work(p *program, env *engine.Env) wire.End {
	if p == nil {
		return wire.End{Code: string(cloud.CodeInternal), Error: &cloud.ScriptError{Name: "InternalError", Message: "the program is not loaded"}}
	}
	r, err := p.take()
	if err != nil {
		return wire.End{Code: string(cloud.CodeOf(err)), Error: &cloud.ScriptError{Name: "SyntaxError", Message: err.Error()}}
	}
	defer p.give(r)
	return r.Run(x.engine, env)
}

// begin appends a frame. It needs x.mu.
func (x *execution) begin(t wire.Type, payload func([]byte) []byte) {
	b, start := wire.Begin(x.batch, t, x.id)
	x.batch = wire.Finish(payload(b), start)
	if len(x.batch) >= flushAt {
		x.flush()
	}
}

// flush hands the batch to the writer. It needs x.mu.
func (x *execution) flush() {
	if len(x.batch) == 0 {
		return
	}
	if err := x.worker.out.write(x.batch); err != nil {
		x.engine.Kill(cloud.CodeWorkerDied)
	}
	x.batch = x.batch[:0]
}

func (x *execution) frame(t wire.Type, payload func([]byte) []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.ended {
		x.begin(t, payload)
	}
}

func nothing(b []byte) []byte { return b }

// Call implements engine.Host.
func (x *execution) Call(call uint32, op string, args []byte) {
	x.frame(wire.TypeHostCall, wire.HostCall{Call: call, Op: op, Args: args}.Append)
}

// Log implements engine.Host.
func (x *execution) Log(level, text string) {
	x.frame(wire.TypeLog, wire.Log{Level: level, Text: text}.Append)
}

// Respond implements engine.Host.
func (x *execution) Respond(head wire.Response) {
	x.mu.Lock()
	x.answered = true
	x.mu.Unlock()
	x.frame(wire.TypeResponse, head.Append)
}

// Write implements engine.Host.
func (x *execution) Write(p []byte) {
	x.frame(wire.TypeResponseBody, func(b []byte) []byte { return append(b, p...) })
}

// EndResponse implements engine.Host.
func (x *execution) EndResponse() { x.frame(wire.TypeResponseEnd, nothing) }

// GrantBody implements engine.Host.
func (x *execution) GrantBody(n int) {
	x.frame(wire.TypeBodyCredit, func(b []byte) []byte { return wire.AppendCredit(b, uint32(n)) })
}

// Flush implements engine.Host.
func (x *execution) Flush() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.flush()
}

// cancel tells the script that nobody waits. One that has not answered ends
// after a grace; one that has may go on with what it gave to waitUntil.
func (x *execution) cancel() {
	x.engine.Cancel()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.answered || x.ended {
		return
	}
	x.timers = append(x.timers, time.AfterFunc(cancelGrace, func() {
		x.mu.Lock()
		answered := x.answered
		x.mu.Unlock()
		if !answered {
			x.engine.Kill(cloud.CodeTimeout)
		}
	}))
}

// killed runs when the engine was told to end the execution: if it does not,
// native code keeps it, and only the end of the process helps.
func (x *execution) killed() {
	go func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.ended {
			return
		}
		x.timers = append(x.timers, time.AfterFunc(x.worker.config.Grace, x.stuck))
	}()
}

func (x *execution) stuck() {
	x.mu.Lock()
	if x.ended {
		x.mu.Unlock()
		return
	}
	x.ended = true
	code := x.engine.Killed()
	x.begin(wire.TypeEnd, wire.End{Code: string(code), CPU: x.engine.CPU(), Error: &cloud.ScriptError{
		Name: "LimitError", Message: "the execution exceeded a limit (" + string(code) + ") in native code, which cannot be interrupted; its worker was stopped",
	}}.Append)
	x.flush()
	x.mu.Unlock()
	x.worker.out.drain()
	x.worker.config.Stuck()
}

func exitStuck() { os.Exit(ExitStuck) }
