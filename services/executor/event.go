package executor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// ErrNotRun is in the chain of Run's errors: nothing of the script has run.
var ErrNotRun = errors.New("the event was not run")

// Invocation is what a script is run for when nobody waits for an answer.
type Invocation struct {
	Handler string               // method of the script's default export: "scheduled", "trigger", "fetch"
	Event   json.RawMessage      // its first argument, a JSON object, unless that is a request
	Request *cloud.StoredRequest // the first argument of "fetch"

	Trigger string // for the record: the event's kind, or "async" for a request
	EventID string
	CauseID string // execution that caused the event, or ""
	Depth   int
	Attempt int // 1 for the first
}

// Outcome is how a run has ended.
type Outcome struct {
	Code        cloud.Code         // why it failed; "" if it did not
	Error       *cloud.ScriptError // what was thrown, in terms of the user's source, or what the platform says of the failure
	Status      int                // of the answer of "fetch"; 0 without one
	NoRetry     bool               // the script asked not to be run again for this event
	ExecutionID string
}

// cutGrace is how long a worker may take to end an execution that is cut off: it
// gives the script a moment, and itself another.
const cutGrace = 4 * grace

var errCut = cloud.Errorf(cloud.CodeUnavailable, "the execution was cut off, since PiCloud was stopping")

// Run runs a handler for an event, and returns when it has ended, with all that it
// gave to waitUntil. The execution takes a place in the same gate as requests, for
// which it waits as long as begin lasts; an error is one about the time before the
// script runs, and has ErrNotRun in its chain. Once it runs, only the end of ctx
// cuts it off, soon after which Run returns.
//
// A handler other than "fetch" has failed if it throws or exceeds a limit, or
// something fails that it gave to waitUntil; "fetch" also if it answers with a
// status of 500 or more. Of its answer nothing but the status is kept.
func (x *Executor) Run(begin, ctx context.Context, plan *cloud.Plan, inv Invocation) (Outcome, error) {
	if plan == nil || plan.Script.Build == nil || (inv.Handler == fetchHandler) != (inv.Request != nil) {
		x.cfg.Logger.Error("event without a plan reached the executor", "event_id", inv.EventID)
		return failed(cloud.Errorf(cloud.CodeInternal, "no script was chosen for this event")), nil
	}
	begin, cancel := context.WithCancel(begin)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	if err := x.enter(begin, events, plan.App.ID); err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrNotRun, err)
	}
	e := newExecution(x, plan)
	e.event, e.handler, e.trigger = true, inv.Handler, inv.Trigger
	e.eventID, e.causeID, e.depth, e.attempt = inv.EventID, inv.CauseID, inv.Depth, inv.Attempt
	e.requestID = cmp.Or(inv.EventID, e.id0)
	return e.attend(begin, ctx, &inv)
}

// attend runs the execution, which has its place in the gate, to its end.
func (e *execution) attend(begin, ctx context.Context, inv *Invocation) (Outcome, error) {
	e.started = e.x.cfg.Now()
	start, streamed := e.eventFrame(inv)
	var body []byte
	if inv.Request != nil && !streamed {
		body = inv.Request.Body
	}
	e.once = !streamed
	if err := e.begin(begin, &start, body); err != nil {
		return e.notRun(err)
	}
	if streamed {
		pumped := make(chan struct{})
		go func() {
			defer close(pumped)
			e.pump(bytes.NewReader(inv.Request.Body))
		}()
		defer func() { <-pumped }()
	}
	over := ctx.Done()
	var granted int64 // bytes of response body, all of which are dropped
	for {
		select {
		case <-e.news:
		case <-over:
			over = nil
			e.cutOff()
		}
		e.mu.Lock()
		repeat, received, ended := e.repeat, e.received, e.ended
		e.repeat = false
		e.mu.Unlock()
		switch {
		case repeat:
			err := ctx.Err()
			if err == nil {
				err = e.begin(begin, &start, body)
			}
			if err != nil {
				return e.notRun(err)
			}
		case ended:
			o := e.outcome()
			e.side(false)
			return o, nil
		case received-granted >= creditStep:
			e.grant(uint32(received - granted))
			granted = received
		}
	}
}

// eventFrame is what the worker is told of the execution; streamed says that a
// body follows.
func (e *execution) eventFrame(inv *Invocation) (start wire.Start, streamed bool) {
	q := inv.Request
	if q == nil {
		start = e.start()
		start.Event = inv.Event
		return start, false
	}
	r := restored(q)
	e.method, e.path, e.requestID = r.Method, r.URL.Path, requestID(r, e.requestID)
	start, streamed = e.startFrame(r)
	if e.plan.URL == "" {
		start.URL = q.URL
	}
	if e.plan.Params == nil {
		start.Params = params(q.Params)
	}
	return start, streamed
}

// restored is a stored request as a server would have it.
func restored(q *cloud.StoredRequest) *http.Request {
	u, err := url.Parse(q.URL)
	if err != nil {
		u = &url.URL{}
	}
	return &http.Request{
		Method: q.Method, URL: u, Host: u.Host, Header: q.Header,
		Body: io.NopCloser(bytes.NewReader(q.Body)), ContentLength: int64(len(q.Body)),
	}
}

// notRun gives up an execution that no worker has seen.
func (e *execution) notRun(err error) (Outcome, error) {
	e.unborn = true
	e.close(wire.End{}, asError(err))
	e.side(false)
	return Outcome{}, fmt.Errorf("%w: %w", ErrNotRun, err)
}

// cutOff has the worker end the execution, and kills it if it does not. One that
// no worker has seen is left alone.
func (e *execution) cutOff() {
	e.mu.Lock()
	unseen := e.repeat
	if !e.ended && !unseen {
		e.cut = true
		e.timer.Reset(cutGrace)
	}
	e.mu.Unlock()
	if !unseen {
		e.abandon()
	}
}

// outcome is how it ended.
func (e *execution) outcome() Outcome {
	if e.head != nil {
		if e.rejected = checkHead(e.head); e.rejected == nil {
			e.status = e.head.Status
		}
	}
	o := Outcome{Status: e.status, NoRetry: e.end.NoRetry, ExecutionID: e.id0}
	switch failure := cmp.Or(e.failure, e.rejected); {
	case failure != nil:
		o.Code = failure.Code
		if o.Error = e.thrown(); o.Error == nil {
			o.Error = failed(failure).Error
		}
	case e.status >= http.StatusInternalServerError:
		o.Code = cloud.CodeScriptThrew
		o.Error = &cloud.ScriptError{Name: "Error", Message: fmt.Sprintf("the handler answered with status %d", e.status)}
	}
	return o
}

// failed is the outcome that err has in place of a script.
func failed(err *cloud.Error) Outcome {
	return Outcome{Code: err.Code, Error: &cloud.ScriptError{Name: "Error", Message: err.Message, Code: string(err.Code)}}
}
