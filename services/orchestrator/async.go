package orchestrator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// ExecutionPrefix is the path on instance hosts that tells what became of an
// accepted request.
const ExecutionPrefix = "/api/v1/executions/"

// bodyTimeout is how long the body of a request to an async route may take.
const bodyTimeout = time.Minute

// accepted is the answer to a request that will be run.
type accepted struct {
	ExecutionID string    `json:"execution_id"`
	AcceptedAt  time.Time `json:"accepted_at"`
}

// accept stores a request for later and says under which id; instance tells
// whether the API is on this host.
func (d *Dispatcher) accept(w http.ResponseWriter, r *http.Request, plan *cloud.Plan, instance bool) {
	if d.Accept == nil {
		answer(w, cloud.Errorf(cloud.CodeUnavailable, "this server runs no async routes"))
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		answer(w, err)
		return
	}
	request := cloud.StoredRequest{
		Method: r.Method, URL: requestURL(r, r.URL.EscapedPath()), Header: r.Header.Clone(), Body: body, Params: plan.Params,
	}
	cloud.StripCredentials(request.Header)
	id, at, err := d.Accept(r.Context(), plan, request)
	if err != nil {
		answer(w, err)
		return
	}
	text, err := json.Marshal(accepted{ExecutionID: id, AcceptedAt: at.UTC()})
	if err != nil {
		answer(w, err)
		return
	}
	h := w.Header()
	if instance {
		h.Set("Location", ExecutionPrefix+id)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(append(text, '\n'))
}

// readBody reads a body of at most cloud.MaxEventPayload bytes.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := cloud.Errorf(cloud.CodeTooLarge, "the body of a request to an async route may have %d bytes", cloud.MaxEventPayload)
	if r.ContentLength > cloud.MaxEventPayload {
		return nil, tooLarge
	}
	if r.ContentLength == 0 || r.Body == nil {
		return nil, nil
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Now().Add(bodyTimeout)) // where that can be done
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, cloud.MaxEventPayload))
	_ = out.SetReadDeadline(time.Time{})
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge
	}
	if err != nil {
		return nil, cloud.Errorf(cloud.CodeInvalid, "the request body broke off").Because(err)
	}
	return body, nil
}
