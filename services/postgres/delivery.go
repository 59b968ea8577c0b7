package postgres

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
)

// deliveryFields are a row of the outbox as scanDelivery reads it.
const deliveryFields = `id, event_id, app_id, coalesce(trigger_id::text, ''), script_id, kind, op, payload,
	coalesce(user_id::text, ''), scopes, depth, coalesce(cause_id::text, ''), attempt,
	max_attempts, backoff, base_ms, cap_ms, at, due_at, last_error`

func scanDelivery(row pgx.CollectableRow) (d cloud.Delivery, err error) {
	var (
		base, limit   int64
		payload, last []byte
	)
	err = row.Scan(&d.ID, &d.EventID, &d.AppID, &d.TriggerID, &d.ScriptID, &d.Kind, &d.Op, &payload,
		&d.UserID, &d.Scopes, &d.Depth, &d.CauseID, &d.Attempt,
		&d.Retry.Attempts, &d.Retry.Backoff, &base, &limit, &d.At, &d.DueAt, &last)
	if err != nil {
		return d, err
	}
	d.Payload = payload
	d.Retry.Base, d.Retry.Cap = milliseconds(base), milliseconds(limit)
	d.At, d.DueAt = d.At.UTC(), d.DueAt.UTC()
	d.LastError, err = scriptError(last)
	return d, err
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// scriptError reads a ScriptError as stored; nil for null.
func scriptError(text []byte) (e *cloud.ScriptError, err error) {
	if text != nil {
		err = json.Unmarshal(text, &e)
	}
	return e, err
}

// byDue is the order in which an app's deliveries are made.
func byDue(a, b cloud.Delivery) int {
	return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
}
