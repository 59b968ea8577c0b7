package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// State implements events.Store. Of an event with several deliveries it tells of
// one that goes on, as long as there is one.
func (s *Events) State(ctx context.Context, eventID string) (state cloud.EventState, err error) {
	if !cloud.IsID(eventID) {
		return cloud.EventState{}, events.NoEvent(eventID)
	}
	conn, err := acquire(ctx, s.pool)
	if err != nil {
		return cloud.EventState{}, err
	}
	defer conn.Release()
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, conn, snapshot, func(tx pgx.Tx) error {
		state, err = readState(ctx, tx, eventID)
		return err
	})
	return state, translate(err)
}

func readState(ctx context.Context, tx pgx.Tx, eventID string) (cloud.EventState, error) {
	executions, err := selectAll(ctx, tx, scanExecution, executionSelect+` WHERE event_id = $1 ORDER BY id`, eventID)
	if err != nil {
		return cloud.EventState{}, err
	}
	for _, read := range []func(context.Context, pgx.Tx, string) ([]cloud.EventState, error){waitingState, deadState} {
		states, err := read(ctx, tx, eventID)
		if err != nil {
			return cloud.EventState{}, err
		}
		if len(states) > 0 {
			state := states[0]
			state.ID, state.Executions = eventID, executions
			return state, nil
		}
	}
	if len(executions) == 0 {
		return cloud.EventState{}, events.NoEvent(eventID)
	}
	last := executions[len(executions)-1]
	state := cloud.EventState{ID: eventID, AppID: last.AppID, Status: "succeeded", Attempts: last.Attempt, Executions: executions}
	if last.Code != "" || last.Status >= 500 {
		state.Status = "dead" // and its dead letter is swept
	}
	return state, nil
}

// waitingState is that of what the outbox holds.
func waitingState(ctx context.Context, tx pgx.Tx, eventID string) ([]cloud.EventState, error) {
	return selectAll(ctx, tx, func(row pgx.CollectableRow) (s cloud.EventState, err error) {
		var leased bool
		var due time.Time
		err = row.Scan(&s.AppID, &s.Attempts, &due, &leased)
		switch {
		case leased:
			s.Status = "running"
			return s, err
		case s.Attempts > 0:
			s.Status = "retrying"
		default:
			s.Status = "queued"
		}
		s.NextAt = due.UTC()
		return s, err
	}, `SELECT app_id, attempt, due_at, leased_until > '-infinity' FROM outbox WHERE event_id = $1 ORDER BY leased_until DESC, attempt DESC LIMIT 1`, eventID)
}

// deadState is that of what was given up, and not replayed since.
func deadState(ctx context.Context, tx pgx.Tx, eventID string) ([]cloud.EventState, error) {
	return selectAll(ctx, tx, func(row pgx.CollectableRow) (cloud.EventState, error) {
		s := cloud.EventState{Status: "dead"}
		err := row.Scan(&s.AppID, &s.Attempts, &s.DeadLetter)
		return s, err
	}, `SELECT app_id, attempts, id FROM dead_letters WHERE event_id = $1 AND resolution <> 'replayed' ORDER BY id DESC LIMIT 1`, eventID)
}
