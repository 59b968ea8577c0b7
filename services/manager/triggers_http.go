package manager

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type triggerJSON struct {
	ID     string          `json:"id" format:"uuid"`
	Script string          `json:"script" doc:"Name of the script that it runs"`
	Kind   cloud.EventKind `json:"kind" example:"kv"`
	cloud.TriggerFilter
	Enabled   bool       `json:"enabled"`
	Retry     retryJSON  `json:"retry"`
	User      string     `json:"user" doc:"Name of the user in whose name it runs; empty when there is none any more, and it does not run"`
	NextAt    *time.Time `json:"next_at" doc:"Next run of a schedule; null without one"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
}

func newTriggerJSON(t cloud.Trigger) triggerJSON {
	out := triggerJSON{
		ID: t.ID, Script: t.Script, Kind: t.Kind, TriggerFilter: t.Filter, Enabled: t.Enabled,
		Retry: retryJSON{
			Attempts: t.Retry.Attempts, Backoff: t.Retry.Backoff,
			BaseMS: t.Retry.Base.Milliseconds(), CapMS: t.Retry.Cap.Milliseconds(),
		},
		User: t.UserName, CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
	if t.Enabled {
		out.NextAt = timeOrNull(t.NextAt)
	}
	return out
}

type retryJSON struct {
	Attempts int           `json:"attempts" doc:"In all"`
	Backoff  cloud.Backoff `json:"backoff" enum:"exponential,linear,constant" doc:"How the pauses grow: base·2^(n-1), base·n, base; each within ±20 %"`
	BaseMS   int64         `json:"base_ms"`
	CapMS    int64         `json:"cap_ms" doc:"The longest pause"`
}

// retryDraftJSON is a retry policy as it is asked for.
type retryDraftJSON struct {
	Attempts int           `json:"attempts,omitempty" minimum:"1" maximum:"20" doc:"In all; 5 for a new trigger if absent"`
	Backoff  cloud.Backoff `json:"backoff,omitempty" enum:"exponential,linear,constant" doc:"exponential for a new trigger if absent"`
	BaseMS   int64         `json:"base_ms,omitempty" minimum:"100" maximum:"86400000" doc:"1,000 for a new trigger if absent"`
	CapMS    int64         `json:"cap_ms,omitempty" minimum:"100" maximum:"86400000" doc:"The longest pause; 3,600,000 for a new trigger if absent"`
}

func (r *retryDraftJSON) policy() cloud.RetryPolicy {
	if r == nil {
		return cloud.RetryPolicy{}
	}
	return cloud.RetryPolicy{Attempts: r.Attempts, Backoff: r.Backoff, Base: milliseconds(r.BaseMS), Cap: milliseconds(r.CapMS)}
}

// TriggerPath is the part of a path that names a trigger of an app.
type TriggerPath struct {
	AppPath
	Trigger string `path:"trigger" doc:"Id"`
}

func (m *Manager) registerTriggers(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-triggers", Method: http.MethodGet, Path: prefix + "/apps/{app}/triggers", Tags: []string{"triggers"},
		Summary: "List an app's triggers, the oldest first",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*items[triggerJSON], error) {
		triggers, err := m.Triggers(ctx, c.app.ID)
		if err != nil {
			return nil, err
		}
		list := make([]triggerJSON, len(triggers))
		for i, t := range triggers {
			list[i] = newTriggerJSON(t)
		}
		return listOf(list), nil
	})

	type addTriggerInput struct {
		AppPath
		Body struct {
			Script     string          `json:"script" doc:"Name of an endpoint script"`
			Kind       cloud.EventKind `json:"kind" doc:"kv, cron or dead_letter" example:"kv"`
			Collection string          `json:"collection,omitempty" doc:"kv: only collections that this glob matches (* is any text, ? one character)"`
			Key        string          `json:"key,omitempty" doc:"kv: only keys that this glob matches"`
			Ops        []string        `json:"ops,omitempty" nullable:"false" maxItems:"16" doc:"kv: set, delete; all if absent"`
			Schedule   string          `json:"schedule,omitempty" doc:"cron: 5 fields, 6 with seconds first, or a word such as @hourly" example:"0 7 * * MON-FRI"`
			TimeZone   string          `json:"time_zone,omitempty" doc:"cron: IANA name; UTC if absent" example:"Europe/Berlin"`
			Retry      *retryDraftJSON `json:"retry,omitempty"`
			Enabled    *bool           `json:"enabled,omitempty" doc:"true if absent"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "add-trigger", Method: http.MethodPost, Path: prefix + "/apps/{app}/triggers", Tags: []string{"triggers"},
		Summary: "Connect events to a script", DefaultStatus: http.StatusCreated,
		Description: "The script runs in the caller's name, with no more than the scopes of the key that the caller came with.",
	}, func(ctx context.Context, c *caller, in *addTriggerInput) (*body[triggerJSON], error) {
		b := in.Body
		t, err := m.AddTrigger(ctx, c.app.ID, c.principal, TriggerDraft{
			Script: b.Script, Kind: b.Kind,
			Filter: cloud.TriggerFilter{Collection: b.Collection, Key: b.Key, Ops: b.Ops, Schedule: b.Schedule, TimeZone: b.TimeZone},
			Retry:  b.Retry.policy(), Disabled: b.Enabled != nil && !*b.Enabled,
		})
		return &body[triggerJSON]{newTriggerJSON(t)}, err
	})

	operation(m, api, huma.Operation{
		OperationID: "get-trigger", Method: http.MethodGet, Path: prefix + "/apps/{app}/triggers/{trigger}", Tags: []string{"triggers"},
		Summary: "Show a trigger",
	}, func(ctx context.Context, c *caller, in *TriggerPath) (*body[triggerJSON], error) {
		t, err := m.Trigger(ctx, c.app.ID, in.Trigger)
		return &body[triggerJSON]{newTriggerJSON(t)}, err
	})

	type updateTriggerInput struct {
		TriggerPath
		Body struct {
			Script     *string         `json:"script,omitempty" doc:"Name of an endpoint script"`
			Enabled    *bool           `json:"enabled,omitempty"`
			Collection *string         `json:"collection,omitempty"`
			Key        *string         `json:"key,omitempty"`
			Ops        *[]string       `json:"ops,omitempty" maxItems:"16" doc:"Empty: all"`
			Schedule   *string         `json:"schedule,omitempty"`
			TimeZone   *string         `json:"time_zone,omitempty"`
			Retry      *retryDraftJSON `json:"retry,omitempty"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "update-trigger", Method: http.MethodPatch, Path: prefix + "/apps/{app}/triggers/{trigger}", Tags: []string{"triggers"},
		Summary:     "Change a trigger",
		Description: "Fields that are absent stay as they are. Whatever changes, the trigger runs in the caller's name from then on.",
	}, func(ctx context.Context, c *caller, in *updateTriggerInput) (*body[triggerJSON], error) {
		b := in.Body
		t, err := m.UpdateTrigger(ctx, c.app.ID, in.Trigger, c.principal, TriggerChange{
			Script: b.Script, Enabled: b.Enabled, Collection: b.Collection, Key: b.Key, Ops: b.Ops,
			Schedule: b.Schedule, TimeZone: b.TimeZone, Retry: b.Retry.policy(),
		})
		return &body[triggerJSON]{newTriggerJSON(t)}, err
	})

	operation(m, api, huma.Operation{
		OperationID: "delete-trigger", Method: http.MethodDelete, Path: prefix + "/apps/{app}/triggers/{trigger}", Tags: []string{"triggers"},
		Summary: "Delete a trigger", Description: "What it has caused already is delivered nevertheless.",
	}, func(ctx context.Context, c *caller, in *TriggerPath) (*struct{}, error) {
		return &struct{}{}, m.DeleteTrigger(ctx, c.app.ID, in.Trigger)
	})

	type fireTriggerInput struct {
		TriggerPath
		Body *struct {
			Payload json.RawMessage `json:"payload,omitempty" doc:"Fields of the event, an object; a sample of the kind if absent"`
		}
	}
	type fireTriggerOutput struct {
		Body struct {
			EventID string `json:"event_id" format:"uuid" doc:"What /executions/{id} tells the outcome of"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "fire-trigger", Method: http.MethodPost, Path: prefix + "/apps/{app}/triggers/{trigger}/fire", Tags: []string{"triggers"},
		Summary: "Send a test event to a trigger", DefaultStatus: http.StatusAccepted,
		Description: "The event has the op test, and runs in the name of whoever registered the trigger. One that is not enabled gets it too.",
	}, func(ctx context.Context, c *caller, in *fireTriggerInput) (*fireTriggerOutput, error) {
		var payload json.RawMessage
		if in.Body != nil {
			payload = in.Body.Payload
		}
		out := &fireTriggerOutput{}
		var err error
		out.Body.EventID, err = m.FireTrigger(ctx, c.app.ID, in.Trigger, payload)
		return out, err
	})
}
