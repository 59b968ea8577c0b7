package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// scheduled is a cron trigger as far as its schedule goes.
type scheduled struct {
	id     string
	filter cloud.TriggerFilter
	next   time.Time
}

func scanScheduled(row pgx.CollectableRow) (s scheduled, err error) {
	var filter []byte
	if err := row.Scan(&s.id, &filter, &s.next); err != nil {
		return s, err
	}
	s.next = s.next.UTC()
	err = json.Unmarshal(filter, &s.filter)
	return s, err
}

// FireSchedules implements events.Store. The trigger of a user who is gone or
// inactive goes on to its next run without a delivery.
func (s *Events) FireSchedules(ctx context.Context, now time.Time, n int, next events.NextRun) (int, error) {
	now = stamp(now)
	fired := 0
	err := inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, dispatching); err != nil {
			return err
		}
		// The apps are held first: who deletes one takes its triggers with it.
		come, err := selectAll(ctx, tx, scanScheduled, `
			SELECT t.id, t.filter, t.next_at FROM triggers t JOIN apps ON apps.id = t.app_id
			WHERE t.enabled AND t.next_at <= $1 ORDER BY t.next_at LIMIT $2
			FOR KEY SHARE OF apps SKIP LOCKED FOR NO KEY UPDATE OF t SKIP LOCKED`, now, n)
		if fired = len(come); err != nil || fired == 0 {
			return err
		}
		ids, nexts, eventIDs, payloads := make([]string, fired), make([]*time.Time, fired), make([]string, fired), make([]string, fired)
		for i, t := range come {
			ids[i], eventIDs[i], payloads[i] = t.id, cloud.NewID(), string(events.CronPayload(t.filter, t.next))
			if at, err := next(t.filter, now); err == nil {
				nexts[i] = timeOrNull(at)
			}
		}
		_, err = tx.Exec(ctx, `
			WITH fired AS (
				UPDATE triggers t SET next_at = run.next_at, enabled = run.next_at IS NOT NULL
				FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[]) AS run (id, next_at, event_id, payload)
				WHERE t.id = run.id
				RETURNING t.*, run.event_id, run.payload
			)
			INSERT INTO outbox (`+deliveryColumns+`)
			SELECT f.app_id, f.event_id, f.id, f.script_id, f.kind, '', f.payload::json, f.user_id, f.scopes,
			       0, NULL, f.max_attempts, f.backoff, f.base_ms, f.cap_ms, $5, $5
			FROM fired f JOIN users ON users.id = f.user_id AND users.active`,
			ids, nexts, eventIDs, payloads, now)
		if err != nil {
			return err
		}
		return notify(ctx, tx, s.emitter.notice)
	})
	if err != nil {
		return 0, err
	}
	return fired, nil
}

// mendOutbox brings back what is due, or leased, too late; $1 is now, $2 when leases
// pass at the latest, $3 and $4 the ids and attempts of leases left out. It locks in
// the order in which outcomes are settled.
const mendOutbox = `
	UPDATE outbox o SET due_at = late.due, leased_until = least(o.leased_until, $2::timestamptz)
	FROM (
		SELECT id, least(due_at, $1::timestamptz + least(greatest(due_at - at, interval '0'), cap_ms * interval '1 ms')) AS due FROM outbox
		WHERE (due_at > $1 OR leased_until > $2) AND (id, attempt) NOT IN (SELECT * FROM unnest($3::bigint[], $4::smallint[]))
		ORDER BY id FOR UPDATE
	) late
	WHERE o.id = late.id AND (o.due_at > late.due OR o.leased_until > $2)`

// MendClock implements events.Store.
func (s *Events) MendClock(ctx context.Context, now time.Time, lease time.Duration, except []events.Lease, next events.NextRun) error {
	ids, attempts := leases(except)
	if _, err := s.pool.Exec(ctx, mendOutbox, stamp(now), stamp(now.Add(lease)), ids, attempts); err != nil {
		return translate(err)
	}
	return s.mendSchedules(ctx, now, next)
}

func (s *Events) mendSchedules(ctx context.Context, now time.Time, next events.NextRun) error {
	all, err := selectAll(ctx, s.pool, scanScheduled, `SELECT id, filter, next_at FROM triggers WHERE enabled AND next_at > $1`, stamp(now))
	if err != nil {
		return err
	}
	var ids []string
	var stored, mended []time.Time
	for _, t := range all {
		if at, err := next(t.filter, now); err == nil && stamp(at).Before(t.next) {
			ids, stored, mended = append(ids, t.id), append(stored, t.next), append(mended, stamp(at))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return s.dispatch(ctx, func(b *pgx.Batch) {
		b.Queue(`
			UPDATE triggers t SET next_at = mend.at FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS mend (id, stored, at)
			WHERE t.id = mend.id AND t.next_at = mend.stored AND t.enabled`, ids, stored, mended)
	})
}
