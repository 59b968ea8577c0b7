// Package worker is the worker's half of the protocol of package wire: it keeps
// the programs of one app, runs executions on pooled runtimes and carries what
// they ask and answer.
package worker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
	"github.com/picloud/picloud/services/javascript/engine"
)

// Config tunes Serve. The zero value is ready.
type Config struct {
	// Memory is how many bytes of live heap scripts may use on top of what the
	// worker itself needs; when a garbage collection finds more, all executions
	// that ran when it began end with memory_exceeded. 0: no bound.
	Memory int64
	// Idle is how many runtimes of a program are kept when nothing uses them;
	// 0: 32, as many executions of an app as a node runs at once, or nearly. Making
	// one anew costs about a hundred requests.
	Idle int
	// Stuck is called when an execution runs on Grace after it was killed, which
	// only native code can do. Its End frame was written if that was possible.
	// The default leaves the process with ExitStuck.
	Stuck func()
	// Grace is how long a killed execution may take to end; 0: 250 ms.
	Grace time.Duration
}

// ExitStuck is the exit code of a worker that could not end an execution.
const ExitStuck = 70

// cancelGrace is how long an execution may go on when nobody waits for its
// answer and it has not answered yet.
const cancelGrace = 250 * time.Millisecond

// Serve speaks the protocol on conn until it is closed, then kills what runs,
// waits for it and returns nil, or an error that says what was wrong with the
// server's frames. It closes conn.
func Serve(conn net.Conn, config Config) error {
	if config.Idle == 0 {
		config.Idle = 32
	}
	if config.Grace == 0 {
		config.Grace = 250 * time.Millisecond
	}
	if config.Stuck == nil {
		config.Stuck = exitStuck
	}
	w := &worker{
		config: config, out: newWriter(conn), runners: runners{idle: config.Idle},
		programs: map[uint32]*program{}, executions: map[uint32]*execution{},
	}
	if config.Memory > 0 {
		stop := engine.WatchMemory(engine.Watch{Limit: config.Memory, Relieve: w.dropIdle, Kill: w.killOver, Ending: w.ending})
		defer stop()
	}
	ready, start := wire.Begin(nil, wire.TypeReady, 0)
	err := w.out.write(wire.Finish(append(ready, wire.Version), start))
	if err == nil {
		err = w.read(conn)
	}
	w.stop()
	_ = conn.Close()
	w.runners.close()
	return err
}

type worker struct {
	config Config
	out    *writer

	runners runners

	mu         sync.Mutex
	programs   map[uint32]*program
	executions map[uint32]*execution
	env        *engine.Env
}

func (w *worker) read(conn net.Conn) error {
	frames := wire.NewReader(conn, wire.MaxFromServer)
	for {
		f, err := frames.Read()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a frame: %w", err)
		}
		if err := w.handle(f); err != nil {
			return fmt.Errorf("frame of type %d, id %d: %w", f.Type, f.ID, err)
		}
	}
}

func (w *worker) handle(f wire.Frame) error {
	switch f.Type {
	case wire.TypeStart:
		s, err := wire.ParseStart(f.Payload)
		if err != nil {
			return err
		}
		return w.start(f.ID, s)
	case wire.TypeLoad:
		l, err := wire.ParseLoad(f.Payload)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.programs[f.ID] = newProgram(l, w.config.Idle)
		w.mu.Unlock()
		return nil
	case wire.TypeUnload:
		w.mu.Lock()
		p := w.programs[f.ID]
		delete(w.programs, f.ID)
		w.mu.Unlock()
		if p != nil {
			p.dropIdle()
		}
		return nil
	case wire.TypeEnv:
		env, err := engine.ParseEnv(f.Payload)
		if err != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		w.mu.Lock()
		w.env = env
		w.mu.Unlock()
		return nil
	}
	w.mu.Lock()
	x := w.executions[f.ID]
	w.mu.Unlock()
	return deliver(x, f)
}

// deliver hands a frame to its execution; x is nil if that has ended.
func deliver(x *execution, f wire.Frame) error {
	switch f.Type {
	case wire.TypeHostResult:
		r, err := wire.ParseHostResult(f.Payload)
		if err == nil && x != nil {
			x.engine.HostResult(r)
		}
		return err
	case wire.TypeBody:
		if x != nil {
			x.engine.Body(append([]byte(nil), f.Payload...))
		}
	case wire.TypeBodyEnd:
		if x != nil {
			x.engine.BodyEnd()
		}
	case wire.TypeBodyError:
		if x != nil {
			x.engine.BodyError(string(f.Payload))
		}
	case wire.TypeCredit:
		n, err := wire.ParseCredit(f.Payload)
		if err == nil && x != nil {
			x.engine.Credit(int(n))
		}
		return err
	case wire.TypeCancel:
		if x != nil {
			x.cancel()
		}
	default:
		return fmt.Errorf("%w: unknown type", wire.ErrMalformed)
	}
	return nil
}

func (w *worker) start(id uint32, s wire.Start) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.executions[id] != nil {
		return fmt.Errorf("%w: the execution is running", wire.ErrMalformed)
	}
	x := newExecution(w, id, s)
	w.executions[id] = x
	p, env := w.programs[s.Program], w.env
	w.runners.run(func() { x.run(p, env) })
	return nil
}

func (w *worker) remove(id uint32) {
	w.mu.Lock()
	over := w.executions[id].engine.Killed() == cloud.CodeMemory
	delete(w.executions, id)
	w.mu.Unlock()
	if over && !w.ending() {
		go debug.FreeOSMemory()
	}
}

// killAll ends all that runs.
func (w *worker) killAll(code cloud.Code) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.executions {
		x.engine.Kill(code)
	}
}

// killOver ends what shared the memory that is used up, if there is anything: see
// engine.Watch.
func (w *worker) killOver(before uint64) (some bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.executions {
		if x.looks < before {
			x.engine.Kill(cloud.CodeMemory)
			some = true
		}
	}
	return some
}

// ending tells whether something is there that killOver has ended.
func (w *worker) ending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.executions {
		if x.engine.Killed() == cloud.CodeMemory {
			return true
		}
	}
	return false
}

// dropIdle lets go of the runtimes that nothing uses.
func (w *worker) dropIdle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.programs {
		p.dropIdle()
	}
}

// stop ends everything: the server is gone.
func (w *worker) stop() {
	w.out.close()
	w.killAll(cloud.CodeWorkerDied)
	w.dropIdle()
}
