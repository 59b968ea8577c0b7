package cloud

import (
	"context"
	"encoding/json"
	"time"
)

// Bounds of the kv service.
const (
	MaxKVKey        = 512       // bytes of a key, and of a collection's name
	MaxKVValue      = 256 << 10 // bytes of a value's JSON text
	MaxKVMany       = 100       // keys of one GetMany
	DefaultKVLimit  = 100       // entries of one List
	MaxKVLimit      = 1000
	MaxKVResultSize = 8 << 20 // bytes of values in one GetMany or List answer
)

// KV is a store of JSON values by collection and key, apart for each app.
//
// Every method refuses an empty or overlong collection or key and text that is
// not valid UTF-8 or holds U+0000 with CodeInvalid naming the argument, a caller
// without AppKvRead (or AppKvWrite where it changes something) with
// CodeForbidden, and answers CodeUnavailable while the database is away.
// A change that returned without error is durable. An expired entry is absent.
type KV interface {
	// Get reports whether the key is present, and its entry.
	Get(ctx context.Context, call Call, collection, key string) (KVEntry, bool, error)

	// Set stores value under key and returns the new entry. It refuses a value
	// that is not JSON (CodeInvalid) or over MaxKVValue (CodeLimit), and fails
	// with CodeConflict when o.IfVersion does not hold.
	Set(ctx context.Context, call Call, collection, key string, value json.RawMessage, o KVSet) (KVEntry, error)

	// Delete removes the key and reports whether it was there.
	Delete(ctx context.Context, call Call, collection, key string) (bool, error)

	// Increment adds by to the number under key, an absent one counting as 0,
	// keeps its expiry, and returns the sum. Numbers are IEEE 754 doubles, as in
	// JavaScript. A value that is no number: CodeInvalid about "key"; a sum that
	// is not finite: CodeInvalid about "by".
	Increment(ctx context.Context, call Call, collection, key string, by float64) (float64, error)

	// GetMany returns the entries that are present among at most MaxKVMany keys,
	// in the order of keys, duplicates once. More than MaxKVResultSize bytes of
	// values: CodeLimit.
	GetMany(ctx context.Context, call Call, collection string, keys []string) ([]KVEntry, error)

	// List returns entries in the byte order of their keys. Entries that are
	// neither added nor removed while a caller pages appear exactly once.
	// A cursor that List did not make: CodeInvalid about "cursor".
	List(ctx context.Context, call Call, collection string, q KVQuery) (KVPage, error)

	// Collections returns the names of the app's collections that have entries,
	// sorted by byte order, after the given name, at most limit (1 to MaxKVLimit).
	Collections(ctx context.Context, call Call, after string, limit int) ([]string, error)
}

// KVEntry is one value with what is known of it.
type KVEntry struct {
	Key       string
	Value     json.RawMessage // nil where it was not asked for
	Version   int64           // 1 for a new key, one more with each change
	ExpiresAt time.Time       // zero: never
	UpdatedAt time.Time
}

// KVSet are the options of KV.Set.
type KVSet struct {
	TTL time.Duration // until the entry expires; 0: never; negative: CodeInvalid about "ttl"
	// IfVersion makes the change conditional: the entry must have this version,
	// 0 meaning that there is none. Nil: unconditional.
	IfVersion *int64
}

// KVQuery selects what KV.List returns.
type KVQuery struct {
	Prefix string
	Limit  int    // 0: DefaultKVLimit; over MaxKVLimit or negative: CodeInvalid about "limit"
	Cursor string // KVPage.Cursor of the page before; "" for the first
	Values bool   // with values; a page then ends early at MaxKVResultSize bytes
}

// KVPage is one page of a listing.
type KVPage struct {
	Entries []KVEntry
	Cursor  string // for the next page; "" at the end
}
