package events

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// ServiceConfig is what NewService needs. Store and Authorizer are required.
type ServiceConfig struct {
	Store      Store
	Authorizer cloud.Authorizer
	Logger     *slog.Logger     // nil: slog.Default
	Poke       func()           // called after what may be due at once; nil: nobody waits
	Now        func() time.Time // nil: time.Now
	NewID      func() string    // nil: cloud.NewID
}

// Service puts into the outbox what no change of data does, and handles dead
// letters. It is safe for concurrent use.
type Service struct {
	store Store
	authz cloud.Authorizer
	log   *slog.Logger
	poke  func()
	now   func() time.Time
	newID func() string
}

var _ cloud.DeadLetters = (*Service)(nil)

// NewService returns a Service.
func NewService(c ServiceConfig) *Service {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Poke == nil {
		c.Poke = func() {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = cloud.NewID
	}
	return &Service{store: c.Store, authz: c.Authorizer, log: c.Logger, poke: c.Poke, now: c.Now, newID: c.NewID}
}

// Accept takes a request to an async route: when it returns without error, the
// request is durable and will be run. CodeTooLarge for a body over
// cloud.MaxEventPayload, or a head that leaves none for it.
func (s *Service) Accept(ctx context.Context, plan *cloud.Plan, request cloud.StoredRequest) (eventID string, at time.Time, err error) {
	payload, err := json.Marshal(request)
	if err != nil {
		return "", time.Time{}, err
	}
	if len(request.Body) > cloud.MaxEventPayload || len(payload) > cloud.MaxStoredRequest {
		return "", time.Time{}, cloud.Errorf(cloud.CodeTooLarge, "a request to an async route may have %d bytes of head and body", cloud.MaxEventPayload)
	}
	now := s.now()
	d := cloud.Delivery{
		EventID: s.newID(), AppID: plan.App.ID, ScriptID: plan.Script.ID,
		Kind: cloud.EventHTTP, Payload: payload,
		Retry: cloud.DefaultRetry, At: now, DueAt: now,
	}
	if p := plan.Principal; p != nil {
		d.UserID = p.UserID
		if p.Key != nil {
			d.Scopes = append([]cloud.Scope{}, p.Key.Scopes...) // nil would be all
			if p.Key.AppID != "" && p.Key.AppID != plan.App.ID {
				d.Scopes = []cloud.Scope{} // it may nothing here
			}
		}
	}
	if err := s.stored(s.store.Enqueue(ctx, d)); err != nil {
		return "", time.Time{}, err
	}
	return d.EventID, now, nil
}

// Fire sends a test event to one trigger, by the way that all events take. Without
// a payload it gets a sample of its kind.
func (s *Service) Fire(ctx context.Context, t cloud.Trigger, payload json.RawMessage) (eventID string, err error) {
	now := s.now()
	k := kinds[t.Kind]
	if payload == nil {
		payload = k.sample
		if k.scheduled {
			payload = CronPayload(t.Filter, now)
		}
	}
	var object map[string]json.RawMessage
	switch err := json.Unmarshal(payload, &object); {
	case err != nil || object == nil:
		return "", cloud.Invalid("payload", "is no JSON object")
	case len(payload) > cloud.MaxEventPayload:
		return "", cloud.Errorf(cloud.CodeLimit, "the payload has %d bytes; at most %d are allowed", len(payload), cloud.MaxEventPayload)
	}
	d := cloud.Delivery{
		EventID: s.newID(), AppID: t.AppID, TriggerID: t.ID, ScriptID: t.ScriptID,
		Kind: t.Kind, Op: "test", Payload: payload, UserID: t.UserID, Scopes: t.Scopes,
		Retry: t.Retry, At: now, DueAt: now,
	}
	if err := s.stored(s.store.Enqueue(ctx, d)); err != nil {
		return "", err
	}
	return d.EventID, nil
}

// stored pokes after the store was asked to make something due, and returns what it
// said. It pokes after an error as well, unless that is a refusal: only the answer
// of a commit may have been lost.
func (s *Service) stored(err error) error {
	if code := cloud.CodeOf(err); code != cloud.CodeNotFound && code != cloud.CodeConflict {
		s.poke()
	}
	return err
}

// CronPayload is what an event of a schedule carries.
func CronPayload(f cloud.TriggerFilter, scheduled time.Time) json.RawMessage {
	payload, _ := json.Marshal(struct { // always encodes
		Cron          string `json:"cron"`
		ScheduledTime int64  `json:"scheduledTime"`
	}{f.Schedule, scheduled.UnixMilli()})
	return payload
}

// State tells what became of an event. It asks nobody who may know: that is
// decided by the app. CodeNotFound.
func (s *Service) State(ctx context.Context, eventID string) (cloud.EventState, error) {
	if !cloud.IsID(eventID) {
		return cloud.EventState{}, NoEvent(eventID)
	}
	return s.store.State(ctx, eventID)
}

// DeadLetters returns those of the call's app that the filter selects, newest
// first and without their payloads.
func (s *Service) DeadLetters(ctx context.Context, call cloud.Call, f cloud.DeadLetterFilter) ([]cloud.DeadLetter, error) {
	if _, err := s.enter(call); err != nil {
		return nil, err
	}
	f.AppID = call.AppID
	return s.store.DeadLetters(ctx, f)
}

// DeadLetter returns one of the call's app. CodeNotFound.
func (s *Service) DeadLetter(ctx context.Context, call cloud.Call, id string) (cloud.DeadLetter, error) {
	if _, err := s.enterAt(call, id); err != nil {
		return cloud.DeadLetter{}, err
	}
	return s.store.DeadLetter(ctx, call.AppID, id)
}

// replayDepth is how deep at least is what the call replays: a script that handles
// what has died and replays it must not do so for ever. CodeLimit.
func (s *Service) replayDepth(call cloud.Call) (int, error) {
	if !call.ByScript {
		return 0, nil
	}
	depth := call.Depth + 1
	if depth <= cloud.MaxDepth {
		return depth, nil
	}
	s.log.Warn("a replay was refused: too many events have caused one another", "app_id", call.AppID, "execution_id", call.ExecutionID, "depth", depth)
	return 0, cloud.Errorf(cloud.CodeLimit, "%d events have caused one another, the most that may: scripts replay this no more; somebody has to, once what fails is mended", cloud.MaxDepth)
}

// Replay implements cloud.DeadLetters. What a script replays is one deeper than the
// script, and no deeper than cloud.MaxDepth: CodeLimit.
func (s *Service) Replay(ctx context.Context, call cloud.Call, id string) error {
	by, err := s.enterAt(call, id)
	if err != nil {
		return err
	}
	depth, err := s.replayDepth(call)
	if err != nil {
		return err
	}
	return s.stored(s.store.Resolve(ctx, call.AppID, id, cloud.Replayed, "", by, depth, s.now()))
}

// ReplayAll replays those of the call's app that the filter selects and that
// wait, or whose handler failed, and returns how many they were. The depth is that
// of Replay.
func (s *Service) ReplayAll(ctx context.Context, call cloud.Call, f cloud.DeadLetterFilter) (int, error) {
	by, err := s.enter(call)
	if err != nil {
		return 0, err
	}
	depth, err := s.replayDepth(call)
	if err != nil {
		return 0, err
	}
	f.AppID = call.AppID
	n, err := s.store.ReplayAll(ctx, f, by, depth, s.now())
	if n > 0 || err != nil {
		s.poke()
	}
	return n, err
}

// Resolve implements cloud.DeadLetters.
func (s *Service) Resolve(ctx context.Context, call cloud.Call, id, reason string) error {
	r := cloud.Ignored
	if call.ByScript {
		r = cloud.HandledByScript
	}
	return s.ResolveAs(ctx, call, id, r, reason)
}

// maxNote bounds what is said on resolving a dead letter, in bytes.
const maxNote = 1000

// ResolveAs closes a dead letter as cloud.Ignored or cloud.HandledByScript.
// CodeNotFound; CodeConflict if it was settled before; CodeInvalid about
// "resolution", or about "reason" over 1,000 bytes.
func (s *Service) ResolveAs(ctx context.Context, call cloud.Call, id string, r cloud.Resolution, reason string) error {
	by, err := s.enterAt(call, id)
	switch {
	case err != nil:
		return err
	case r != cloud.Ignored && r != cloud.HandledByScript:
		return cloud.Invalid("resolution", "%q is neither %s nor %s", r, cloud.Ignored, cloud.HandledByScript)
	case len(reason) > maxNote:
		return cloud.Invalid("reason", "has %d bytes; at most %d are allowed", len(reason), maxNote)
	}
	return s.store.Resolve(ctx, call.AppID, id, r, reason, by, 0, s.now())
}

// enter is the gate. It is narrower than that of other services: a script that
// runs for an anonymous caller may not touch dead letters.
func (s *Service) enter(call cloud.Call) (by string, err error) {
	if call.Principal == nil {
		return "", cloud.Errorf(cloud.CodeForbidden, "dead letters need credentials with the capability %s", cloud.AppManageDeadLetters)
	}
	return call.Principal.Name, call.Gate(s.authz, cloud.AppManageDeadLetters)
}

// enterAt is enter for one dead letter.
func (s *Service) enterAt(call cloud.Call, id string) (by string, err error) {
	if by, err = s.enter(call); err == nil && !cloud.IsID(id) {
		err = NoDeadLetter(id)
	}
	return by, err
}
