package manager

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// DeadLetterQuery selects dead letters of an app, newest first.
type DeadLetterQuery struct {
	Kind    cloud.EventKind
	Trigger string // id; "" for all
	Script  string // name or id; "" for all
	Waiting bool   // only those that nobody has settled
	Before  string // id of a dead letter; "" from the newest
	Limit   int    // 1 to 1000
}

// DeadLetters returns those that q selects, without their payloads. Triggers and
// scripts that are gone are found by their ids. CodeNotFound about an unknown
// script, CodeInvalid about "before" or "trigger".
func (m *Manager) DeadLetters(ctx context.Context, call cloud.Call, q DeadLetterQuery) ([]cloud.DeadLetter, error) {
	filter, err := m.deadLetterFilter(ctx, call.AppID, q)
	if err != nil {
		return nil, err
	}
	return m.events.DeadLetters(ctx, call, filter)
}

// ReplayDeadLetters delivers again what q selects, Before and Limit aside, and is
// not settled, and returns how many that were. The errors are those of
// DeadLetters.
func (m *Manager) ReplayDeadLetters(ctx context.Context, call cloud.Call, q DeadLetterQuery) (int, error) {
	filter, err := m.deadLetterFilter(ctx, call.AppID, q)
	if err != nil {
		return 0, err
	}
	return m.events.ReplayAll(ctx, call, filter)
}

func (m *Manager) deadLetterFilter(ctx context.Context, appID string, q DeadLetterQuery) (cloud.DeadLetterFilter, error) {
	f := cloud.DeadLetterFilter{AppID: appID, TriggerID: q.Trigger, Kind: q.Kind, Waiting: q.Waiting, Before: q.Before, Limit: q.Limit}
	switch {
	case q.Before != "" && !cloud.IsID(q.Before):
		return f, cloud.Invalid("before", "%q is no id of a dead letter", q.Before)
	case q.Trigger != "" && !cloud.IsID(q.Trigger):
		return f, cloud.Invalid("trigger", "%q is no id of a trigger", q.Trigger)
	}
	var err error
	f.ScriptID, err = m.scriptID(ctx, appID, q.Script)
	if cloud.CodeOf(err) == cloud.CodeNotFound && cloud.IsID(q.Script) {
		f.ScriptID, err = q.Script, nil
	}
	return f, err
}
