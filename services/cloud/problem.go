package cloud

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// Problem is the body of a failed answer, RFC 9457.
type Problem struct {
	Type        string       `json:"type"`
	Title       string       `json:"title"`
	Status      int          `json:"status"`
	Detail      string       `json:"detail"`
	Code        Code         `json:"code"`
	Field       string       `json:"field,omitempty"`
	Details     any          `json:"details,omitempty"`
	ExecutionID string       `json:"execution_id,omitempty"`
	Error       *ScriptError `json:"error,omitempty"` // what the script threw, for callers who may read logs
}

// ProblemOf describes err. What is no *Error is an internal fault, of which
// the answer says nothing more.
func ProblemOf(err error) Problem {
	e := Errorf(CodeInternal, "something went wrong inside PiCloud; its log says what")
	errors.As(err, &e)
	status := e.Code.Status()
	return Problem{
		Type:    "about:blank",
		Title:   http.StatusText(status),
		Status:  status,
		Detail:  e.Message,
		Code:    e.Code,
		Field:   e.Field,
		Details: e.Details,
	}
}

// RetryAfter is when to try again, in seconds; 0 if that would change nothing.
func (p Problem) RetryAfter() int {
	if d, ok := p.Details.(RetryDetails); ok {
		return max(1, d.RetryAfter)
	}
	if p.Status == http.StatusServiceUnavailable {
		return 1
	}
	return 0
}

// WriteTo answers with the problem.
func (p Problem) WriteTo(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		p.Details = nil
		body, _ = json.Marshal(p)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if after := p.RetryAfter(); after > 0 {
		h.Set("Retry-After", strconv.Itoa(after))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
