package manager

import (
	"context"
	"encoding/json"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Events is what the API asks of the outbox. The methods that take a call refuse,
// with CodeForbidden, whoever has not cloud.AppManageDeadLetters in its app.
// All answer CodeUnavailable while the database is away.
type Events interface {
	// Fire sends a test event to one trigger and returns its id. A nil payload is a
	// sample of the trigger's kind; one that is no JSON object: CodeInvalid about
	// "payload", too long: CodeLimit.
	Fire(ctx context.Context, t cloud.Trigger, payload json.RawMessage) (eventID string, err error)

	// State tells what became of an event. CodeNotFound.
	State(ctx context.Context, eventID string) (cloud.EventState, error)

	// DeadLetters returns those of the call's app that the filter selects, newest
	// first and without their payloads.
	DeadLetters(ctx context.Context, call cloud.Call, filter cloud.DeadLetterFilter) ([]cloud.DeadLetter, error)
	// DeadLetter returns one. CodeNotFound.
	DeadLetter(ctx context.Context, call cloud.Call, id string) (cloud.DeadLetter, error)
	// Replay delivers one again. CodeNotFound; CodeConflict if it was settled before.
	Replay(ctx context.Context, call cloud.Call, id string) error
	// ReplayAll replays what the filter selects and is not settled, and returns how
	// many that were.
	ReplayAll(ctx context.Context, call cloud.Call, filter cloud.DeadLetterFilter) (int, error)
	// ResolveAs settles one as cloud.Ignored or cloud.HandledByScript. CodeNotFound;
	// CodeConflict if it was settled before; CodeInvalid about "resolution" or
	// "reason".
	ResolveAs(ctx context.Context, call cloud.Call, id string, r cloud.Resolution, reason string) error
}

// noEvents keeps none.
type noEvents struct{}

var errNoEvents = cloud.Errorf(cloud.CodeUnavailable, "this server delivers no events")

func (noEvents) Fire(context.Context, cloud.Trigger, json.RawMessage) (string, error) {
	return "", errNoEvents
}

func (noEvents) State(_ context.Context, eventID string) (cloud.EventState, error) {
	return cloud.EventState{}, noExecution(eventID)
}

func (noEvents) DeadLetters(context.Context, cloud.Call, cloud.DeadLetterFilter) ([]cloud.DeadLetter, error) {
	return nil, errNoEvents
}

func (noEvents) DeadLetter(context.Context, cloud.Call, string) (cloud.DeadLetter, error) {
	return cloud.DeadLetter{}, errNoEvents
}

func (noEvents) Replay(context.Context, cloud.Call, string) error { return errNoEvents }

func (noEvents) ReplayAll(context.Context, cloud.Call, cloud.DeadLetterFilter) (int, error) {
	return 0, errNoEvents
}

func (noEvents) ResolveAs(context.Context, cloud.Call, string, cloud.Resolution, string) error {
	return errNoEvents
}

func noTriggers(t cloud.Trigger, _ time.Time) (cloud.Trigger, error) { return t, errNoEvents }
