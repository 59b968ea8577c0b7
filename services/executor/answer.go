package executor

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// creditStep is how many bytes of a response body are taken before the worker
// is granted as many again.
const creditStep = 64 << 10

// serve runs the execution, which has its place in the gate, and answers.
func (e *execution) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	defer e.side(false)
	e.started = e.x.cfg.Now()
	start, streamed := e.startFrame(r)
	e.once = !streamed
	if err := e.begin(r.Context(), &start, body); err != nil {
		e.stillborn(w, r, err)
		return
	}
	if streamed {
		defer e.pumped(w, r)()
	}
	var committed bool // the head is written
	var buffer []byte
	var taken uint32 // bytes not yet granted anew
	for {
		select {
		case <-e.news:
		case <-r.Context().Done():
			e.abandon()
			panic(http.ErrAbortHandler)
		}
		e.mu.Lock()
		if e.repeat {
			e.repeat = false
			e.mu.Unlock()
			if err := e.begin(r.Context(), &start, body); err != nil {
				e.stillborn(w, r, err)
				return
			}
			continue
		}
		head, chunk, answered, ended, failure := e.head, e.body, e.answered, e.ended, e.failure
		e.body = buffer[:0]
		e.mu.Unlock()

		failed := ended && !answered
		if streamed && !committed && (head != nil || failed) {
			e.announceClose(w, r)
		}
		if head != nil && !committed && !failed {
			if bad := e.writeHead(w, head); bad != nil {
				e.reject(w, r, bad)
				return
			}
			committed = true
		}
		switch {
		case failed && committed:
			panic(http.ErrAbortHandler)
		case failed:
			e.status = failure.Code.Status()
			e.problem(w, r, failure)
			return
		}
		if len(chunk) > 0 {
			if bodyAllowed(head.Status) {
				if _, err := w.Write(chunk); err != nil {
					e.abandon()
					return
				}
			}
			taken += uint32(len(chunk))
		}
		buffer = chunk
		if answered {
			return
		}
		if committed && head.Length < 0 {
			_ = http.NewResponseController(w).Flush()
		}
		if taken >= creditStep {
			e.grant(taken)
			taken = 0
		}
	}
}

// stillborn answers for an execution that no worker took.
func (e *execution) stillborn(w http.ResponseWriter, r *http.Request, err error) {
	failure := asError(err)
	e.close(wire.End{}, failure)
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	e.status = failure.Code.Status()
	e.problem(w, r, failure)
}

// grant lets the worker send n more bytes of response body.
func (e *execution) grant(n uint32) {
	e.mu.Lock()
	e.allowance += int64(n)
	over := e.ended
	e.mu.Unlock()
	if over {
		return
	}
	out := e.worker.out
	b, at := wire.Begin(out.begin(), wire.TypeCredit, e.id)
	out.commit(wire.Finish(wire.AppendCredit(b, n), at))
	out.flush(e.worker.spawn)
}

// abandon tells the worker that nobody waits for the answer any more. The
// execution goes on until the worker says that it has ended.
func (e *execution) abandon() {
	e.mu.Lock()
	e.detached, e.body = true, nil
	over, orphan := e.ended || e.answered, e.repeat
	e.repeat = false
	e.mu.Unlock()
	e.room.Broadcast()
	switch {
	case orphan:
		failure := deadWith(false)
		e.close(wire.End{}, failure)
	case !over:
		out := e.worker.out
		out.commit(wire.Append(out.begin(), wire.TypeCancel, e.id, nil))
		out.flush(e.worker.spawn)
	}
}

// reject answers in place of a response that is not fit to be sent.
func (e *execution) reject(w http.ResponseWriter, r *http.Request, bad *cloud.Error) {
	e.abandon()
	e.status = bad.Code.Status()
	e.rejected = bad
	e.problem(w, r, bad)
}

// writeHead writes the head of the script's response, or says why it cannot be
// one.
func (e *execution) writeHead(w http.ResponseWriter, head *wire.Response) *cloud.Error {
	if bad := checkHead(head); bad != nil {
		return bad
	}
	out := w.Header()
	for i := range head.Headers {
		h := &head.Headers[i]
		if lower := strings.ToLower(h.Name); hopByHop(lower) || lower == "content-length" || lower == "set-cookie" && setsSession(h.Value) ||
			e.plan.Sandboxed && changesOrigin(lower) {
			continue
		}
		name := http.CanonicalHeaderKey(h.Name)
		out[name] = append(out[name], h.Value)
	}
	if e.plan.Sandboxed {
		out.Add("Content-Security-Policy", "sandbox")
	}
	if head.Length >= 0 && bodyAllowed(head.Status) {
		out["Content-Length"] = []string{itoa(head.Length)}
	}
	e.status = head.Status
	w.WriteHeader(head.Status)
	return nil
}

// checkHead refuses what is no head of a response.
func checkHead(head *wire.Response) *cloud.Error {
	if head.Status < 200 || head.Status > 599 {
		return cloud.Errorf(cloud.CodeInvalidResponse, "the script's response has the status %d; 200 to 599 are possible", head.Status)
	}
	for i := range head.Headers {
		h := &head.Headers[i]
		if !httpguts.ValidHeaderFieldName(h.Name) || !httpguts.ValidHeaderFieldValue(h.Value) {
			return cloud.Errorf(cloud.CodeInvalidResponse, "the script's response has a header field %q that HTTP does not allow", h.Name)
		}
	}
	return nil
}

// changesOrigin tells whether a field, in lower case, does something to all pages
// of its host, which in a sandboxed answer is the dashboard's.
func changesOrigin(name string) bool {
	switch name {
	case "set-cookie", "clear-site-data", "strict-transport-security", "service-worker-allowed":
		return true
	}
	return false
}

// bodyAllowed tells whether a response with this status has a body (RFC 9110,
// section 6.4.1).
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// problem answers with a failure of this execution.
func (e *execution) problem(w http.ResponseWriter, r *http.Request, failure *cloud.Error) {
	p := problem{err: failure, executionID: e.id0, sandboxed: e.plan.Sandboxed}
	e.mu.Lock()
	threw := e.end.Error != nil
	e.mu.Unlock()
	if threw && e.x.cfg.CanReadLogs(e.plan.Principal, e.plan.App.ID) {
		p.thrown = e.thrown()
	}
	writeProblem(w, r, p)
}

// asError is err as something to answer with.
func asError(err error) *cloud.Error {
	var e *cloud.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return cloud.Errorf(cloud.CodeTimeout, "the time for it was over").Because(err)
	}
	return cloud.Errorf(cloud.CodeInternal, "the script could not be run").Because(err)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
