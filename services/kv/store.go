// Package kv is the key-value service: its gate and rules, over a Store.
package kv

import (
	"context"
	"encoding/json"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Store keeps entries by app, collection and key. Its arguments are checked
// already. Methods answer CodeUnavailable while the database is away. Time
// comes from the caller, so that expiry is the same for all stores; an entry
// whose expiry is not after now is absent, for conditions too, and a new one in
// its place starts at version 1.
//
// A change emits an event of the kind kv (op "set" or "delete") to the triggers of
// its app, in its own transaction; cause is what led to it. Deleting what is absent
// emits nothing.
type Store interface {
	Get(ctx context.Context, appID, collection, key string, now time.Time) (cloud.KVEntry, bool, error)

	// Set stores value; expires is zero for never. CodeConflict when ifVersion is
	// given and does not hold.
	Set(ctx context.Context, cause cloud.Cause, appID, collection, key string, value json.RawMessage, expires time.Time, ifVersion *int64, now time.Time) (cloud.KVEntry, error)

	Delete(ctx context.Context, cause cloud.Cause, appID, collection, key string, now time.Time) (bool, error)

	// Increment is atomic. CodeInvalid about "key" if the value is no number,
	// about "by" if the sum is not finite.
	Increment(ctx context.Context, cause cloud.Cause, appID, collection, key string, by float64, now time.Time) (float64, error)

	// GetMany returns the entries that exist, in any order.
	GetMany(ctx context.Context, appID, collection string, keys []string, now time.Time) ([]cloud.KVEntry, error)

	// List returns at most limit entries whose keys have the prefix and are after
	// the key after (byte order; "" is before all), ordered by key.
	List(ctx context.Context, appID, collection, prefix, after string, limit int, values bool, now time.Time) ([]cloud.KVEntry, error)

	// Collections returns names of collections with entries, after the name after.
	Collections(ctx context.Context, appID, after string, limit int, now time.Time) ([]string, error)

	// Sweep deletes at most limit expired entries and returns how many it deleted.
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)
}
