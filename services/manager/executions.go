package manager

import (
	"context"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// ExecutionQuery selects records of an app, newest first.
type ExecutionQuery struct {
	Script string // name or id; "" for all
	Failed bool
	Before string    // id of a record; "" from the newest
	Since  time.Time // zero: no bound
	Limit  int       // 1 to 1000
}

// Executions returns the records that q selects. CodeNotFound about an unknown
// script, CodeInvalid about "before".
func (m *Manager) Executions(ctx context.Context, appID string, q ExecutionQuery) ([]cloud.Execution, error) {
	if q.Before != "" && !cloud.IsID(q.Before) {
		return nil, cloud.Invalid("before", "%q is no id of an execution", q.Before)
	}
	scriptID, err := m.scriptID(ctx, appID, q.Script)
	if err != nil {
		return nil, err
	}
	return m.store.Executions(ctx, cloud.ExecutionFilter{
		AppID: appID, ScriptID: scriptID, Failed: q.Failed, Before: q.Before, Since: q.Since, Limit: q.Limit,
	})
}

// Execution returns one record. CodeNotFound.
func (m *Manager) Execution(ctx context.Context, appID, id string) (cloud.Execution, error) {
	if !cloud.IsID(id) {
		return cloud.Execution{}, cloud.Errorf(cloud.CodeNotFound, "the app has no execution with the id %q", id)
	}
	return m.store.Execution(ctx, appID, id)
}

// EventState tells what became of an event, or of an execution by its id, and in
// which app, to those who may read the app's logs; to others, as for an id that
// nobody knows, CodeNotFound.
func (m *Manager) EventState(ctx context.Context, p *cloud.Principal, id string) (cloud.EventState, cloud.App, error) {
	s, err := m.eventState(ctx, id)
	if err == nil && m.authz.Authorize(p, cloud.AppReadLogs, s.AppID) != nil {
		err = noExecution(id)
	}
	if err != nil {
		return cloud.EventState{}, cloud.App{}, err
	}
	app, err := m.store.App(ctx, s.AppID)
	return s, app, err
}

func (m *Manager) eventState(ctx context.Context, id string) (cloud.EventState, error) {
	if !cloud.IsID(id) {
		return cloud.EventState{}, noExecution(id)
	}
	s, err := m.events.State(ctx, id)
	if cloud.CodeOf(err) != cloud.CodeNotFound {
		return s, err
	}
	e, err := m.store.FindExecution(ctx, id)
	switch {
	case cloud.CodeOf(err) == cloud.CodeNotFound:
		return cloud.EventState{}, noExecution(id).Because(err)
	case err != nil:
		return cloud.EventState{}, err
	case e.EventID != "":
		return m.events.State(ctx, e.EventID)
	}
	s = cloud.EventState{ID: e.ID, AppID: e.AppID, Status: "succeeded", Attempts: 1, Executions: []cloud.Execution{e}}
	if e.Code != "" || e.Status >= 500 {
		s.Status = "failed"
	}
	return s, nil
}

func noExecution(id string) *cloud.Error {
	return cloud.Errorf(cloud.CodeNotFound, "nothing is known of an execution or event %q, or it is too long ago, or not yours to see", id)
}

// Tail yields the executions that end from now on, of one script (by name or
// id) or of all. The channel is closed when ctx ends or the server stops.
func (m *Manager) Tail(ctx context.Context, appID, script string) (<-chan cloud.Execution, error) {
	scriptID, err := m.scriptID(ctx, appID, script)
	if err != nil {
		return nil, err
	}
	if m.tail == nil {
		return nil, cloud.Errorf(cloud.CodeUnavailable, "this server does not stream executions")
	}
	return m.tail(ctx, appID, scriptID), nil
}

// scriptID is the id of a script by name or id, and "" for "".
func (m *Manager) scriptID(ctx context.Context, appID, ref string) (string, error) {
	if ref == "" {
		return "", nil
	}
	s, err := m.Script(ctx, appID, ref)
	return s.ID, err
}
