package events_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/events/eventstest"
)

// memoryFixture needs no apps and users: the store takes every id.
type memoryFixture struct{ *events.Memory }

func (memoryFixture) App(string) string  { return cloud.NewID() }
func (memoryFixture) User(string) string { return cloud.NewID() }

func (f memoryFixture) Script(_, name string) string {
	id := cloud.NewID()
	f.SetScript(id, name)
	return id
}

func (f memoryFixture) Trigger(_, id string) cloud.Trigger { return f.Memory.Trigger(id) }

func TestMemory(t *testing.T) {
	eventstest.TestStore(t, func(*testing.T) (events.Store, eventstest.Fixture) {
		m := events.NewMemory()
		return m, memoryFixture{m}
	})
}
