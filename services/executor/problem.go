package executor

import (
	"encoding/json"
	"net/http"

	"github.com/picloud/picloud/services/cloud"
)

// problem is a failure as an answer.
type problem struct {
	err         error
	executionID string             // "" if there was no execution
	thrown      *cloud.ScriptError // what the script threw; nil keeps it to the log
	sandboxed   bool
}

// problemDocument is the body of such an answer (RFC 9457).
type problemDocument struct {
	Type        string             `json:"type"`
	Title       string             `json:"title"`
	Status      int                `json:"status"`
	Detail      string             `json:"detail"`
	Code        cloud.Code         `json:"code"`
	ExecutionID string             `json:"execution_id,omitempty"`
	Error       *cloud.ScriptError `json:"error,omitempty"`
}

// writeProblem answers with p. Nothing may have been written before.
func writeProblem(w http.ResponseWriter, r *http.Request, p problem) {
	if r.Context().Err() != nil {
		return
	}
	e := asError(p.err)
	status := e.Code.Status()
	detail := e.Message
	if p.thrown != nil {
		detail = p.thrown.Name + ": " + p.thrown.Message
	}
	body, _ := json.Marshal(problemDocument{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: detail, Code: e.Code, ExecutionID: p.executionID, Error: p.thrown,
	}) // strings and numbers always encode
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", itoa(int64(len(body))))
	h.Set("Cache-Control", "no-store")
	if p.sandboxed {
		h.Set("Content-Security-Policy", "sandbox")
	}
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
