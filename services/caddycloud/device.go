package caddycloud

import (
	"context"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/manager"
)

// Device is the machine that the services run on, where it is there for nothing
// else: it sleeps when they need nothing, and sees to it that they run when they do.
type Device interface {
	// Touch says that the services are less busy than they were (Services.Busy).
	Touch()
	// Alarm says when something is due, at the latest; zero: nothing is. See
	// events.Config.
	Alarm(at time.Time)
	// Trusted returns when the clock can be believed. See events.Config.
	Trusted(ctx context.Context) error
	manager.Device
}

// Attach makes d the device that the services run on. Call it before Start.
func (s *Services) Attach(d Device) { s.device.attach(d) }

// Busy says what needs the process although nobody waits for an answer; "" if
// nothing does. When that has changed, the device is told.
func (s *Services) Busy() string {
	if !s.Executor.Idle() {
		return "scripts run"
	}
	return s.Events.Busy()
}

// attached is the device of the services, if they have one.
type attached struct {
	mu     sync.Mutex
	device Device // nil: none
	at     time.Time
	known  bool // at is
}

func (a *attached) attach(d Device) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.device = d
	if a.known {
		d.Alarm(a.at)
	}
}

func (a *attached) get() Device {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.device
}

func (a *attached) touch() {
	if d := a.get(); d != nil {
		d.Touch()
	}
}

func (a *attached) alarm(at time.Time) {
	a.mu.Lock()
	d := a.device
	a.at, a.known = at, true
	if d != nil {
		d.Alarm(at)
	}
	a.mu.Unlock()
	if d != nil {
		d.Touch()
	}
}

func (a *attached) trusted(ctx context.Context) error {
	if d := a.get(); d != nil {
		return d.Trusted(ctx)
	}
	return nil
}

// Energy implements manager.Device.
func (a *attached) Energy(ctx context.Context, days int) (cloud.Energy, error) {
	if d := a.get(); d != nil {
		return d.Energy(ctx, days)
	}
	return cloud.Energy{}, manager.ErrNoDevice
}
