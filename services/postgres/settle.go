package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// settlement sorts outcomes by the statements that settle them, into arrays.
type settlement struct {
	goneIDs      []int64
	goneAttempts []int16

	// Due again.
	againIDs      []int64
	againAttempts []int16
	againCount    []int16 // the attempt that the row has then
	againDue      []time.Time
	againKeep     []bool // the error that it has
	againErrors   []*string

	// Events about dead letters, which settle those.
	handledIDs      []int64
	handledAttempts []int16
	handledLetters  []string
	handledAs       []string

	// Given up.
	deadApps     []string
	deadIDs      []int64
	deadAttempts []int16
	deadShown    []int16 // the number of attempts to show
	deadLetters  []string
	deadReasons  []string
	deadErrors   []*string
	deadEvents   []string
	deadPayloads []string
}

func newSettlement(outcomes []events.Outcome, now time.Time) (*settlement, error) {
	s := &settlement{}
	// Two processes that settle the same lock it in the same order.
	outcomes = slices.SortedFunc(slices.Values(outcomes), func(a, b events.Outcome) int { return cmp.Compare(a.Delivery.ID, b.Delivery.ID) })
	for _, o := range outcomes {
		id, attempt := o.Delivery.ID, int16(o.Delivery.Attempt)
		letter, resolution, handled := events.Handled(o)
		switch {
		case o.Fate == events.Retry || o.Fate == events.Release:
			s.againIDs, s.againAttempts = append(s.againIDs, id), append(s.againAttempts, attempt)
			count, thrown := attempt, o.Error
			if o.Fate == events.Release {
				count, thrown = attempt-1, nil
			}
			text, err := errorText(thrown)
			if err != nil {
				return nil, err
			}
			s.againCount, s.againDue = append(s.againCount, count), append(s.againDue, stamp(o.RetryAt))
			s.againKeep, s.againErrors = append(s.againKeep, o.Fate == events.Release), append(s.againErrors, text)
		case handled:
			s.handledIDs, s.handledAttempts = append(s.handledIDs, id), append(s.handledAttempts, attempt)
			s.handledLetters, s.handledAs = append(s.handledLetters, letter), append(s.handledAs, string(resolution))
		case o.Fate == events.Dead && o.Delivery.Kind != cloud.EventDeadLetter:
			if err := s.bury(o, now); err != nil {
				return nil, err
			}
		default:
			s.goneIDs, s.goneAttempts = append(s.goneIDs, id), append(s.goneAttempts, attempt)
		}
	}
	return s, nil
}

// bury adds a delivery that was given up, with the event about it.
func (s *settlement) bury(o events.Outcome, now time.Time) error {
	letter := events.NewDeadLetter(o, cloud.NewID(), "", now)
	payload, err := events.DeadLetterPayload(letter)
	if err != nil {
		return err
	}
	thrown, err := errorText(o.Error)
	if err != nil {
		return err
	}
	s.deadApps = append(s.deadApps, o.Delivery.AppID)
	s.deadIDs, s.deadAttempts = append(s.deadIDs, o.Delivery.ID), append(s.deadAttempts, int16(o.Delivery.Attempt))
	s.deadShown = append(s.deadShown, int16(letter.Attempt))
	s.deadLetters, s.deadReasons = append(s.deadLetters, letter.ID), append(s.deadReasons, text(string(o.Reason)))
	s.deadErrors = append(s.deadErrors, thrown)
	s.deadEvents, s.deadPayloads = append(s.deadEvents, cloud.NewID()), append(s.deadPayloads, string(payload))
	return nil
}

// Each statement takes only what is leased, by the attempt that the caller claimed.
const (
	settleGone = `
		DELETE FROM outbox o USING unnest($1::bigint[], $2::smallint[]) AS s (id, attempt)
		WHERE o.id = s.id AND o.attempt = s.attempt AND o.leased_until > '-infinity'`

	settleAgain = `
		UPDATE outbox o SET due_at = s.due_at, leased_until = '-infinity', attempt = s.count,
			last_error = CASE WHEN s.keep THEN o.last_error ELSE s.error::json END
		FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::timestamptz[], $5::boolean[], $6::text[])
			AS s (id, attempt, count, due_at, keep, error)
		WHERE o.id = s.id AND o.attempt = s.attempt AND o.leased_until > '-infinity'`

	// Of the handlers of one dead letter, one that succeeds counts.
	settleHandled = `
		WITH gone AS (
			DELETE FROM outbox o USING unnest($1::bigint[], $2::smallint[], $3::uuid[], $4::text[]) AS s (id, attempt, letter, resolution)
			WHERE o.id = s.id AND o.attempt = s.attempt AND o.leased_until > '-infinity'
			RETURNING o.app_id, o.script_id, s.letter, s.resolution
		), best AS (
			SELECT DISTINCT ON (app_id, letter) * FROM gone ORDER BY app_id, letter, resolution = 'handled_by_script' DESC
		)
		UPDATE dead_letters l SET resolution = best.resolution, resolved_at = $5, note = '',
			resolved_by = 'script ' || coalesce((SELECT name FROM scripts WHERE app_id = best.app_id AND id = best.script_id), '')
		FROM best
		WHERE l.app_id = best.app_id AND l.id = best.letter
		      AND (l.resolution = '' OR l.resolution = 'handler_failed' AND best.resolution = 'handled_by_script')`

	// So that no app goes while its dead letters come.
	settleHoldApps = `SELECT FROM apps WHERE id = ANY ($1::uuid[]) FOR KEY SHARE`
)

var settleDead = `
	WITH settled AS (
		SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::uuid[], $5::text[], $6::text[], $7::uuid[], $8::text[])
			AS s (id, attempt, shown, letter, reason, error, event_id, payload)
	), gone AS (
		DELETE FROM outbox o USING settled s
		WHERE o.id = s.id AND o.attempt = s.attempt AND o.leased_until > '-infinity'
		RETURNING o.*, s.shown, s.letter, s.reason, s.error AS thrown, s.event_id AS about_id, s.payload AS about
	), letters AS (
		INSERT INTO dead_letters (app_id, id, event_id, trigger_id, script_id, script_name, kind, op, payload, user_id, scopes, depth,
		                          cause_id, attempts, max_attempts, backoff, base_ms, cap_ms, at, reason, last_error, died_at)
		SELECT app_id, letter, event_id, trigger_id, script_id,
		       coalesce((SELECT name FROM scripts WHERE scripts.app_id = gone.app_id AND scripts.id = gone.script_id), ''),
		       kind, op, payload, user_id, scopes, depth,
		       cause_id, shown, max_attempts, backoff, base_ms, cap_ms, at, reason, thrown::json, $9
		FROM gone
	), event AS (
		SELECT app_id, about_id AS event_id, 'dead_letter' AS kind, '' AS op, '' AS place, '' AS name,
		       about::json AS payload, about::json AS lesser, depth + 1 AS depth, NULL::uuid AS cause_id, $9::timestamptz AS at
		FROM gone
	),` + emission(10) + `
	SELECT app_id::text, depth, count(*), (SELECT count(*) FROM told) FROM matched GROUP BY app_id, depth`

// Settle implements events.Store.
func (s *Events) Settle(ctx context.Context, now time.Time, outcomes []events.Outcome) (emitted int, err error) {
	if len(outcomes) == 0 {
		return 0, nil
	}
	now = stamp(now)
	all, err := newSettlement(outcomes, now)
	if err != nil {
		return 0, err
	}
	type about struct { // dead letters, of an app
		app            string
		depth, matched int
	}
	var emissions []about
	err = s.dispatch(ctx, func(b *pgx.Batch) {
		if len(all.goneIDs) > 0 {
			b.Queue(settleGone, all.goneIDs, all.goneAttempts)
		}
		if len(all.againIDs) > 0 {
			b.Queue(settleAgain, all.againIDs, all.againAttempts, all.againCount, all.againDue, all.againKeep, all.againErrors)
		}
		if len(all.handledIDs) > 0 {
			b.Queue(settleHandled, all.handledIDs, all.handledAttempts, all.handledLetters, all.handledAs, now)
		}
		if len(all.deadIDs) > 0 {
			b.Queue(settleHoldApps, all.deadApps)
			b.Queue(settleDead, all.deadIDs, all.deadAttempts, all.deadShown, all.deadLetters, all.deadReasons, all.deadErrors,
				all.deadEvents, all.deadPayloads, now, s.emitter.notice).Query(func(rows pgx.Rows) (err error) {
				emissions, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e about, err error) {
					err = row.Scan(&e.app, &e.depth, &e.matched, nil)
					return e, err
				})
				return err
			})
		}
	})
	if err != nil {
		return 0, err
	}
	for _, e := range emissions {
		if !s.emitter.tooDeep(e.app, cloud.EventDeadLetter, e.depth) {
			emitted += e.matched
		}
	}
	return emitted, nil
}

// errorText is a ScriptError as stored; nil is null.
func errorText(e *cloud.ScriptError) (*string, error) {
	if e == nil {
		return nil, nil
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	text := string(b)
	return &text, nil
}
