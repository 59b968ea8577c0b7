package executor

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// maxPrograms is how many compiled scripts a worker keeps; beyond it, those
// that ran longest ago are unloaded.
const maxPrograms = 64

// maxArgs is how many bytes of host calls may wait or run for one worker; the
// server reads no further from a worker that asks for more at once.
const maxArgs = 4 << 20

// errGone says that a worker takes no more executions.
var errGone = errors.New("the worker takes no more executions")

// errViolation is in the chain of errors about a worker that breaks the
// protocol in a way that no script can cause.
var errViolation = errors.New("protocol violation")

// worker is the server's half of one worker process. All of what it trusts the
// process with is to run the scripts of one app: what a frame means is decided
// by the execution that the server started under the frame's number.
type worker struct {
	appID  string
	memory int64
	log    *slog.Logger
	idle   time.Duration
	deaths *atomic.Int64
	proc   *process
	in     *wire.Reader
	out    *output

	tasks sync.WaitGroup // writes and host calls under way

	mu         sync.Mutex
	closing    bool // takes no more executions
	next       uint32
	executions map[uint32]*execution
	programs   map[string]*program // by hash
	latest     map[string]string   // script id → hash of the build that ran last
	env        *cloud.Env          // what the worker was told last
	lastNumber uint32
	clock      uint64 // counts starts, for choosing what to unload
	idleTimer  *time.Timer
	cause      error // why the server killed it; nil: it ended by itself

	argsMu   sync.Mutex
	argsRoom sync.Cond
	args     int
	argsDead bool
}

// program is a build that the worker has loaded.
type program struct {
	hash    string
	number  uint32
	running int
	retired bool // to be unloaded when nothing runs it
	used    uint64
}

// startWorker starts a process for the app and waits until its fences stand.
func (x *Executor) startWorker(appID string, memory int64) (*worker, error) {
	proc, err := x.launcher.start(memory)
	if err != nil {
		return nil, err
	}
	w := &worker{
		appID: appID, memory: memory, proc: proc,
		log: x.cfg.Logger, idle: x.cfg.IdleStop, deaths: &x.deaths,
		in:         wire.NewReader(proc.conn, wire.MaxFromWorker),
		out:        newOutput(proc.conn),
		executions: map[uint32]*execution{},
		programs:   map[string]*program{},
		latest:     map[string]string{},
	}
	w.argsRoom.L = &w.argsMu
	w.idleTimer = time.AfterFunc(time.Hour, w.stopIdle)
	w.idleTimer.Stop()
	_ = proc.conn.SetReadDeadline(time.Now().Add(x.cfg.StartWait))
	f, err := w.in.Read()
	switch {
	case err != nil:
	case f.Type != wire.TypeReady || f.ID != 0 || len(f.Payload) != 1:
		err = fmt.Errorf("%w: type %d instead of Ready", errViolation, f.Type)
	case f.Payload[0] != wire.Version:
		err = fmt.Errorf("it speaks version %d of the protocol, the server version %d", f.Payload[0], wire.Version)
	}
	if err != nil {
		proc.kill()
		end := proc.wait()
		return nil, fmt.Errorf("waiting for the worker: %w (said: %q)", errors.Join(err, end), proc.stderr)
	}
	_ = proc.conn.SetReadDeadline(time.Time{})
	w.idleTimer.Reset(w.idle)
	return w, nil
}

// begin starts e on the worker with what is known of its body, in one write.
// errGone: the worker is closing and nothing happened.
func (w *worker) begin(e *execution, start *wire.Start, body []byte) error {
	build := e.plan.Script.Build
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return errGone
	}
	if len(w.executions) == 0 {
		w.idleTimer.Stop()
	}
	w.next++
	for w.next == 0 || w.executions[w.next] != nil {
		w.next++
	}
	e.id, e.worker = w.next, w
	w.executions[e.id] = e

	b := w.out.begin()
	p := w.programs[build.Hash]
	if p == nil {
		w.lastNumber++
		p = &program{hash: build.Hash, number: w.lastNumber}
		w.programs[build.Hash] = p
		var at int
		b, at = wire.Begin(b, wire.TypeLoad, p.number)
		b = wire.Finish(wire.Load{Name: e.plan.Script.Name, Hash: build.Hash, Code: build.Code}.Append(b), at)
	}
	p.running++
	p.retired = false
	w.clock++
	p.used = w.clock
	e.program = p
	b = w.supersede(b, e.plan.Script.ID, build.Hash)

	b = w.tellEnv(b, e.plan.Env)

	start.Program = p.number
	b, at := wire.Begin(b, wire.TypeStart, e.id)
	b = wire.Finish(start.Append(b), at)
	if len(body) > 0 {
		b = wire.Append(b, wire.TypeBody, e.id, body)
	}
	if start.BodyLength == int64(len(body)) && start.BodyLength != 0 {
		b = wire.Append(b, wire.TypeBodyEnd, e.id, nil)
	}
	e.batch = w.out.commit(b)
	w.mu.Unlock()
	w.out.flush(w.spawn)
	return nil
}

// tellEnv appends an Env frame if the worker has another env than the execution
// that is about to start. Frames are in order, so each execution gets its own.
func (w *worker) tellEnv(b []byte, env *cloud.Env) []byte {
	if w.env == env {
		return b
	}
	if !bytes.Equal(w.env.Payload(), env.Payload()) {
		b = wire.Append(b, wire.TypeEnv, 0, env.Payload())
	}
	w.env = env
	return b
}

// supersede notes which build of a script ran last and unloads what is no
// longer wanted.
func (w *worker) supersede(b []byte, scriptID, hash string) []byte {
	if old, ok := w.latest[scriptID]; ok && old != hash {
		w.latest[scriptID] = hash
		if p := w.programs[old]; p != nil && !w.wanted(old) {
			b = w.unload(b, p)
		}
	} else if !ok {
		w.latest[scriptID] = hash
	}
	if len(w.programs) > maxPrograms {
		var oldest *program
		for _, p := range w.programs {
			if p.running == 0 && (oldest == nil || p.used < oldest.used) {
				oldest = p
			}
		}
		if oldest != nil {
			b = w.unload(b, oldest)
		}
	}
	return b
}

func (w *worker) wanted(hash string) bool {
	for _, h := range w.latest {
		if h == hash {
			return true
		}
	}
	return false
}

// unload appends an Unload frame, or puts it off until nothing runs the program.
func (w *worker) unload(b []byte, p *program) []byte {
	if p.running > 0 {
		p.retired = true
		return b
	}
	delete(w.programs, p.hash)
	for script, hash := range w.latest {
		if hash == p.hash {
			delete(w.latest, script)
		}
	}
	return wire.Append(b, wire.TypeUnload, p.number, nil)
}

// retire unloads the program with this hash.
func (w *worker) retire(hash string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.programs[hash]; p != nil && !w.closing {
		w.out.commit(w.unload(w.out.begin(), p))
		w.flushAside()
	}
}

// finish takes e off the worker. It is called by the reading goroutine alone.
func (w *worker) finish(e *execution) {
	w.mu.Lock()
	delete(w.executions, e.id)
	p := e.program
	p.running--
	unloaded := p.retired && p.running == 0
	if unloaded {
		w.out.commit(w.unload(w.out.begin(), p))
	}
	stop := false
	if len(w.executions) == 0 {
		if w.closing {
			stop = true
		} else {
			w.idleTimer.Reset(w.idle)
		}
	}
	w.mu.Unlock()
	if unloaded {
		w.flushAside()
	}
	if stop {
		w.proc.kill()
	}
}

// flushAside writes what is pending without blocking the caller, who either is
// the reading goroutine or holds the mutex of a worker that is not closing.
func (w *worker) flushAside() { w.tasks.Go(func() { w.out.flush(w.spawn) }) }

// spawn runs task in a goroutine that run waits for.
func (w *worker) spawn(task func()) { w.tasks.Go(task) }

// stopIdle ends a worker that has had nothing to do for a while.
func (w *worker) stopIdle() {
	w.mu.Lock()
	idle := len(w.executions) == 0
	if idle {
		w.closing = true
	}
	w.mu.Unlock()
	if idle {
		w.proc.kill()
	}
}

// drain lets the worker finish what it runs and then ends it.
func (w *worker) drain() {
	w.mu.Lock()
	w.closing = true
	idle := len(w.executions) == 0
	w.mu.Unlock()
	if idle {
		w.proc.kill()
	}
}

// kill ends the worker at once because of cause; what it runs fails.
func (w *worker) kill(cause error) {
	w.mu.Lock()
	w.closing = true
	if w.cause == nil {
		w.cause = cause
	}
	w.mu.Unlock()
	w.proc.kill()
	w.openArgs()
}

// run reads from the worker until it is dead, then tells everybody. It returns
// when no goroutine of the worker is left.
func (w *worker) run() {
	err := w.read()
	w.mu.Lock()
	w.closing = true
	w.idleTimer.Stop()
	if w.cause == nil && errors.Is(err, errViolation) {
		w.cause = err
	}
	cause, executions := w.cause, w.executions
	w.executions = map[uint32]*execution{}
	w.mu.Unlock()
	w.proc.kill()
	w.openArgs()
	w.out.fail(errGone)

	// A large process takes a while to fall; nobody need wait for that unless it
	// may still have something to say about why it died.
	var end error
	if cause == nil {
		end = w.proc.wait()
	}
	memory := cause == nil && w.proc.stderr.outOfMemory()
	if len(executions) > 0 {
		w.deaths.Add(1)
	}
	if len(executions) > 0 || errors.Is(cause, errViolation) {
		w.log.Warn("worker died",
			"app_id", w.appID, "executions", len(executions), "cause", cause, "read", err,
			"process", end, "out_of_memory", memory, "stderr", w.proc.stderr.String())
	}
	for _, e := range executions {
		e.died(memory)
	}
	if cause != nil {
		_ = w.proc.wait()
	}
	w.tasks.Wait()
}

// read handles frames until the socket ends or the worker breaks the protocol.
func (w *worker) read() error {
	var last *execution // has news that its request was not woken for yet
	for {
		if last != nil && !w.in.Buffered() {
			last.wake()
			last = nil
		}
		f, err := w.in.Read()
		if err != nil {
			if last != nil {
				last.wake()
			}
			if errors.Is(err, wire.ErrMalformed) {
				err = fmt.Errorf("%w: %w", errViolation, err)
			}
			return err
		}
		if last == nil || last.id != f.ID {
			if last != nil {
				last.wake()
			}
			w.mu.Lock()
			last = w.executions[f.ID]
			w.mu.Unlock()
			if last == nil {
				return fmt.Errorf("%w: type %d frame for execution %d, which does not run", errViolation, f.Type, f.ID)
			}
		}
		ended, err := last.handle(f)
		if err != nil {
			last.wake()
			return fmt.Errorf("%w: execution %d: %w", errViolation, f.ID, err)
		}
		if ended {
			last = nil
		}
	}
}

// reserveArgs waits until n more bytes of host calls may be held.
func (w *worker) reserveArgs(n int) {
	w.argsMu.Lock()
	for w.args > 0 && w.args+n > maxArgs && !w.argsDead {
		w.argsRoom.Wait()
	}
	w.args += n
	w.argsMu.Unlock()
}

func (w *worker) releaseArgs(n int) {
	w.argsMu.Lock()
	w.args -= n
	w.argsMu.Unlock()
	w.argsRoom.Signal()
}

// openArgs lets everybody through: the worker is dead.
func (w *worker) openArgs() {
	w.argsMu.Lock()
	w.argsDead = true
	w.argsMu.Unlock()
	w.argsRoom.Broadcast()
}

// available tells whether the worker takes executions.
func (w *worker) available() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.closing
}

// deadWith is the code of an execution whose worker died.
func deadWith(memory bool) *cloud.Error {
	if memory {
		return cloud.Errorf(cloud.CodeMemory, "the script used more memory than its limit allows, so its worker was ended")
	}
	return cloud.Errorf(cloud.CodeWorkerDied, "the app's worker ended before the script had answered; try again")
}
