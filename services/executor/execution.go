package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// grace is how long after the wall clock limit a worker has to interrupt the
// script and say so before it is killed.
const grace = 250 * time.Millisecond

// execution is one run of a script from its request or event to its record. Two
// sides work on it: the goroutine that serves the request or delivers the event,
// and the one that reads from the worker. The record is made by whichever is done
// last.
type execution struct {
	x         *Executor
	plan      *cloud.Plan
	id0       string // the execution's id in the log
	handler   string // method of the script's default export
	event     bool   // nobody waits for an answer
	trigger   string // for the record
	eventID   string
	causeID   string
	depth     int
	attempt   int
	requestID string
	method    string
	path      string
	started   time.Time

	// Set when a worker takes the execution.
	worker  *worker
	program *program
	id      uint32 // number on the worker's socket
	batch   uint64 // output batch with its Start frame
	timer   *time.Timer

	news chan struct{} // has an element when something below changed

	mu        sync.Mutex
	room      sync.Cond      // signalled when bodyRoom grows or the execution ends
	bodyRoom  int64          // bytes of request body that the worker accepts
	bodyRead  bool           // the request body was read to its end
	head      *wire.Response // nil before it arrives
	body      []byte         // of the response, not yet taken
	received  int64          // bytes of response body in all
	allowance int64          // bytes of response body that the worker may still send
	answered  bool           // the response is complete
	detached  bool           // nobody takes the response any more
	repeat    bool           // the worker died before it saw the execution: start it again
	once      bool           // it may be started again
	cut       bool           // its time was ended from outside
	overdue   bool           // the worker is killed because of it
	ended     bool           // nothing comes from the worker any more
	end       wire.End
	failure   *cloud.Error // why the platform answers; nil: the script does

	// Of the request's side.
	status   int          // of the answer; 0 without one
	rejected *cloud.Error // why the script's response could not be sent
	unborn   bool         // nothing of the script has run: there is no record

	// Of the worker's side.
	lines     []cloud.LogLine
	stacks    bool // lines may have stacks
	logged    int
	truncated bool
	calls     hostCalls
	hidden    hidden // of both sides

	sides atomic.Int32 // that are not done

	mapping sync.Once
	mapped  *cloud.ScriptError // see thrown
}

// fetchHandler is the handler that answers.
const fetchHandler = "fetch"

func newExecution(x *Executor, plan *cloud.Plan) *execution {
	e := &execution{
		x: x, plan: plan, id0: x.cfg.NewID(),
		news: make(chan struct{}, 1), bodyRoom: wire.InitialCredit, allowance: wire.InitialCredit,
	}
	e.room.L = &e.mu
	e.sides.Store(2)
	return e
}

// wake tells the request's side that something changed.
func (e *execution) wake() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// begin puts the execution on a worker of its app and starts its clock.
func (e *execution) begin(ctx context.Context, start *wire.Start, body []byte) error {
	limits := &e.plan.Script.Limits
	for range 3 {
		w, err := e.x.pool.worker(ctx, e.plan.App.ID, limits.Memory)
		if err != nil {
			return err
		}
		e.timer = time.AfterFunc(limits.Wall+grace, func() { e.expire(w) })
		err = w.begin(e, start, body)
		if err == nil {
			return nil
		}
		e.timer.Stop()
		if !errors.Is(err, errGone) {
			return err
		}
	}
	return deadWith(false)
}

// expire kills a worker that has let the execution run past its limit.
func (e *execution) expire(w *worker) {
	e.mu.Lock()
	expired := !e.ended
	e.overdue = expired
	e.mu.Unlock()
	if expired {
		w.kill(fmt.Errorf("execution %s of script %s ran past its time and was not interrupted", e.id0, e.plan.Script.Name))
	}
}

// handle takes a frame from the worker. An error means that the worker broke
// the protocol; ended, that nothing of this execution may follow.
func (e *execution) handle(f wire.Frame) (ended bool, err error) {
	switch f.Type {
	case wire.TypeResponse:
		if e.handler != fetchHandler {
			return false, errors.New("a response to an event")
		}
		head, err := wire.ParseResponse(f.Payload)
		if err != nil {
			return false, err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.head != nil {
			return false, errors.New("a second response")
		}
		e.head = &head
	case wire.TypeResponseBody:
		return false, e.takeBody(f.Payload)
	case wire.TypeResponseEnd:
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.head == nil || e.answered || len(f.Payload) > 0 {
			return false, errors.New("an end of no response")
		}
		if e.head.Length >= 0 && e.received != e.head.Length {
			return false, fmt.Errorf("a response of %d bytes that was to have %d", e.received, e.head.Length)
		}
		e.answered = true
	case wire.TypeBodyCredit:
		n, err := wire.ParseCredit(f.Payload)
		if err != nil {
			return false, err
		}
		e.mu.Lock()
		e.bodyRoom += int64(n)
		over := e.bodyRoom > 1<<32
		e.mu.Unlock()
		if over {
			return false, errors.New("a credit beyond measure")
		}
		e.room.Broadcast()
	case wire.TypeLog:
		l, err := wire.ParseLog(f.Payload)
		if err != nil {
			return false, err
		}
		e.log(l)
	case wire.TypeHostCall:
		return false, e.call(f.Payload)
	case wire.TypeEnd:
		end, err := wire.ParseEnd(f.Payload)
		if err != nil {
			return false, err
		}
		e.conclude(end)
		return true, nil
	default:
		return false, fmt.Errorf("a frame of type %d", f.Type)
	}
	return false, nil
}

func (e *execution) takeBody(p []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.head == nil || e.answered {
		return errors.New("a body of no response")
	}
	n := int64(len(p))
	e.received += n
	e.allowance -= n
	switch {
	case n > wire.MaxChunk:
		return fmt.Errorf("a chunk of %d bytes", n)
	case e.allowance < 0:
		return errors.New("a response body beyond its credit")
	case e.head.Length >= 0 && e.received > e.head.Length:
		return errors.New("a response body beyond its length")
	}
	if !e.detached && !e.event {
		e.body = append(e.body, p...)
	}
	return nil
}

// Bounds of what is kept of the console beside the limit itself: a worker marks
// where it cut, and lines without text are not free.
const (
	logMark  = 256
	maxLines = 10_000
)

// log keeps a console line as far as the limit goes.
func (e *execution) log(l wire.Log) {
	limit := e.plan.Script.Limits.Log + logMark
	if e.logged >= limit || len(e.lines) >= maxLines {
		e.truncated = true
		return
	}
	text := e.masking().Mask(printable(l.Text))
	if room := limit - e.logged; len(text) > room {
		text = strings.ToValidUTF8(text[:room], "")
		e.truncated = true
	}
	e.logged += len(text)
	switch l.Level {
	case "debug", "info", "warn", "error":
	default:
		l.Level = "info"
	}
	e.stacks = e.stacks || strings.Contains(text, "at ") && strings.Contains(text, e.plan.Script.Name+":")
	e.lines = append(e.lines, cloud.LogLine{At: e.x.cfg.Now(), Level: l.Level, Text: text})
}

// conclude is the end that the worker announces.
func (e *execution) conclude(end wire.End) {
	e.mu.Lock()
	failure := verdict(end)
	if failure == nil && !e.answered && !e.detached && e.handler == fetchHandler {
		failure = cloud.Errorf(cloud.CodeInvalidResponse, "the script ended without a response")
	}
	e.mu.Unlock()
	end.CPU, end.Peak = max(end.CPU, 0), max(end.Peak, 0)
	e.truncated = e.truncated || end.Truncated
	e.worker.finish(e)
	e.close(end, failure)
}

// verdict is the failure that an End frame tells of, or nil. What it says of
// the platform's own failures is not taken from a worker.
func verdict(end wire.End) *cloud.Error {
	switch code := cloud.Code(end.Code); code {
	case "":
		return nil
	case cloud.CodeTimeout:
		return cloud.Errorf(code, "the script ran longer than its wall clock limit allows")
	case cloud.CodeCPU:
		return cloud.Errorf(code, "the script used more CPU time than its limit allows")
	case cloud.CodeMemory:
		return cloud.Errorf(code, "the script used more memory than its limit allows")
	case cloud.CodeTooLarge:
		return cloud.Errorf(code, "the request body is larger than the script's limit for buffered bodies allows")
	case cloud.CodeLimit:
		return cloud.Errorf(code, "the response body is larger than the script's limit for buffered bodies allows")
	case cloud.CodeInvalidResponse:
		return cloud.Errorf(code, "the script returned something that is no response")
	default:
		if end.Error != nil && end.Error.Code == string(cloud.CodeUnavailable) {
			return cloud.Errorf(cloud.CodeUnavailable, "a service that the script needs is not available; try again in a moment")
		}
		return cloud.Errorf(cloud.CodeScriptThrew, "the script threw an exception; its log says which")
	}
}

// died is the end when the worker is dead: for want of memory or otherwise.
func (e *execution) died(memory bool) {
	unseen := !e.worker.out.wrote(e.batch)
	e.timer.Stop()
	e.mu.Lock()
	if unseen && e.once && !e.detached && !e.overdue {
		e.repeat, e.once = true, false
		e.mu.Unlock()
		e.wake()
		return
	}
	failure := deadWith(memory)
	if e.overdue {
		failure = verdict(wire.End{Code: string(cloud.CodeTimeout)})
	}
	e.mu.Unlock()
	e.close(wire.End{}, failure)
}

// close ends the worker's side, or stands in for it where there is none.
func (e *execution) close(end wire.End, failure *cloud.Error) {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.calls.stop(e)
	e.x.gate.leave(e.lane(), e.plan.App.ID)
	if end.Error != nil {
		end.Error.Name = printable(end.Error.Name)
		end.Error.Message = printable(end.Error.Message)
		end.Error.Stack = printable(end.Error.Stack)
		end.Error.Code = printable(end.Error.Code)
	}
	e.mu.Lock()
	if e.cut && failure != nil && failure.Code == cloud.CodeTimeout {
		end.Error, failure = nil, errCut
	}
	e.ended, e.end, e.failure = true, end, failure
	e.mu.Unlock()
	e.room.Broadcast()
	e.wake()
	e.side(true)
}

// lane is where it waits at the gate.
func (e *execution) lane() lane {
	if e.event {
		return events
	}
	return requests
}

// side notes that one side is done; the last one makes the record. The
// worker's side must not be held up by mapping a stack.
func (e *execution) side(ofWorker bool) {
	if e.sides.Add(-1) > 0 {
		return
	}
	if ofWorker && (e.end.Error != nil || e.stacks) {
		go e.record()
		return
	}
	e.record()
}

// record hands the execution's record to the log.
func (e *execution) record() {
	defer e.x.tally.done()
	if e.x.cfg.Log == nil || e.unborn {
		return
	}
	e.maskLines()
	var code cloud.Code
	if failure := cmp.Or(e.failure, e.rejected); failure != nil {
		code = failure.Code
	}
	e.x.cfg.Log.Add(cloud.Execution{
		ID: e.id0, AppID: e.plan.App.ID,
		ScriptID: e.plan.Script.ID, ScriptName: e.plan.Script.Name, Version: e.plan.Script.Version,
		Trigger: e.trigger, EventID: e.eventID, Attempt: e.attempt, Depth: e.depth, CauseID: e.causeID,
		RequestID: e.requestID, Method: printable(e.method), Path: e.masking().Mask(printable(e.path)),
		Status: e.status, Code: code,
		StartedAt: e.started, Duration: e.x.cfg.Now().Sub(e.started), CPU: e.end.CPU, PeakMemory: e.end.Peak,
		Lines: e.printed(), Truncated: e.truncated, Error: e.thrown(),
	})
}

// printed is what the console showed, with the stacks in it mapped to the user's
// source.
func (e *execution) printed() []cloud.LogLine {
	if !e.stacks || e.x.cfg.MapText == nil {
		return e.lines
	}
	texts := make([]string, len(e.lines))
	for i := range e.lines {
		texts[i] = e.lines[i].Text
	}
	e.x.cfg.MapText(e.plan.Script.Build, e.plan.Script.Name, texts)
	for i := range e.lines {
		e.lines[i].Text = texts[i]
	}
	return e.lines
}

// thrown is the exception with its stack mapped to the user's source and secrets
// masked.
func (e *execution) thrown() *cloud.ScriptError {
	if e.end.Error == nil {
		return nil
	}
	e.mapping.Do(func() {
		mapped := *e.end.Error
		mapped.Stack = e.x.cfg.MapStack(e.plan.Script.Build, mapped.Stack)
		for _, text := range []*string{&mapped.Name, &mapped.Message, &mapped.Stack, &mapped.Code} {
			*text = e.masking().Mask(*text)
		}
		e.mapped = &mapped
	})
	return e.mapped
}

// printable is s as Postgres can keep it: valid UTF-8 without U+0000.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return s
}
