package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// letterFields are a dead letter as scanLetter reads it, with the payload as
// payload says.
func letterFields(payload string) string {
	return `id, event_id, app_id, coalesce(trigger_id::text, ''), script_id, script_name, kind, op, ` + payload + `,
		coalesce(user_id::text, ''), scopes, depth, coalesce(cause_id::text, ''), attempts,
		max_attempts, backoff, base_ms, cap_ms, at, reason, last_error, died_at, resolution, note, resolved_at, resolved_by`
}

func scanLetter(row pgx.CollectableRow) (l cloud.DeadLetter, err error) {
	var (
		base, limit   int64
		payload, last []byte
		resolved      *time.Time
	)
	err = row.Scan(&l.ID, &l.EventID, &l.AppID, &l.TriggerID, &l.ScriptID, &l.Script, &l.Kind, &l.Op, &payload,
		&l.UserID, &l.Scopes, &l.Depth, &l.CauseID, &l.Attempt,
		&l.Retry.Attempts, &l.Retry.Backoff, &base, &limit, &l.At, &l.Reason, &last, &l.DiedAt, &l.Resolution, &l.Note, &resolved, &l.ResolvedBy)
	if err != nil {
		return l, err
	}
	l.Payload = payload
	l.Retry.Base, l.Retry.Cap = milliseconds(base), milliseconds(limit)
	l.At, l.DiedAt, l.ResolvedAt = l.At.UTC(), l.DiedAt.UTC(), timeOf(resolved)
	l.LastError, err = scriptError(last)
	return l, err
}

// letterCondition is what a filter, its Before and Limit aside, asks of dead
// letters, with its parameters appended to args; false if it selects none.
func letterCondition(f cloud.DeadLetterFilter, args ...any) (sql string, all []any, ok bool) {
	conditions := []string{}
	for _, id := range []struct{ column, is string }{{"app_id", f.AppID}, {"trigger_id", f.TriggerID}, {"script_id", f.ScriptID}} {
		if id.is == "" && id.column != "app_id" {
			continue
		}
		if !cloud.IsID(id.is) {
			return "", nil, false
		}
		args = append(args, id.is)
		conditions = append(conditions, fmt.Sprintf(`%s = $%d`, id.column, len(args)))
	}
	if f.Kind != "" {
		args = append(args, text(string(f.Kind)))
		conditions = append(conditions, fmt.Sprintf(`kind = $%d`, len(args)))
	}
	if f.Waiting {
		conditions = append(conditions, `resolution IN ('', 'handler_failed')`)
	}
	return strings.Join(conditions, " AND "), args, true
}

// DeadLetters implements events.Store.
func (s *Events) DeadLetters(ctx context.Context, f cloud.DeadLetterFilter) ([]cloud.DeadLetter, error) {
	where, args, ok := letterCondition(f)
	if !ok {
		return nil, nil
	}
	if f.Before != "" {
		if !cloud.IsID(f.Before) {
			return nil, cloud.Invalid("before", "%q is not the id of a dead letter", f.Before)
		}
		args = append(args, f.Before)
		where += fmt.Sprintf(` AND id < $%d`, len(args))
	}
	args = append(args, min(max(f.Limit, 1), 1000))
	return selectAll(ctx, s.pool, scanLetter, `SELECT `+letterFields(`NULL::json`)+` FROM dead_letters WHERE `+where+
		fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args)), args...)
}

// DeadLetter implements events.Store.
func (s *Events) DeadLetter(ctx context.Context, appID, id string) (cloud.DeadLetter, error) {
	if !cloud.IsID(appID) || !cloud.IsID(id) {
		return cloud.DeadLetter{}, events.NoDeadLetter(id)
	}
	letters, err := selectAll(ctx, s.pool, scanLetter, `SELECT `+letterFields(`payload`)+` FROM dead_letters WHERE app_id = $1 AND id = $2`, appID, id)
	if err == nil && len(letters) == 0 {
		err = events.NoDeadLetter(id)
	}
	if err != nil {
		return cloud.DeadLetter{}, err
	}
	return letters[0], nil
}

// replay is the part of a statement that puts the dead letters of its CTE
// "resolved" back into the outbox; $1 is now, $2 the least depth.
const replay = `
	INSERT INTO outbox (` + deliveryColumns + `)
	SELECT app_id, event_id, trigger_id, script_id, kind, op, payload, user_id, scopes,
	       greatest(depth, $2), cause_id, max_attempts, backoff, base_ms, cap_ms, at, $1
	FROM resolved WHERE resolution = 'replayed'`

// Resolve implements events.Store.
func (s *Events) Resolve(ctx context.Context, appID, id string, r cloud.Resolution, note, by string, depth int, now time.Time) error {
	if !cloud.IsID(appID) || !cloud.IsID(id) {
		return events.NoDeadLetter(id)
	}
	return inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		was, err := selectAll(ctx, tx, pgx.RowTo[string], `SELECT resolution FROM dead_letters WHERE app_id = $1 AND id = $2 FOR UPDATE`, appID, id)
		switch {
		case err != nil:
			return err
		case len(was) == 0:
			return events.NoDeadLetter(id)
		case was[0] != "" && was[0] != string(cloud.HandlerFailed):
			return events.AlreadyResolved(id, cloud.Resolution(was[0]))
		}
		tag, err := tx.Exec(ctx, `
			WITH resolved AS (
				UPDATE dead_letters SET resolution = $5, note = $6, resolved_by = $7, resolved_at = $1
				WHERE app_id = $3 AND id = $4 RETURNING *
			)`+replay, stamp(now), depth, appID, id, string(r), text(note), text(by))
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return notify(ctx, tx, s.emitter.notice)
	})
}

// replayBatch is how many dead letters are replayed in one transaction. Ours.
const replayBatch = 500

// ReplayAll implements events.Store. What dies while it runs is not replayed.
func (s *Events) ReplayAll(ctx context.Context, f cloud.DeadLetterFilter, by string, depth int, now time.Time) (int, error) {
	where, args, ok := letterCondition(f, stamp(now), depth, text(by), replayBatch)
	if !ok {
		return 0, nil
	}
	total := 0
	for {
		n, err := s.replaySome(ctx, where, args)
		total += n
		if err != nil || n < replayBatch {
			return total, err
		}
	}
}

// replaySome replays a batch of what a letterCondition selects; the parameters
// before those of the condition are now, the least depth, by whom, and how many.
func (s *Events) replaySome(ctx context.Context, where string, args []any) (n int, err error) {
	err = inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			WITH resolved AS (
				UPDATE dead_letters SET resolution = 'replayed', note = '', resolved_by = $3, resolved_at = $1
				WHERE (app_id, id) IN (
					SELECT app_id, id FROM dead_letters
					WHERE `+where+` AND resolution IN ('', 'handler_failed') AND died_at <= $1
					ORDER BY id LIMIT $4 FOR UPDATE
				)
				RETURNING *
			)`+replay, args...)
		if n = int(tag.RowsAffected()); err != nil || n == 0 {
			return err
		}
		return notify(ctx, tx, s.emitter.notice)
	})
	return n, err
}

// SweepDeadLetters implements events.Store.
func (s *Events) SweepDeadLetters(ctx context.Context, before time.Time, n int) (int, error) {
	swept, err := selectAll(ctx, s.pool, pgx.RowTo[int32], `
		DELETE FROM dead_letters WHERE (app_id, id) IN (
			SELECT app_id, id FROM dead_letters WHERE died_at < $1 ORDER BY died_at LIMIT $2 FOR UPDATE SKIP LOCKED
		) RETURNING 1`, stamp(before), n)
	return len(swept), err
}
