package events

import (
	"encoding/json"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// NewDeadLetter is what remains of a delivery that was given up.
func NewDeadLetter(o Outcome, id, script string, now time.Time) cloud.DeadLetter {
	d := o.Delivery
	d.ID, d.DueAt = 0, time.Time{}
	d.Attempt = min(d.Attempt, d.Retry.Attempts) // an attempt too many is counted on finding out
	d.LastError = o.Error
	return cloud.DeadLetter{Delivery: d, ID: id, Script: script, Reason: o.Reason, DiedAt: now}
}

// deadLetterPayload is the payload of a dead_letter event.
type deadLetterPayload struct {
	DeadLetterID string             `json:"deadLetterId"`
	Attempts     int                `json:"attempts"`
	LastError    *cloud.ScriptError `json:"lastError"`
	Original     json.RawMessage    `json:"original,omitempty"`
}

// DeadLetterPayload is what an event for dead_letter triggers carries. The
// original's fields are those that its own handler got, without attempt and depth.
// Where those of its kind would make the event larger than cloud.MaxEventPayload,
// the original has payloadOmitted instead.
func DeadLetterPayload(l cloud.DeadLetter) (json.RawMessage, error) {
	payload, err := deadLetterEvent(l)
	if err != nil || len(payload) > cloud.MaxEventPayload {
		l.Payload = json.RawMessage(`{"payloadOmitted":true}`)
		payload, err = deadLetterEvent(l)
	}
	return payload, err
}

func deadLetterEvent(l cloud.DeadLetter) (json.RawMessage, error) {
	original, err := fields(l.Delivery)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(original)
	if err != nil {
		return nil, err
	}
	return json.Marshal(deadLetterPayload{DeadLetterID: l.ID, Attempts: l.Attempt, LastError: l.LastError, Original: text})
}

// OriginalOf is the id of the dead letter that a dead_letter event is about; ""
// for other kinds.
func OriginalOf(d cloud.Delivery) string {
	var p deadLetterPayload
	if d.Kind != cloud.EventDeadLetter || json.Unmarshal(d.Payload, &p) != nil || !cloud.IsID(p.DeadLetterID) {
		return ""
	}
	return p.DeadLetterID
}

// Handled is what a settled delivery says of the dead letter that it was about:
// which, and how that was resolved. False if nothing.
func Handled(o Outcome) (id string, r cloud.Resolution, ok bool) {
	switch o.Fate {
	case Done:
		r = cloud.HandledByScript
	case Dead:
		r = cloud.HandlerFailed
	default:
		return "", "", false
	}
	id = OriginalOf(o.Delivery)
	return id, r, id != ""
}
