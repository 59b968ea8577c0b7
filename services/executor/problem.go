package executor

import (
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

// writeProblem answers with p. Nothing may have been written before.
func writeProblem(w http.ResponseWriter, r *http.Request, p problem) {
	if r.Context().Err() != nil {
		return
	}
	document := cloud.ProblemOf(asError(p.err))
	document.ExecutionID = p.executionID
	if document.Error = p.thrown; p.thrown != nil {
		document.Detail = p.thrown.Name + ": " + p.thrown.Message
	}
	if p.sandboxed {
		w.Header().Set("Content-Security-Policy", "sandbox")
	}
	document.WriteTo(w)
}
