package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
)

// getter answers gets. The first get of an app queries at once; those of the same
// app that come meanwhile share the next query. Under load a get then costs a
// fraction of a round trip, no get waits for company, and none for another app.
type getter struct {
	pool *pgxpool.Pool

	mu      sync.Mutex
	waiting map[string][]*get // by app id; an app with a query under way has an entry
}

// get is one wanted entry, and its answer once done is closed.
type get struct {
	appID, collection, key string
	now                    time.Time

	done  chan struct{}
	entry cloud.KVEntry
	found bool
	err   error
}

// maxShare is how many gets share a query, whose values are in memory together.
const maxShare = 32

func (g *getter) get(ctx context.Context, appID, collection, key string, now time.Time) (cloud.KVEntry, bool, error) {
	if !cloud.IsID(appID) {
		return cloud.KVEntry{}, false, nil
	}
	r := &get{appID: appID, collection: collection, key: key, now: now, done: make(chan struct{})}
	g.mu.Lock()
	others, underWay := g.waiting[appID]
	if underWay {
		g.waiting[appID] = append(others, r)
	} else {
		g.waiting[appID] = nil
	}
	g.mu.Unlock()
	if !underWay {
		g.query([]*get{r})
		if batch := g.next(appID); batch != nil {
			go g.serve(appID, batch)
		}
	}
	select {
	case <-r.done:
		return r.entry, r.found, r.err
	case <-ctx.Done():
		return cloud.KVEntry{}, false, translate(ctx.Err())
	}
}

// next takes gets of the app for one query. Nil: none waits, and the app has no
// query under way any more.
func (g *getter) next(appID string) []*get {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.waiting[appID]
	if len(all) == 0 {
		delete(g.waiting, appID)
		return nil
	}
	n := min(len(all), maxShare)
	g.waiting[appID] = all[n:]
	return all[:n:n]
}

func (g *getter) serve(appID string, batch []*get) {
	for batch != nil {
		g.query(batch)
		batch = g.next(appID)
	}
}

// query answers the gets of a batch, all of one app. The context is nobody's: a caller who
// leaves must not fail the others.
func (g *getter) query(batch []*get) {
	ctx, cancel := context.WithTimeout(context.Background(), operationTimeout)
	defer cancel()
	var err error
	if len(batch) == 1 {
		err = g.queryOne(ctx, batch[0])
	} else {
		err = g.queryAll(ctx, batch)
	}
	for _, r := range batch {
		if r.err = err; err != nil || r.found && expired(r.entry, r.now) {
			r.entry, r.found = cloud.KVEntry{}, false
		}
		close(r.done)
	}
}

func expired(e cloud.KVEntry, now time.Time) bool {
	return !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(now)
}

func (g *getter) queryOne(ctx context.Context, r *get) error {
	entries, err := selectAll(ctx, g.pool, scanEntry, `
		SELECT key, value, version, expires_at, updated_at FROM kv_entries
		WHERE app_id = $1 AND collection = $2 AND key = $3`,
		r.appID, r.collection, r.key)
	if len(entries) == 1 {
		r.entry, r.found = entries[0], true
	}
	return err
}

// queryAll looks each get up in the primary key, whatever the planner believes
// of the table: the lateral query with its limit leaves it no other way.
func (g *getter) queryAll(ctx context.Context, batch []*get) error {
	collections, keys := make([]string, len(batch)), make([]string, len(batch))
	for i, r := range batch {
		collections[i], keys[i] = r.collection, r.key
	}
	_, err := selectAll(ctx, g.pool, func(row pgx.CollectableRow) (struct{}, error) {
		var (
			n       int
			e       cloud.KVEntry
			value   []byte
			expires *time.Time
		)
		if err := row.Scan(&n, &e.Key, &value, &e.Version, &expires, &e.UpdatedAt); err != nil {
			return struct{}{}, err
		}
		r := batch[n-1]
		r.entry, r.found = entryOf(e, value, expires), true
		return struct{}{}, nil
	}, `
		SELECT wanted.n, e.key, e.value, e.version, e.expires_at, e.updated_at
		FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS wanted (collection, key, n)
		CROSS JOIN LATERAL (
			SELECT * FROM kv_entries
			WHERE app_id = $1 AND collection = wanted.collection AND key = wanted.key
			LIMIT 1
		) e`,
		batch[0].appID, collections, keys)
	return err
}
