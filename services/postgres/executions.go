package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor"
)

// Executions keeps execution records: an executor.LogStore.
type Executions struct{ pool *pgxpool.Pool }

var _ executor.LogStore = (*Executions)(nil)

// NewExecutions returns a store on pool.
func NewExecutions(pool *pgxpool.Pool) *Executions { return &Executions{pool: pool} }

var executionColumns = []string{
	"app_id", "id", "script_id", "script_name", "version", "trigger", "request_id", "method", "path",
	"status", "code", "started_at", "duration_ns", "cpu_ns", "peak_memory", "lines", "truncated", "error",
	"event_id", "attempt", "depth", "cause_id",
}

// AppendExecutions implements executor.LogStore. The commit does not wait for
// the disk.
func (s *Executions) AppendExecutions(ctx context.Context, records []cloud.Execution) error {
	apps := map[string]bool{} // whether the app exists
	for _, r := range records {
		apps[r.AppID] = false
	}
	return inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
			return err
		}
		if err := holdApps(ctx, tx, apps); err != nil {
			return err
		}
		rows := make([][]any, 0, len(records))
		for _, r := range records {
			if !apps[r.AppID] {
				continue
			}
			row, err := executionRow(r)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"executions"}, executionColumns, pgx.CopyFromRows(rows))
		return err
	})
}

// holdApps marks which of the apps exist; they then do so until the transaction
// ends.
func holdApps(ctx context.Context, tx pgx.Tx, apps map[string]bool) error {
	ids := make([]string, 0, len(apps))
	for id := range apps {
		if cloud.IsID(id) {
			ids = append(ids, id)
		}
	}
	rows, err := tx.Query(ctx, `SELECT id::text FROM apps WHERE id = ANY($1::uuid[]) FOR KEY SHARE`, ids)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, id := range found {
		apps[id] = true
	}
	return err
}

func executionRow(r cloud.Execution) ([]any, error) {
	lines := r.Lines
	if lines == nil {
		lines = []cloud.LogLine{}
	}
	lineText, err := keepable(lines)
	if err != nil {
		return nil, err
	}
	var thrown []byte
	if r.Error != nil {
		if thrown, err = keepable(r.Error); err != nil {
			return nil, err
		}
	}
	var app, id, script, event, cause pgtype.UUID
	for _, u := range []struct {
		to   *pgtype.UUID
		text string
	}{{&app, r.AppID}, {&id, r.ID}, {&script, r.ScriptID}, {&event, r.EventID}, {&cause, r.CauseID}} {
		if u.text == "" && (u.to == &event || u.to == &cause) {
			continue // null
		}
		if err := u.to.Scan(u.text); err != nil {
			return nil, fmt.Errorf("execution %s: %w", r.ID, err)
		}
	}
	return []any{
		app, id, script, text(r.ScriptName), int32(r.Version), text(r.Trigger), text(r.RequestID), text(r.Method), text(r.Path),
		int32(r.Status), string(r.Code), r.StartedAt, int64(r.Duration), int64(r.CPU), r.PeakMemory, lineText, r.Truncated, thrown,
		event, int16(r.Attempt), int16(r.Depth), cause,
	}, nil
}

// SweepExecutions implements executor.LogStore.
func (s *Executions) SweepExecutions(ctx context.Context, before time.Time, keep int) error {
	return inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			WITH oldest AS MATERIALIZED (
				SELECT apps.id AS app_id, greatest($2, (
					SELECT e.id::text FROM executions e WHERE e.app_id = apps.id ORDER BY e.id DESC OFFSET $1 - 1 LIMIT 1
				))::uuid AS id
				FROM apps
			)
			DELETE FROM executions e USING oldest WHERE e.app_id = oldest.app_id AND e.id < oldest.id`,
			keep, cloud.FirstID(before))
		return err
	})
}

const executionSelect = `
	SELECT id, app_id, script_id, script_name, version, trigger, request_id, method, path,
	       status, code, started_at, duration_ns, cpu_ns, peak_memory, lines, truncated, error,
	       coalesce(event_id::text, ''), attempt, depth, coalesce(cause_id::text, '')
	FROM executions`

func scanExecution(row pgx.CollectableRow) (e cloud.Execution, err error) {
	var lines, thrown []byte
	err = row.Scan(&e.ID, &e.AppID, &e.ScriptID, &e.ScriptName, &e.Version, &e.Trigger, &e.RequestID, &e.Method, &e.Path,
		&e.Status, &e.Code, &e.StartedAt, &e.Duration, &e.CPU, &e.PeakMemory, &lines, &e.Truncated, &thrown,
		&e.EventID, &e.Attempt, &e.Depth, &e.CauseID)
	if err != nil {
		return e, err
	}
	e.StartedAt = e.StartedAt.UTC()
	if err := json.Unmarshal(lines, &e.Lines); err != nil {
		return e, err
	}
	if len(e.Lines) == 0 {
		e.Lines = nil
	}
	if thrown != nil {
		err = json.Unmarshal(thrown, &e.Error)
	}
	return e, err
}

// Executions implements manager.Store.
func (s *Apps) Executions(ctx context.Context, f cloud.ExecutionFilter) ([]cloud.Execution, error) {
	if !cloud.IsID(f.AppID) || f.ScriptID != "" && !cloud.IsID(f.ScriptID) {
		return nil, nil
	}
	sql := executionSelect + ` WHERE app_id = $1`
	args := []any{f.AppID}
	and := func(condition string, arg any) {
		args = append(args, arg)
		sql += fmt.Sprintf(` AND `+condition, len(args))
	}
	if f.ScriptID != "" {
		and(`script_id = $%d`, f.ScriptID)
	}
	if f.Before != "" {
		if !cloud.IsID(f.Before) {
			return nil, cloud.Invalid("before", "%q is not the id of an execution", f.Before)
		}
		and(`id < $%d`, f.Before)
	}
	if !f.Since.IsZero() {
		and(`started_at >= $%d`, f.Since)
	}
	if f.Failed {
		sql += ` AND (code <> '' OR status >= 500)`
	}
	args = append(args, min(max(f.Limit, 1), 1000))
	sql += fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args))
	return selectAll(ctx, s.pool, scanExecution, sql, args...)
}

// Execution implements manager.Store.
func (s *Apps) Execution(ctx context.Context, appID, id string) (cloud.Execution, error) {
	missing := cloud.Errorf(cloud.CodeNotFound, "the app has no record of an execution %q", id)
	if !cloud.IsID(appID) || !cloud.IsID(id) {
		return cloud.Execution{}, missing
	}
	return selectOne(ctx, s.pool, scanExecution, missing, executionSelect+` WHERE app_id = $1 AND id = $2`, appID, id)
}

// FindExecution implements manager.Store. The key begins with the app, so that
// each is asked.
func (s *Apps) FindExecution(ctx context.Context, id string) (cloud.Execution, error) {
	missing := cloud.Errorf(cloud.CodeNotFound, "there is no record of an execution %q", id)
	if !cloud.IsID(id) {
		return cloud.Execution{}, missing
	}
	return selectOne(ctx, s.pool, scanExecution, missing, executionSelect+` WHERE (app_id, id) IN (SELECT apps.id, $1::uuid FROM apps)`, id)
}
