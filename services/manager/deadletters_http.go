package manager

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type deadLetterJSON struct {
	ID         string             `json:"id" format:"uuid"`
	EventID    string             `json:"event_id" format:"uuid"`
	Kind       cloud.EventKind    `json:"kind" example:"kv"`
	Op         string             `json:"op" doc:"Of kinds that have one; test for what was fired by hand"`
	TriggerID  *string            `json:"trigger_id" doc:"null for a request to an async route"`
	Script     string             `json:"script" doc:"The script's name then"`
	Reason     cloud.Code         `json:"reason" doc:"Code of the last attempt's failure"`
	Attempts   int                `json:"attempts"`
	At         time.Time          `json:"at" doc:"When the event happened"`
	DiedAt     time.Time          `json:"died_at"`
	Resolution *cloud.Resolution  `json:"resolution" enum:"replayed,ignored,handled_by_script,handler_failed" doc:"null: it waits"`
	Note       string             `json:"note" doc:"What was said on resolving it"`
	ResolvedAt *time.Time         `json:"resolved_at"`
	ResolvedBy string             `json:"resolved_by" doc:"Name of a user, or script NAME"`
	Depth      int                `json:"depth" doc:"How many events led here"`
	Payload    json.RawMessage    `json:"payload,omitempty" doc:"Fields of the event; of an async route, the request. Absent in lists"`
	LastError  *cloud.ScriptError `json:"last_error,omitempty" doc:"What the last attempt threw. Absent in lists"`
}

func newDeadLetterJSON(l cloud.DeadLetter) deadLetterJSON {
	out := deadLetterJSON{
		ID: l.ID, EventID: l.EventID, Kind: l.Kind, Op: l.Op, TriggerID: idOrNull(l.TriggerID), Script: l.Script,
		Reason: l.Reason, Attempts: l.Attempt, At: l.At.UTC(), DiedAt: l.DiedAt.UTC(),
		Note: l.Note, ResolvedAt: timeOrNull(l.ResolvedAt), ResolvedBy: l.ResolvedBy, Depth: l.Depth,
	}
	if l.Resolution != "" {
		out.Resolution = &l.Resolution
	}
	return out
}

// DeadLetterPath is the part of a path that names a dead letter of an app.
type DeadLetterPath struct {
	AppPath
	ID string `path:"id"`
}

func (m *Manager) registerDeadLetters(api huma.API) {
	type listInput struct {
		AppPath
		Kind    cloud.EventKind `query:"kind" doc:"Only events of this kind" example:"kv"`
		Trigger string          `query:"trigger" doc:"Only of this trigger: id"`
		Script  string          `query:"script" doc:"Only of this script: name or id"`
		Waiting bool            `query:"waiting" doc:"Only those that nobody has settled: without a resolution, or handler_failed"`
		Before  string          `query:"before" doc:"Only those before the one with this id: the last of the page before"`
		Limit   int             `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	operation(m, api, huma.Operation{
		OperationID: "list-dead-letters", Method: http.MethodGet, Path: prefix + "/apps/{app}/dead-letters", Tags: []string{"dead letters"},
		Summary: "List an app's events that were given up, newest first",
	}, func(ctx context.Context, c *caller, in *listInput) (*items[deadLetterJSON], error) {
		letters, err := m.DeadLetters(ctx, c.call(), DeadLetterQuery{
			Kind: in.Kind, Trigger: in.Trigger, Script: in.Script, Waiting: in.Waiting, Before: in.Before, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		list := make([]deadLetterJSON, len(letters))
		for i, l := range letters {
			list[i] = newDeadLetterJSON(l)
		}
		return listOf(list), nil
	})

	operation(m, api, huma.Operation{
		OperationID: "get-dead-letter", Method: http.MethodGet, Path: prefix + "/apps/{app}/dead-letters/{id}", Tags: []string{"dead letters"},
		Summary: "Show a dead letter with its payload and last error",
	}, func(ctx context.Context, c *caller, in *DeadLetterPath) (*body[deadLetterJSON], error) {
		l, err := m.events.DeadLetter(ctx, c.call(), in.ID)
		out := newDeadLetterJSON(l)
		out.Payload, out.LastError = l.Payload, l.LastError
		return &body[deadLetterJSON]{out}, err
	})

	operation(m, api, huma.Operation{
		OperationID: "replay-dead-letter", Method: http.MethodPost, Path: prefix + "/apps/{app}/dead-letters/{id}/replay", Tags: []string{"dead letters"},
		Summary: "Deliver a dead letter again", Description: "As a first attempt, under the event's own id.", DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *DeadLetterPath) (*struct{}, error) {
		return &struct{}{}, m.events.Replay(ctx, c.call(), in.ID)
	})

	type resolveInput struct {
		DeadLetterPath
		Body struct {
			Resolution cloud.Resolution `json:"resolution" enum:"ignored,handled_by_script"`
			Note       string           `json:"note,omitempty" doc:"Why; at most 1,000 bytes"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "resolve-dead-letter", Method: http.MethodPost, Path: prefix + "/apps/{app}/dead-letters/{id}/resolve", Tags: []string{"dead letters"},
		Summary: "Settle a dead letter without delivering it", DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *resolveInput) (*struct{}, error) {
		return &struct{}{}, inResolve(m.events.ResolveAs(ctx, c.call(), in.ID, in.Body.Resolution, in.Body.Note))
	})

	type replayAllInput struct {
		AppPath
		Body *struct {
			Kind    cloud.EventKind `json:"kind,omitempty" doc:"Only events of this kind"`
			Trigger string          `json:"trigger,omitempty" doc:"Only of this trigger: id"`
			Script  string          `json:"script,omitempty" doc:"Only of this script: name or id"`
		}
	}
	type replayAllOutput struct {
		Body struct {
			Replayed int `json:"replayed" doc:"How many"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "replay-dead-letters", Method: http.MethodPost, Path: prefix + "/apps/{app}/dead-letters:replay", Tags: []string{"dead letters"},
		Summary: "Deliver all dead letters again that are not settled, or those that the body selects",
	}, func(ctx context.Context, c *caller, in *replayAllInput) (*replayAllOutput, error) {
		var q DeadLetterQuery
		if b := in.Body; b != nil {
			q = DeadLetterQuery{Kind: b.Kind, Trigger: b.Trigger, Script: b.Script}
		}
		out := &replayAllOutput{}
		var err error
		out.Body.Replayed, err = m.ReplayDeadLetters(ctx, c.call(), q)
		return out, err
	})
}

// inResolve returns err with its field as the API calls it.
func inResolve(err error) error {
	var e *cloud.Error
	if !errors.As(err, &e) || e.Field != "reason" {
		return err
	}
	c := *e
	c.Field = "note"
	return &c
}
