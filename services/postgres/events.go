package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// Events is the outbox and what surrounds it: an events.Store.
type Events struct {
	pool    *pgxpool.Pool
	emitter *Emitter
}

var _ events.Store = (*Events)(nil)

// NewEvents returns a store on pool. What it puts into the outbox the emitter's
// Source leaves out, since who calls the store pokes the dispatcher; the emitter
// itself pokes nobody here. Nil: all are notified.
func NewEvents(pool *pgxpool.Pool, emitter *Emitter) *Events {
	return &Events{pool: pool, emitter: emitter.orNobody()}
}

// dispatching is what the statements of a dispatcher run under. Their commits do
// not wait for the disk: what a power cut takes back is done again. And they use
// the outbox's indexes whatever the planner believes of the table, which is empty
// one moment and huge the next, by one plan for each connection.
const dispatching = `
	SELECT set_config('synchronous_commit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true),
	       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
	       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
	       set_config('enable_sort', 'off', true), set_config('jit', 'off', true)`

// dispatch sends statements, which are one transaction, in one round trip.
func (s *Events) dispatch(ctx context.Context, queue func(b *pgx.Batch)) error {
	_, err := again(s.pool, func() (struct{}, error) {
		conn, err := acquire(ctx, s.pool)
		if err != nil {
			return struct{}{}, err
		}
		defer conn.Release()
		b := &pgx.Batch{}
		b.Queue(dispatching)
		queue(b)
		return struct{}{}, translate(conn.SendBatch(ctx, b).Close())
	})
	return err
}

// firstRows is the part of a statement that goes from app to app by the index, and
// has the first row of each in the CTE "app". All else of the app stands behind it:
// who begins there passes the index entries of rows that are gone only once.
const firstRows = `
	RECURSIVE app AS (
		(SELECT app_id, due_at, id, leased_until FROM outbox ORDER BY app_id, due_at, id LIMIT 1)
		UNION ALL
		SELECT next.* FROM app CROSS JOIN LATERAL (
			SELECT o.app_id, o.due_at, o.id, o.leased_until FROM outbox o
			WHERE o.app_id > app.app_id ORDER BY o.app_id, o.due_at, o.id LIMIT 1
		) next
	)`

// claim leases deliveries; $1 is now, $2 until, $3 the limit, $4 that per app, $5
// and $6 apps and what they have under way, $7 and $8 the ids and attempts of the
// leases left out.
//
// Of each app it looks at as many as might win a place: the second of one app comes
// after the first of all rivals, the apps with as little under way and something to
// give. Only of the winners it then locks as many of each app, passing over those
// that another claim holds.
const claim = `
	WITH ` + firstRows + `,
	contender AS (
		SELECT app.*, busy.n AS under_way,
		       count(*) FILTER (WHERE app.leased_until <= $1) OVER (ORDER BY busy.n) - (app.leased_until <= $1)::integer AS rivals
		FROM app CROSS JOIN LATERAL (
			SELECT coalesce((SELECT u.n FROM unnest($5::uuid[], $6::integer[]) AS u (app_id, n) WHERE u.app_id = app.app_id), 0) AS n
		) busy
		WHERE app.due_at <= $1 AND busy.n < $4
	),
	won AS (
		SELECT app_id, due_at, id, count(*) AS n FROM (
			SELECT c.app_id, c.due_at, c.id FROM contender c CROSS JOIN LATERAL (
				SELECT row_number() OVER (ORDER BY o.due_at, o.id) AS n, o.due_at, o.id FROM (
					SELECT due_at, id FROM outbox
					WHERE app_id = c.app_id AND (due_at, id) >= (c.due_at, c.id) AND due_at <= $1 AND leased_until <= $1
					      AND (id, attempt) NOT IN (SELECT * FROM unnest($7::bigint[], $8::smallint[]))
					ORDER BY due_at, id LIMIT least($4 - c.under_way, greatest(1, $3 - c.rivals))
				) o
			) candidate
			ORDER BY c.under_way + candidate.n, candidate.due_at, candidate.id LIMIT $3
		) winners
		GROUP BY app_id, due_at, id
	)
	UPDATE outbox SET leased_until = $2, attempt = attempt + 1
	WHERE ctid = ANY (ARRAY(
		SELECT taken.ctid FROM won CROSS JOIN LATERAL (
			SELECT o.ctid FROM outbox o
			WHERE o.app_id = won.app_id AND (o.due_at, o.id) >= (won.due_at, won.id) AND o.due_at <= $1 AND o.leased_until <= $1
			      AND (o.id, o.attempt) NOT IN (SELECT * FROM unnest($7::bigint[], $8::smallint[]))
			ORDER BY o.due_at, o.id LIMIT won.n FOR UPDATE SKIP LOCKED
		) taken
	))
	RETURNING ` + deliveryFields

// Claim implements events.Store.
func (s *Events) Claim(ctx context.Context, c events.Claim) ([]cloud.Delivery, error) {
	apps, counts := make([]string, 0, len(c.UnderWay)), make([]int32, 0, len(c.UnderWay))
	for app, n := range c.UnderWay {
		if cloud.IsID(app) {
			apps, counts = append(apps, app), append(counts, int32(n))
		}
	}
	ids, attempts := leases(c.Except)
	var claimed []cloud.Delivery
	err := s.dispatch(ctx, func(b *pgx.Batch) {
		b.Queue(claim, stamp(c.Now), stamp(c.Until), c.Limit, c.PerApp, apps, counts, ids, attempts).Query(func(rows pgx.Rows) (err error) {
			claimed, err = pgx.CollectRows(rows, scanDelivery)
			return err
		})
	})
	slices.SortFunc(claimed, byDue)
	return claimed, err
}

// leases are ids and attempts in arrays.
func leases(all []events.Lease) (ids []int64, attempts []int16) {
	ids, attempts = make([]int64, len(all)), make([]int16, len(all))
	for i, l := range all {
		ids[i], attempts[i] = l.ID, int16(l.Attempt)
	}
	return ids, attempts
}

// nextDue is when the first delivery is or will be due; $1 and $2 are the ids and
// attempts of leases left out, $3 apps. Of each app it reads what is leased before
// the first delivery that is not: leases of later ones pass after that is due.
const nextDue = `
	WITH ` + firstRows + `
	SELECT least(min(free.due_at), min((
		SELECT min(o.leased_until) FROM outbox o
		WHERE o.app_id = app.app_id AND (o.due_at, o.id) >= (app.due_at, app.id)
		      AND (o.due_at, o.id) < (coalesce(free.due_at, 'infinity'), coalesce(free.id, 0))
		      AND o.leased_until > '-infinity'
		      AND (o.id, o.attempt) NOT IN (SELECT * FROM unnest($1::bigint[], $2::smallint[]))
	)))
	FROM app LEFT JOIN LATERAL (
		SELECT o.due_at, o.id FROM outbox o
		WHERE o.app_id = app.app_id AND (o.due_at, o.id) >= (app.due_at, app.id) AND o.leased_until = '-infinity'
		ORDER BY o.due_at, o.id LIMIT 1
	) free ON true
	WHERE app.app_id <> ALL ($3::uuid[])`

const nextSchedule = `SELECT min(next_at) FROM triggers WHERE enabled AND next_at IS NOT NULL`

// NextDue implements events.Store.
func (s *Events) NextDue(ctx context.Context, schedules bool, except []events.Lease, full []string) (time.Time, bool, error) {
	ids, attempts := leases(except)
	full = slices.DeleteFunc(slices.Clone(full), func(id string) bool { return !cloud.IsID(id) })
	if full == nil {
		full = []string{}
	}
	var first time.Time
	consider := func(row pgx.Row) error {
		var at *time.Time
		err := row.Scan(&at)
		if at != nil && (first.IsZero() || at.Before(first)) {
			first = at.UTC()
		}
		return err
	}
	err := s.dispatch(ctx, func(b *pgx.Batch) {
		b.Queue(nextDue, ids, attempts, full).QueryRow(consider)
		if schedules {
			b.Queue(nextSchedule).QueryRow(consider)
		}
	})
	return first, !first.IsZero(), err
}

// Renew implements events.Store.
func (s *Events) Renew(ctx context.Context, held []events.Lease, until time.Time) error {
	if len(held) == 0 {
		return nil
	}
	ids, attempts := leases(held)
	return s.dispatch(ctx, func(b *pgx.Batch) {
		b.Queue(`
			UPDATE outbox o SET leased_until = $3 FROM unnest($1::bigint[], $2::smallint[]) AS held (id, attempt)
			WHERE o.id = held.id AND o.attempt = held.attempt AND o.leased_until > '-infinity'`, ids, attempts, stamp(until))
	})
}

// Enqueue implements events.Store.
func (s *Events) Enqueue(ctx context.Context, d cloud.Delivery) error {
	for _, id := range []string{d.AppID, d.EventID, d.ScriptID} {
		if !cloud.IsID(id) {
			return cloud.Errorf(cloud.CodeInternal, "a delivery has %q for an id", id)
		}
	}
	return inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		if d.Kind == cloud.EventHTTP {
			full := false
			if err := tx.QueryRow(ctx, `SELECT count(*) = $2 FROM (SELECT FROM outbox WHERE app_id = $1 LIMIT $2) waiting`, d.AppID, cloud.MaxWaiting).Scan(&full); err != nil {
				return err
			}
			if full {
				return events.Full()
			}
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO outbox (`+deliveryColumns+`)
			VALUES ($1, $2, nullif($3, '')::uuid, $4, $5, $6, $7, nullif($8, '')::uuid, $9, $10, nullif($11, '')::uuid, $12, $13, $14, $15, $16, $17)`,
			d.AppID, d.EventID, d.TriggerID, d.ScriptID, d.Kind, d.Op, d.Payload, d.UserID, d.Scopes, d.Depth, d.CauseID,
			d.Retry.Attempts, d.Retry.Backoff, d.Retry.Base.Milliseconds(), d.Retry.Cap.Milliseconds(), stamp(d.At), stamp(d.DueAt))
		if err != nil {
			return err
		}
		return notify(ctx, tx, s.emitter.notice)
	})
}

// Depth implements events.Store.
func (s *Events) Depth(ctx context.Context) (events.Depth, error) {
	d := events.Depth{Waiting: map[string]int{}, DeadLetters: map[string]int{}}
	type count struct {
		app      string
		n        int
		earliest *time.Time
	}
	scan := func(row pgx.CollectableRow) (c count, err error) {
		err = row.Scan(&c.app, &c.n, &c.earliest)
		return c, err
	}
	waiting, err := selectAll(ctx, s.pool, scan, `
		SELECT app_id::text, count(*), min(due_at) FILTER (WHERE leased_until = '-infinity') FROM outbox GROUP BY app_id`)
	if err != nil {
		return events.Depth{}, err
	}
	for _, c := range waiting {
		d.Waiting[c.app] = c.n
		if c.earliest != nil && (d.EarliestDue.IsZero() || c.earliest.Before(d.EarliestDue)) {
			d.EarliestDue = c.earliest.UTC()
		}
	}
	letters, err := selectAll(ctx, s.pool, scan, `
		SELECT app_id::text, count(*), NULL::timestamptz FROM dead_letters WHERE resolution IN ('', 'handler_failed') GROUP BY app_id`)
	for _, c := range letters {
		d.DeadLetters[c.app] = c.n
	}
	return d, err
}
