package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

const triggerSelect = `
	SELECT t.id, t.app_id, t.script_id, scripts.name, t.kind, t.filter, t.enabled,
	       t.max_attempts, t.backoff, t.base_ms, t.cap_ms,
	       coalesce(t.user_id::text, ''), coalesce(users.name, ''), t.scopes, t.next_at, t.created_at, t.updated_at
	FROM triggers t JOIN scripts ON scripts.app_id = t.app_id AND scripts.id = t.script_id LEFT JOIN users ON users.id = t.user_id`

func scanTrigger(row pgx.CollectableRow) (t cloud.Trigger, err error) {
	var (
		filter      []byte
		base, limit int64
		next        *time.Time
	)
	err = row.Scan(&t.ID, &t.AppID, &t.ScriptID, &t.Script, &t.Kind, &filter, &t.Enabled,
		&t.Retry.Attempts, &t.Retry.Backoff, &base, &limit,
		&t.UserID, &t.UserName, &t.Scopes, &next, &t.CreatedAt, &t.UpdatedAt)
	if err != nil {
		return t, err
	}
	t.Retry.Base, t.Retry.Cap = milliseconds(base), milliseconds(limit)
	t.NextAt, t.CreatedAt, t.UpdatedAt = timeOf(next), t.CreatedAt.UTC(), t.UpdatedAt.UTC()
	err = json.Unmarshal(filter, &t.Filter)
	return t, err
}

func triggers(ctx context.Context, q querier, appID string) ([]cloud.Trigger, error) {
	if !cloud.IsID(appID) {
		return nil, nil
	}
	return selectAll(ctx, q, scanTrigger, triggerSelect+` WHERE t.app_id = $1 ORDER BY t.created_at, t.id`, appID)
}

func noTrigger(id string) *cloud.Error {
	return cloud.Errorf(cloud.CodeNotFound, "the app has no trigger %q", id)
}

func trigger(ctx context.Context, q querier, appID, id string) (cloud.Trigger, error) {
	if !cloud.IsID(appID) || !cloud.IsID(id) {
		return cloud.Trigger{}, noTrigger(id)
	}
	return selectOne(ctx, q, scanTrigger, noTrigger(id), triggerSelect+` WHERE t.app_id = $1 AND t.id = $2`, appID, id)
}

// Triggers implements manager.Store.
func (s *Apps) Triggers(ctx context.Context, appID string) ([]cloud.Trigger, error) {
	return triggers(ctx, s.pool, appID)
}

// Trigger implements manager.Store.
func (s *Apps) Trigger(ctx context.Context, appID, id string) (cloud.Trigger, error) {
	return trigger(ctx, s.pool, appID, id)
}

func (t *appTx) Triggers(ctx context.Context) ([]cloud.Trigger, error) {
	return triggers(ctx, t.tx, t.appID)
}

func (t *appTx) Trigger(ctx context.Context, id string) (cloud.Trigger, error) {
	if !cloud.IsID(id) {
		return cloud.Trigger{}, noTrigger(id)
	}
	return selectOne(ctx, t.tx, scanTrigger, noTrigger(id), triggerSelect+` WHERE t.app_id = $1 AND t.id = $2 FOR NO KEY UPDATE OF t`, t.appID, id)
}

func (t *appTx) AddTrigger(ctx context.Context, added cloud.Trigger) (cloud.Trigger, error) {
	added.ID = cloud.NewID()
	return t.saveTrigger(ctx, added, `
		INSERT INTO triggers (app_id, id, script_id, kind, filter, place_like, name_like, ops, enabled,
		                      max_attempts, backoff, base_ms, cap_ms, user_id, scopes, next_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, nullif($14, '')::uuid, $15, $16, $17, $17)`)
}

func (t *appTx) UpdateTrigger(ctx context.Context, changed cloud.Trigger) (cloud.Trigger, error) {
	return t.saveTrigger(ctx, changed, `
		UPDATE triggers SET script_id = $3, filter = $5, place_like = $6, name_like = $7, ops = $8, enabled = $9,
			max_attempts = $10, backoff = $11, base_ms = $12, cap_ms = $13, user_id = nullif($14, '')::uuid, scopes = $15,
			next_at = $16, updated_at = $17
		WHERE app_id = $1 AND id = $2 AND kind = $4`)
}

// saveTrigger runs a statement that stores a trigger, and returns it as it is then.
func (t *appTx) saveTrigger(ctx context.Context, saved cloud.Trigger, sql string) (cloud.Trigger, error) {
	switch {
	case !cloud.IsID(saved.ID):
		return cloud.Trigger{}, noTrigger(saved.ID)
	case !cloud.IsID(saved.ScriptID):
		return cloud.Trigger{}, cloud.Errorf(cloud.CodeNotFound, "the app has no such script")
	case saved.UserID != "" && !cloud.IsID(saved.UserID):
		return cloud.Trigger{}, noUser(saved.UserID)
	}
	filter, err := json.Marshal(saved.Filter)
	if err != nil {
		return cloud.Trigger{}, err
	}
	place, name, ops := events.Patterns(saved)
	n, err := t.exec(ctx, sql, t.appID, saved.ID, saved.ScriptID, saved.Kind, filter, place, name, ops, saved.Enabled,
		saved.Retry.Attempts, saved.Retry.Backoff, saved.Retry.Base.Milliseconds(), saved.Retry.Cap.Milliseconds(),
		saved.UserID, saved.Scopes, timeOrNull(saved.NextAt), t.now)
	if err == nil && n == 0 {
		err = noTrigger(saved.ID)
	}
	if err == nil && !saved.NextAt.IsZero() {
		err = notify(ctx, t.tx, due)
	}
	if err != nil {
		return cloud.Trigger{}, err
	}
	return t.Trigger(ctx, saved.ID)
}

func (t *appTx) DeleteTrigger(ctx context.Context, id string) error {
	return t.delete(ctx, "trigger", `DELETE FROM triggers WHERE app_id = $1 AND id = $2`, id)
}
