package secrets

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Memory is a Store and a Vault that forgets everything at the end of the
// process: for tests of what is built on one. Every app exists in it. It is safe
// for concurrent use.
type Memory struct {
	mu      sync.Mutex
	entries map[place]memoryEntry
}

type place struct{ app, name string }

type memoryEntry struct {
	value     string        // of a variable
	sealed    *cloud.Sealed // of a secret
	size      int
	updatedAt time.Time
}

func (e memoryEntry) kind() string {
	if e.sealed != nil {
		return "secret"
	}
	return "variable"
}

var (
	_ Store = (*Memory)(nil)
	_ Vault = (*Memory)(nil)
)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{entries: map[place]memoryEntry{}} }

// Secret implements Store.
func (m *Memory) Secret(_ context.Context, appID, name string) (cloud.Sealed, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[place{appID, name}]
	if e.sealed == nil {
		return cloud.Sealed{}, false, nil
	}
	return *e.sealed, true, nil
}

// SetSecret implements Store.
func (m *Memory) SetSecret(_ context.Context, appID, name string, s cloud.Sealed, size int) error {
	return m.set(appID, name, memoryEntry{sealed: &s, size: size})
}

// SetVariable implements Store.
func (m *Memory) SetVariable(_ context.Context, appID, name, value string) error {
	return m.set(appID, name, memoryEntry{value: value, size: len(value)})
}

func (m *Memory) set(appID, name string, e memoryEntry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, exists := m.entries[place{appID, name}]
	if exists && old.kind() != e.kind() {
		return Taken(name, old.kind())
	}
	names, size := 1, e.size
	for p, other := range m.entries {
		if p.app == appID && p.name != name {
			names++
			size += other.size
		}
	}
	switch {
	case names > cloud.MaxEnvNames:
		return TooMany()
	case size > cloud.MaxEnvValues:
		return TooLarge()
	}
	e.updatedAt = time.Now().UTC().Truncate(time.Microsecond)
	m.entries[place{appID, name}] = e
	return nil
}

// DeleteSecret implements Store.
func (m *Memory) DeleteSecret(_ context.Context, appID, name string) (bool, error) {
	return m.remove(appID, name, "secret")
}

// DeleteVariable implements Store.
func (m *Memory) DeleteVariable(_ context.Context, appID, name string) (bool, error) {
	return m.remove(appID, name, "variable")
}

func (m *Memory) remove(appID, name, kind string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[place{appID, name}]
	if !ok || e.kind() != kind {
		return false, nil
	}
	delete(m.entries, place{appID, name})
	return true, nil
}

// Secrets implements Store.
func (m *Memory) Secrets(_ context.Context, appID string) ([]cloud.EnvEntry, error) {
	return m.list(appID, "secret"), nil
}

// Variables implements Store.
func (m *Memory) Variables(_ context.Context, appID string) ([]cloud.EnvEntry, error) {
	return m.list(appID, "variable"), nil
}

func (m *Memory) list(appID, kind string) []cloud.EnvEntry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var entries []cloud.EnvEntry
	for p, e := range m.entries {
		if p.app == appID && e.kind() == kind {
			entries = append(entries, cloud.EnvEntry{Name: p.name, Value: e.value, UpdatedAt: e.updatedAt})
		}
	}
	slices.SortFunc(entries, func(a, b cloud.EnvEntry) int { return cmp.Compare(a.Name, b.Name) })
	return entries
}

// KeyIDs implements Vault.
func (m *Memory) KeyIDs(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, e := range m.entries {
		if e.sealed != nil {
			ids = append(ids, e.sealed.KeyID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// memoryBatch is how many values one Reseal of a Memory takes.
const memoryBatch = 2

// Reseal implements Vault.
func (m *Memory) Reseal(_ context.Context, keyID string, reseal func(string, cloud.Sealed) (cloud.Sealed, error)) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := map[place]cloud.Sealed{}
	for p, e := range m.entries {
		if len(done) == memoryBatch {
			break
		}
		if e.sealed == nil || e.sealed.KeyID == keyID {
			continue
		}
		sealed, err := reseal(cloud.SecretPurpose(p.app, p.name), *e.sealed)
		if err != nil {
			return 0, err
		}
		done[p] = sealed
	}
	for p, sealed := range done {
		e := m.entries[p]
		e.sealed = &sealed
		m.entries[p] = e
	}
	return len(done), nil
}
