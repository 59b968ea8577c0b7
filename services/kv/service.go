package kv

import (
	"context"
	"encoding/json"
	"math"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
)

// Config is what New needs.
type Config struct {
	Store      Store
	Authorizer cloud.Authorizer
	Now        func() time.Time // nil: time.Now
}

// Service is the kv service: it decides who may, checks what is asked, and
// leaves the keeping to its Store. Expired entries are swept by those who write
// entries that expire, a few at a time; there is nothing to start or stop.
type Service struct {
	store      Store
	authorizer cloud.Authorizer
	now        func() time.Time
	expiring   atomic.Int64 // entries written that expire
}

var _ cloud.KV = (*Service)(nil)

// Every sweepEvery-th write of an entry that expires deletes up to sweepLimit
// expired ones: more than were written meanwhile. Both ours.
const (
	sweepEvery = 100
	sweepLimit = 200
)

// chunk is how many values are asked of the store at once: as many as fit into
// cloud.MaxKVResultSize if each is as large as it may be.
const chunk = cloud.MaxKVResultSize / cloud.MaxKVValue

// maxTTL keeps expiry within what every store and clock can express; a longer
// life is for ever.
const maxTTL = 100 * 365 * 24 * time.Hour

// New returns a service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{store: cfg.Store, authorizer: cfg.Authorizer, now: cfg.Now}
}

// enter is the gate and the check of where the call goes.
func (s *Service) enter(call cloud.Call, capability cloud.Capability, collection string, keys ...string) error {
	if err := call.Gate(s.authorizer, capability); err != nil {
		return err
	}
	if err := checkName("collection", collection); err != nil {
		return err
	}
	for _, key := range keys {
		if err := checkName("key", key); err != nil {
			return err
		}
	}
	return nil
}

// Get implements cloud.KV.
func (s *Service) Get(ctx context.Context, call cloud.Call, collection, key string) (cloud.KVEntry, bool, error) {
	if err := s.enter(call, cloud.AppKvRead, collection, key); err != nil {
		return cloud.KVEntry{}, false, err
	}
	return s.store.Get(ctx, call.AppID, collection, key, s.now())
}

// Set implements cloud.KV.
func (s *Service) Set(ctx context.Context, call cloud.Call, collection, key string, value json.RawMessage, o cloud.KVSet) (cloud.KVEntry, error) {
	if err := s.enter(call, cloud.AppKvWrite, collection, key); err != nil {
		return cloud.KVEntry{}, err
	}
	if err := checkValue(value); err != nil {
		return cloud.KVEntry{}, err
	}
	if o.IfVersion != nil && *o.IfVersion < 0 {
		return cloud.KVEntry{}, cloud.Invalid("ifVersion", "%d is negative; 0 means that the key must not exist", *o.IfVersion)
	}
	now := s.now()
	var expires time.Time
	switch {
	case o.TTL < 0:
		return cloud.KVEntry{}, cloud.Invalid("ttl", "%s is negative", o.TTL)
	case o.TTL > 0 && o.TTL <= maxTTL:
		expires = now.Add(o.TTL)
	}
	entry, err := s.store.Set(ctx, call.Cause(), call.AppID, collection, key, value, expires, o.IfVersion, now)
	if err != nil {
		return cloud.KVEntry{}, err
	}
	if !expires.IsZero() && s.expiring.Add(1)%sweepEvery == 0 {
		_, _ = s.store.Sweep(ctx, now, sweepLimit) // what fails now is swept next time
	}
	return entry, nil
}

// Delete implements cloud.KV.
func (s *Service) Delete(ctx context.Context, call cloud.Call, collection, key string) (bool, error) {
	if err := s.enter(call, cloud.AppKvWrite, collection, key); err != nil {
		return false, err
	}
	return s.store.Delete(ctx, call.Cause(), call.AppID, collection, key, s.now())
}

// Increment implements cloud.KV.
func (s *Service) Increment(ctx context.Context, call cloud.Call, collection, key string, by float64) (float64, error) {
	if err := s.enter(call, cloud.AppKvWrite, collection, key); err != nil {
		return 0, err
	}
	if math.IsNaN(by) || math.IsInf(by, 0) {
		return 0, cloud.Invalid("by", "%v is not a finite number", by)
	}
	return s.store.Increment(ctx, call.Cause(), call.AppID, collection, key, by, s.now())
}

// GetMany implements cloud.KV.
func (s *Service) GetMany(ctx context.Context, call cloud.Call, collection string, keys []string) ([]cloud.KVEntry, error) {
	if err := call.Gate(s.authorizer, cloud.AppKvRead); err != nil {
		return nil, err
	}
	if len(keys) > cloud.MaxKVMany {
		return nil, cloud.Invalid("keys", "has %d keys; at most %d can be read at once", len(keys), cloud.MaxKVMany)
	}
	if err := s.enter(call, cloud.AppKvRead, collection, keys...); err != nil {
		return nil, err
	}
	found := make(map[string]cloud.KVEntry, len(keys))
	now, size := s.now(), 0
	distinct := unique(keys)
	for rest := distinct; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
		entries, err := s.store.GetMany(ctx, call.AppID, collection, rest[:min(chunk, len(rest))], now)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			found[e.Key] = e
			size += len(e.Value)
		}
		if size > cloud.MaxKVResultSize {
			return nil, cloud.Errorf(cloud.CodeLimit, "the values together are larger than %d bytes; read fewer keys at once", cloud.MaxKVResultSize)
		}
	}
	entries := make([]cloud.KVEntry, 0, len(found))
	for _, key := range distinct {
		if e, ok := found[key]; ok {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// unique is keys without repetitions, in the order of their first occurrence.
func unique(keys []string) []string {
	seen := make(map[string]bool, len(keys))
	distinct := make([]string, 0, len(keys))
	for _, key := range keys {
		if !seen[key] {
			seen[key] = true
			distinct = append(distinct, key)
		}
	}
	return distinct
}

// List implements cloud.KV.
func (s *Service) List(ctx context.Context, call cloud.Call, collection string, q cloud.KVQuery) (cloud.KVPage, error) {
	if err := s.enter(call, cloud.AppKvRead, collection); err != nil {
		return cloud.KVPage{}, err
	}
	if q.Prefix != "" {
		if err := checkName("prefix", q.Prefix); err != nil {
			return cloud.KVPage{}, err
		}
	}
	after, err := decodeCursor(q.Cursor, q.Prefix)
	if err != nil {
		return cloud.KVPage{}, err
	}
	limit, err := checkLimit(q.Limit)
	if err != nil {
		return cloud.KVPage{}, err
	}
	return s.page(ctx, call.AppID, collection, q, after, limit)
}

// page reads one entry more than the page holds, to know whether it is the last.
func (s *Service) page(ctx context.Context, appID, collection string, q cloud.KVQuery, after string, limit int) (cloud.KVPage, error) {
	p := cloud.KVPage{}
	now, size := s.now(), 0
	for {
		n := limit + 1 - len(p.Entries)
		if q.Values {
			n = min(n, chunk)
		}
		entries, err := s.store.List(ctx, appID, collection, q.Prefix, after, n, q.Values, now)
		if err != nil {
			return cloud.KVPage{}, err
		}
		for _, e := range entries {
			size += len(e.Value)
			if len(p.Entries) == limit || size > cloud.MaxKVResultSize && len(p.Entries) > 0 {
				p.Cursor = encodeCursor(p.Entries[len(p.Entries)-1].Key)
				return p, nil
			}
			p.Entries = append(p.Entries, e)
		}
		if len(entries) < n {
			return p, nil
		}
		after = entries[len(entries)-1].Key
	}
}

// Collections implements cloud.KV.
func (s *Service) Collections(ctx context.Context, call cloud.Call, after string, limit int) ([]string, error) {
	if err := call.Gate(s.authorizer, cloud.AppKvRead); err != nil {
		return nil, err
	}
	if after != "" {
		if err := checkName("after", after); err != nil {
			return nil, err
		}
	}
	limit, err := checkLimit(limit)
	if err != nil {
		return nil, err
	}
	return s.store.Collections(ctx, call.AppID, after, limit, s.now())
}

// Sweep deletes expired entries until none is left, and returns how many. It is
// for a start, after which writes sweep along.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	total := 0
	for {
		n, err := s.store.Sweep(ctx, s.now(), sweepLimit)
		total += n
		if err != nil || n < sweepLimit {
			return total, err
		}
	}
}

func checkLimit(limit int) (int, error) {
	if limit < 0 || limit > cloud.MaxKVLimit {
		return 0, cloud.Invalid("limit", "%d is not between 1 and %d", limit, cloud.MaxKVLimit)
	}
	if limit == 0 {
		return cloud.DefaultKVLimit, nil
	}
	return limit, nil
}

// checkName checks a key or the name of a collection.
func checkName(field, name string) error {
	switch {
	case name == "":
		return cloud.Invalid(field, "is empty")
	case len(name) > cloud.MaxKVKey:
		return cloud.Invalid(field, "has %d bytes; at most %d are allowed", len(name), cloud.MaxKVKey)
	case !utf8.ValidString(name):
		return cloud.Invalid(field, "is not valid UTF-8")
	}
	for i := range len(name) {
		if name[i] == 0 {
			return cloud.Invalid(field, "holds the character U+0000, which cannot be kept")
		}
	}
	return nil
}
