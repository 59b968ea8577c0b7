package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud/services/cloud"
)

// EmitterConfig is what NewEmitter needs. Zero fields get the defaults named here.
type EmitterConfig struct {
	// Poke is called after a commit that put deliveries into the outbox which are
	// due at once. It must not block. Nil: nobody is told.
	Poke   func()
	Logger *slog.Logger // nil: slog.Default
}

// Emitter tells who is to know when a store has put deliveries into the outbox.
// The stores that stand beside one dispatcher share one: what they commit pokes
// that dispatcher, and the Source beside it leaves out the notification, which all
// others get. It is safe for concurrent use.
type Emitter struct {
	notice string // that others get
	poke   func()
	log    *slog.Logger
}

// NewEmitter returns an Emitter.
func NewEmitter(c EmitterConfig) *Emitter {
	if c.Poke == nil {
		c.Poke = func() {}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Emitter{notice: due + " " + cloud.NewID(), poke: c.Poke, log: c.Logger}
}

// orNobody is e, or an Emitter that tells nobody but other processes.
func (e *Emitter) orNobody() *Emitter {
	if e == nil {
		return NewEmitter(EmitterConfig{})
	}
	return e
}

// due is the notification that events may be due, alone or before a space and
// whose it is. All others are ids of apps.
const due = "due"

// isDue tells whether a notification says that events may be due, and whether
// that is news to the Emitter's process.
func (e *Emitter) isDue(notice string) (is, news bool) {
	is = notice == due || strings.HasPrefix(notice, due+" ")
	return is, is && notice != e.notice
}

// emitted is called when a change that matched so many triggers has been
// committed.
func (e *Emitter) emitted(appID string, kind cloud.EventKind, depth, matched int) {
	if matched > 0 && !e.tooDeep(appID, kind, depth) {
		e.poke()
	}
}

// unsure is called when a change that may emit has failed: unless the server itself
// has said so, it may have been committed, and only the answer was lost.
func (e *Emitter) unsure(err error) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || cloud.CodeOf(err) == cloud.CodeUnavailable {
		e.poke()
	}
}

// tooDeep tells, and logs, that an event that matched a trigger was not delivered.
func (e *Emitter) tooDeep(appID string, kind cloud.EventKind, depth int) bool {
	if depth <= cloud.MaxDepth {
		return false
	}
	e.log.Warn("an event was not delivered: too many events have caused one another", "app_id", appID, "kind", kind, "depth", depth)
	return true
}

// deliveryColumns are what a row of the outbox begins with.
const deliveryColumns = `app_id, event_id, trigger_id, script_id, kind, op, payload, user_id, scopes,
	depth, cause_id, max_attempts, backoff, base_ms, cap_ms, at, due_at`

// emission is the part of a statement that puts its events into the outbox, in the
// transaction of what caused them. A CTE "event" before it has a row for each:
//
//	app_id uuid, event_id uuid, kind text, op text, place text, name text,
//	payload json, lesser json (if the payload is over cloud.MaxEventPayload),
//	depth integer, cause_id uuid, at timestamptz
//
// "matched" then has a row for each trigger that matches one, although none is
// delivered that is deeper than cloud.MaxDepth. "told", which the statement must
// read, notifies other processes if anything was. The parameter with the number
// notice is Emitter.notice.
func emission(notice int) string {
	return fmt.Sprintf(`
		matched AS (
			SELECT event.*, t.id AS trigger_id, t.script_id, t.user_id, t.scopes, t.max_attempts, t.backoff, t.base_ms, t.cap_ms
			FROM event
			JOIN triggers t ON t.app_id = event.app_id AND t.kind = event.kind AND t.enabled
				AND (t.ops IS NULL OR event.op = ANY(t.ops))
				AND (t.place_like IS NULL OR event.place LIKE t.place_like)
				AND (t.name_like IS NULL OR event.name LIKE t.name_like)
			JOIN users ON users.id = t.user_id AND users.active
		),
		emitted AS (
			INSERT INTO outbox (`+deliveryColumns+`)
			SELECT app_id, event_id, trigger_id, script_id, kind, op,
			       CASE WHEN octet_length(payload::text) > %d THEN lesser ELSE payload END, user_id, scopes,
			       depth, cause_id, max_attempts, backoff, base_ms, cap_ms, at, at
			FROM matched WHERE depth <= %d
			RETURNING 1
		),
		told AS (
			SELECT pg_notify('picloud_' || replace(id::text, '-', '_'), $%d) FROM instance WHERE EXISTS (SELECT FROM emitted)
		)`, cloud.MaxEventPayload, cloud.MaxDepth, notice)
}
