package kv

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Memory is a Store that forgets everything at the end of the process, and emits
// no events: for tests of what is built on one. It is safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	entries map[place]cloud.KVEntry
}

type place struct{ app, collection, key string }

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{entries: map[place]cloud.KVEntry{}} }

func expired(e cloud.KVEntry, now time.Time) bool {
	return !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(now)
}

// live returns a copy of the entry at p. The lock is held.
func (m *Memory) live(p place, now time.Time) (cloud.KVEntry, bool) {
	e, ok := m.entries[p]
	if !ok || expired(e, now) {
		return cloud.KVEntry{}, false
	}
	e.Value = slices.Clone(e.Value)
	return e, true
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, appID, collection, key string, now time.Time) (cloud.KVEntry, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.live(place{appID, collection, key}, now)
	return e, ok, nil
}

// Set implements Store.
func (m *Memory) Set(_ context.Context, _ cloud.Cause, appID, collection, key string, value json.RawMessage, expires time.Time, ifVersion *int64, now time.Time) (cloud.KVEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := place{appID, collection, key}
	old, _ := m.live(p, now) // of version 0 if there is none
	if ifVersion != nil && *ifVersion != old.Version {
		return cloud.KVEntry{}, Conflict(key, *ifVersion)
	}
	e := cloud.KVEntry{Key: key, Value: slices.Clone(value), Version: old.Version + 1, UpdatedAt: stamp(now)}
	if !expires.IsZero() {
		e.ExpiresAt = stamp(expires)
	}
	m.entries[p] = e
	e.Value = value
	return e, nil
}

// stamp is t to the precision that stores keep.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, _ cloud.Cause, appID, collection, key string, now time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := place{appID, collection, key}
	_, ok := m.live(p, now)
	delete(m.entries, p)
	return ok, nil
}

// Increment implements Store.
func (m *Memory) Increment(_ context.Context, _ cloud.Cause, appID, collection, key string, by float64, now time.Time) (float64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := place{appID, collection, key}
	e, ok := m.live(p, now)
	sum := by
	if ok {
		var n *float64
		if err := json.Unmarshal(e.Value, &n); err != nil || n == nil {
			return 0, NoNumber(key)
		}
		sum += *n
	}
	sum += 0 // no store keeps the sign of zero
	if math.IsInf(sum, 0) || math.IsNaN(sum) {
		return 0, NotFinite(key)
	}
	m.entries[p] = cloud.KVEntry{
		Key: key, Value: json.RawMessage(strconv.FormatFloat(sum, 'f', -1, 64)),
		Version: e.Version + 1, ExpiresAt: e.ExpiresAt, UpdatedAt: stamp(now),
	}
	return sum, nil
}

// GetMany implements Store.
func (m *Memory) GetMany(_ context.Context, appID, collection string, keys []string, now time.Time) ([]cloud.KVEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var entries []cloud.KVEntry
	for _, key := range keys {
		if e, ok := m.live(place{appID, collection, key}, now); ok {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, appID, collection, prefix, after string, limit int, values bool, now time.Time) ([]cloud.KVEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var entries []cloud.KVEntry
	for p := range m.entries {
		if p.app != appID || p.collection != collection || !strings.HasPrefix(p.key, prefix) || p.key <= after {
			continue
		}
		if e, ok := m.live(p, now); ok {
			if !values {
				e.Value = nil
			}
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b cloud.KVEntry) int { return cmp.Compare(a.Key, b.Key) })
	return entries[:min(limit, len(entries))], nil
}

// Collections implements Store.
func (m *Memory) Collections(_ context.Context, appID, after string, limit int, now time.Time) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := map[string]bool{}
	for p, e := range m.entries {
		if p.app == appID && p.collection > after && !expired(e, now) {
			names[p.collection] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	return sorted[:min(limit, len(sorted))], nil
}

// Sweep implements Store.
func (m *Memory) Sweep(_ context.Context, now time.Time, limit int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for p, e := range m.entries {
		if n < limit && expired(e, now) {
			delete(m.entries, p)
			n++
		}
	}
	return n, nil
}
