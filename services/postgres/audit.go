package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
)

// What is kept of the audit log, for auditAge at most. All ours. What an app's
// editors do pushes out entries about that app's contents alone; what is said of
// the instance is of another order.
const (
	auditAge             = 400 * 24 * time.Hour
	auditEntries         = 100_000 // about the instance
	auditEntriesContents = 2_000   // about the contents of one app
	// auditSweep bounds how many entries one statement of a sweep deletes.
	auditSweep = 1_000
)

// ofContents tells of an entry whether it is about what is in an app. Others are
// about the instance: its users and what they come in with, which apps there are
// and who is in them, and all that was done on the machine itself.
const ofContents = `(app_id IS NOT NULL AND via <> 'command' AND action NOT IN ('create-app', 'delete-app', 'set-member', 'remove-member'))`

// record inserts the audit entry in ctx, if there is one, with the time and an id
// of its own, as the last deed of the change that it is about. One entry of some
// hundred sweeps what is kept no longer: which one, its random digits say.
func record(ctx context.Context, tx pgx.Tx, now time.Time) error {
	e := cloud.AuditFrom(ctx)
	if e == nil {
		return nil
	}
	id := cloud.NewID()
	_, err := tx.Exec(ctx, `
		INSERT INTO audit_log (id, at, user_id, user_name, via, address, action, app_id, app_slug, target)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce(nullif($9, ''), (SELECT slug FROM apps WHERE apps.id = $8), ''), $10)`,
		id, now, idOrNull(e.UserID), text(e.UserName), text(e.Via), text(e.Address), text(e.Action),
		idOrNull(e.AppID), text(e.AppSlug), text(e.Target))
	if err != nil || !strings.HasSuffix(id, "00") {
		return err
	}
	return sweepAudit(ctx, tx, now, e.AppID)
}

// Record inserts an entry of the audit log for a deed that is no change of the
// database's own, such as giving the instance a new master key.
func (i *Instance) Record(ctx context.Context, entry cloud.AuditEntry, now time.Time) error {
	return inChange(cloud.WithAudit(ctx, &entry), i.pool, func() time.Time { return now }, func(pgx.Tx) error { return nil })
}

// auditApp says which app the change in ctx is about. The slug may be empty if the
// app will be there still when the change is recorded.
func auditApp(ctx context.Context, id, slug string) {
	if e := cloud.AuditFrom(ctx); e != nil {
		e.AppID, e.AppSlug = id, slug
	}
}

// sweepAudit deletes some of what is kept no longer, by age, of the instance, and
// of one app, if appID is not "": an app has more entries than it may only after
// one of its own.
func sweepAudit(ctx context.Context, tx pgx.Tx, now time.Time, appID string) error {
	sweep := func(old string, args ...any) error {
		_, err := tx.Exec(ctx, `
			DELETE FROM audit_log WHERE id IN (
				SELECT id FROM audit_log WHERE `+old+` ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)`,
			append([]any{auditSweep}, args...)...)
		return err
	}
	beyond := func(kind string) string {
		return kind + ` AND id < (SELECT id FROM audit_log WHERE ` + kind + ` ORDER BY id DESC OFFSET $2 - 1 LIMIT 1)`
	}
	if err := sweep(`id < $2`, cloud.FirstID(now.Add(-auditAge))); err != nil {
		return err
	}
	if err := sweep(beyond(`NOT `+ofContents), auditEntries); err != nil || !cloud.IsID(appID) {
		return err
	}
	return sweep(beyond(`app_id = $3 AND `+ofContents), auditEntriesContents, appID)
}

// Audit returns the entries of the audit log that filter selects, newest first.
// They are kept for 400 days: the last 100,000 about the instance, and of each app
// the last 2,000 about its contents.
func (s *Apps) Audit(ctx context.Context, f cloud.AuditFilter) ([]cloud.AuditEntry, error) {
	sql := `
		SELECT id, at, coalesce(user_id::text, ''), user_name, via, address, action, coalesce(app_id::text, ''), app_slug, target
		FROM audit_log WHERE true`
	var args []any
	and := func(condition string, arg any) {
		args = append(args, arg)
		sql += fmt.Sprintf(` AND `+condition, len(args))
	}
	if f.UserID != "" {
		and(`user_id = $%d`, idOrNull(f.UserID))
	}
	if f.AppID != "" {
		and(`app_id = $%d`, idOrNull(f.AppID))
	}
	if f.Action != "" {
		and(`action = $%d`, text(f.Action))
	}
	if f.Before != "" {
		if !cloud.IsID(f.Before) {
			return nil, cloud.Invalid("before", "%q is not the id of an entry", f.Before)
		}
		and(`id < $%d`, f.Before)
	}
	args = append(args, min(max(f.Limit, 1), 1000))
	sql += fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args))
	return selectAll(ctx, s.pool, scanAudit, sql, args...)
}

func scanAudit(row pgx.CollectableRow) (e cloud.AuditEntry, err error) {
	err = row.Scan(&e.ID, &e.At, &e.UserID, &e.UserName, &e.Via, &e.Address, &e.Action, &e.AppID, &e.AppSlug, &e.Target)
	e.At = e.At.UTC()
	return e, err
}

// idOrNull is id, or nil, which no id equals, if it has not the form of one.
func idOrNull(id string) *string {
	if !cloud.IsID(id) {
		return nil
	}
	return &id
}
