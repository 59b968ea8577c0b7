package manager

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/picloud/picloud/services/cloud"
)

type executionJSON struct {
	ID              string             `json:"id" format:"uuid"`
	Script          string             `json:"script" doc:"The script's name then"`
	Version         int                `json:"version"`
	Trigger         string             `json:"trigger" doc:"http, async (a request to an async route), or the kind of an event" example:"http"`
	EventID         *string            `json:"event_id" doc:"Of the event that it is an attempt for; null for a request that waits"`
	Attempt         int                `json:"attempt" doc:"1 for the first of the event; 0 without one"`
	Depth           int                `json:"depth" doc:"0 for a request, one more for each event that led here"`
	CauseID         *string            `json:"cause_id" doc:"Execution that caused the event; null if none did"`
	RequestID       string             `json:"request_id"`
	Method          string             `json:"method"`
	Path            string             `json:"path" doc:"Without the query, which may hold secrets"`
	Status          int                `json:"status" doc:"0 if there was nobody to answer"`
	Code            cloud.Code         `json:"code" doc:"Why the platform answered instead of the script; empty if the script did"`
	StartedAt       time.Time          `json:"started_at"`
	DurationMS      float64            `json:"duration_ms"`
	CPUMS           float64            `json:"cpu_ms"`
	PeakMemoryBytes int64              `json:"peak_memory_bytes" doc:"0 if unknown"`
	Lines           []cloud.LogLine    `json:"lines" nullable:"false"`
	Truncated       bool               `json:"truncated" doc:"Lines hit the log limit"`
	Error           *cloud.ScriptError `json:"error"`
}

// TransformSchema says that error may be null.
func (executionJSON) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "error")
}

func newExecutionJSON(e cloud.Execution) executionJSON {
	lines := e.Lines
	if lines == nil {
		lines = []cloud.LogLine{}
	}
	return executionJSON{
		ID: e.ID, Script: e.ScriptName, Version: e.Version, Trigger: e.Trigger,
		EventID: idOrNull(e.EventID), Attempt: e.Attempt, Depth: e.Depth, CauseID: idOrNull(e.CauseID), RequestID: e.RequestID,
		Method: e.Method, Path: e.Path, Status: e.Status, Code: e.Code, StartedAt: e.StartedAt.UTC(),
		DurationMS: inMilliseconds(e.Duration), CPUMS: inMilliseconds(e.CPU), PeakMemoryBytes: e.PeakMemory,
		Lines: lines, Truncated: e.Truncated, Error: e.Error,
	}
}

// idOrNull is nil for "".
func idOrNull(id string) *string {
	if id == "" {
		return nil
	}
	return &id
}

// timeOrNull is nil for the zero time.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// inMilliseconds keeps microseconds as the fraction.
func inMilliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// eventStateJSON tells what became of an event.
type eventStateJSON struct {
	ID         string          `json:"id" format:"uuid" doc:"Of the event; of a request that waited for its answer, the execution's"`
	App        string          `json:"app" doc:"Slug"`
	Status     string          `json:"status" enum:"queued,running,retrying,succeeded,dead,failed" doc:"failed: a request that waited for its answer and got an error"`
	Attempts   int             `json:"attempts" doc:"Begun so far"`
	NextAt     *time.Time      `json:"next_at" doc:"When the next attempt is due; null if none is"`
	Executions []executionJSON `json:"executions" nullable:"false" doc:"Those that are in the log, oldest first"`
	DeadLetter *string         `json:"dead_letter" doc:"Id of the dead letter, if it is dead"`
}

func newEventStateJSON(s cloud.EventState, app cloud.App) eventStateJSON {
	out := eventStateJSON{
		ID: s.ID, App: app.Slug, Status: s.Status, Attempts: s.Attempts, NextAt: timeOrNull(s.NextAt),
		Executions: make([]executionJSON, len(s.Executions)), DeadLetter: idOrNull(s.DeadLetter),
	}
	for i, e := range s.Executions {
		out.Executions[i] = newExecutionJSON(e)
	}
	return out
}

func (m *Manager) registerExecutions(api huma.API) {
	type listInput struct {
		AppPath
		Script string    `query:"script" doc:"Name or id"`
		Failed bool      `query:"failed" doc:"Only those that the platform answered, or with a status of 500 and more"`
		Since  time.Time `query:"since" doc:"Only those that started at or after this time, RFC 3339"`
		Before string    `query:"before" doc:"Only those before the execution with this id: the last of the page before"`
		Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}
	operation(m, api, huma.Operation{
		OperationID: "list-executions", Method: http.MethodGet, Path: prefix + "/apps/{app}/executions", Tags: []string{"executions"},
		Summary: "List an app's executions, newest first",
	}, func(ctx context.Context, c *caller, in *listInput) (*items[executionJSON], error) {
		records, err := m.Executions(ctx, c.app.ID, ExecutionQuery{
			Script: in.Script, Failed: in.Failed, Before: in.Before, Since: in.Since, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		list := make([]executionJSON, len(records))
		for i, e := range records {
			list[i] = newExecutionJSON(e)
		}
		return listOf(list), nil
	})

	type getInput struct {
		AppPath
		ID string `path:"id"`
	}
	operation(m, api, huma.Operation{
		OperationID: "get-execution", Method: http.MethodGet, Path: prefix + "/apps/{app}/executions/{id}", Tags: []string{"executions"},
		Summary: "Show an execution",
	}, func(ctx context.Context, c *caller, in *getInput) (*body[executionJSON], error) {
		e, err := m.Execution(ctx, c.app.ID, in.ID)
		return &body[executionJSON]{newExecutionJSON(e)}, err
	})

	type findInput struct {
		ID string `path:"id" doc:"The execution_id of an async route's answer, the id of an event, or of an execution"`
	}
	operation(m, api, huma.Operation{
		OperationID: "find-execution", Method: http.MethodGet, Path: prefix + "/executions/{id}", Tags: []string{"executions"},
		Summary:     "Tell what became of a request or an event, whichever app it is of",
		Description: "Needs AppReadLogs in that app. What the caller may not see is not found.",
	}, func(ctx context.Context, c *caller, in *findInput) (*body[eventStateJSON], error) {
		s, app, err := m.EventState(ctx, c.principal, in.ID)
		if err != nil {
			return nil, err
		}
		return &body[eventStateJSON]{newEventStateJSON(s, app)}, nil
	})

	type tailInput struct {
		AppPath
		Script string `query:"script" doc:"Name or id"`
	}
	type tailOutput struct {
		Body func(huma.Context)
	}
	operation(m, api, huma.Operation{
		OperationID: "tail-executions", Method: http.MethodGet, Path: prefix + "/apps/{app}/executions:tail", Tags: []string{"executions"},
		Summary:     "Stream executions as they end",
		Description: "Server-sent events named execution, each with an Execution as its data. The stream ends when the caller's key or session does.",
		Responses: map[string]*huma.Response{"200": {
			Description: "A stream that lasts until the client or the server closes it",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}, "default": problemResponse},
	}, func(ctx context.Context, c *caller, in *tailInput) (*tailOutput, error) {
		// The subscription begins before the answer, and ends with the stream.
		ctx, cancel := context.WithCancel(ctx)
		events, err := m.Tail(ctx, c.app.ID, in.Script)
		if err != nil {
			cancel()
			return nil, err
		}
		return &tailOutput{Body: func(hctx huma.Context) {
			defer cancel()
			_, w := humago.Unwrap(hctx)
			m.stream(ctx, w, events, c.again)
		}}, nil
	})
}

// stream writes events until the caller goes or may not see them any more, as
// again tells, the server stops or events is closed.
func (m *Manager) stream(ctx context.Context, w http.ResponseWriter, events <-chan cloud.Execution, again func(context.Context) error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Time{}) // a stream outlives the server's deadline for answers, where there is one
	w.WriteHeader(http.StatusOK)
	heartbeat := time.NewTimer(m.heartbeat)
	defer heartbeat.Stop()
	review := time.NewTimer(m.heartbeat)
	defer review.Stop()
	for {
		if out.Flush() != nil {
			return
		}
		var err error
		select {
		case <-ctx.Done():
			return
		case <-m.stopping:
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			err = writeEvent(w, e)
		case <-heartbeat.C:
			_, err = w.Write([]byte(": still here\n\n"))
		case <-review.C:
			if m.expelled(ctx, again) {
				return
			}
			review.Reset(m.heartbeat)
			continue
		}
		if err != nil {
			return
		}
		heartbeat.Reset(m.heartbeat)
	}
}

// reviewTime bounds how long a stream waits for the answer whether its caller
// may still see it.
const reviewTime = 5 * time.Second

// expelled tells whether a caller is known to have lost the right to what it
// gets.
func (m *Manager) expelled(ctx context.Context, again func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	switch cloud.CodeOf(again(ctx)) {
	case cloud.CodeUnauthorized, cloud.CodeForbidden, cloud.CodeNotFound:
		return true
	}
	return false
}

func writeEvent(w http.ResponseWriter, e cloud.Execution) error {
	data, err := json.Marshal(newExecutionJSON(e)) // one line: JSON escapes line ends
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "event: execution\nid: %s\ndata: %s\n\n", e.ID, data)
	return err
}
