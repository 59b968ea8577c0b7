package sleep

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// SystemdTimer is a transient timer unit of systemd, spoken to directly: it takes
// root and no bus. It can start one unit alone, the service of its own name: systemd
// lets transient timers name no other.
type SystemdTimer struct {
	Name string // of the unit, such as "picloud.timer"

	dial func(ctx context.Context) (*dbus.Conn, error) // nil: to systemd
}

// Accuracy of the timer. Its moment is in whole seconds anyway.
const accuracy = 100 * time.Millisecond

// property is one of a unit to be made.
func property(name string, value any) dbus.Property {
	return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
}

// calendarEntry is an element of TimersCalendar.
type calendarEntry struct{ Base, Spec string }

// Arm implements Timer.
func (t SystemdTimer) Arm(ctx context.Context, unit string, at time.Time) error {
	if strings.TrimSuffix(t.Name, ".timer") != strings.TrimSuffix(unit, ".service") {
		return fmt.Errorf("the transient timer %s cannot start %s, but the service of its own name alone", t.Name, unit)
	}
	return t.with(ctx, func(c *dbus.Conn) error {
		if err := stopUnit(ctx, c, t.Name); err != nil {
			return fmt.Errorf("taking back %s: %w", t.Name, err)
		}
		properties := []dbus.Property{
			dbus.PropDescription("Wake PiCloud for what is due"),
			property("TimersCalendar", []calendarEntry{{"OnCalendar", "@" + strconv.FormatInt(at.Unix(), 10)}}),
			property("AccuracyUSec", uint64(accuracy.Microseconds())),
			property("RemainAfterElapse", false),
		}
		if err := startTransient(ctx, c, t.Name, properties); err != nil {
			return fmt.Errorf("arming %s: %w", t.Name, err)
		}
		return nil
	})
}

// Disarm implements Timer.
func (t SystemdTimer) Disarm(ctx context.Context) error {
	return t.with(ctx, func(c *dbus.Conn) error {
		if err := stopUnit(ctx, c, t.Name); err != nil {
			return fmt.Errorf("taking back %s: %w", t.Name, err)
		}
		return nil
	})
}

func (t SystemdTimer) with(ctx context.Context, f func(*dbus.Conn) error) error {
	dial := t.dial
	if dial == nil {
		dial = dbus.NewSystemdConnectionContext
	}
	c, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("reaching systemd, which takes root: %w", err)
	}
	defer c.Close()
	return f(c)
}

// Errors of systemd, by their D-Bus names.
const (
	noSuchUnit = "org.freedesktop.systemd1.NoSuchUnit"
	unitExists = "org.freedesktop.systemd1.UnitExists"
)

func isError(err error, name string) bool {
	e, ok := errors.AsType[godbus.Error](err)
	return ok && e.Name == name
}

// stopUnit stops a unit, if there is one, and waits for that.
func stopUnit(ctx context.Context, c *dbus.Conn, name string) error {
	done := make(chan string, 1)
	if _, err := c.StopUnitContext(ctx, name, "replace", done); err != nil {
		if isError(err, noSuchUnit) {
			return nil
		}
		return err
	}
	return wait(ctx, done)
}

// startTransient makes and starts a unit, and waits for that. One of the name that
// has just been stopped is forgotten by systemd a moment later.
func startTransient(ctx context.Context, c *dbus.Conn, name string, properties []dbus.Property) error {
	for pause := time.Millisecond; ; pause *= 2 {
		done := make(chan string, 1)
		_, err := c.StartTransientUnitContext(ctx, name, "replace", properties, done)
		if err == nil {
			return wait(ctx, done)
		}
		if !isError(err, unitExists) {
			return err
		}
		_ = c.ResetFailedUnitContext(ctx, name) // it is kept if it has failed
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// wait waits for the end of a job.
func wait(ctx context.Context, done <-chan string) error {
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("systemd says %q", result)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
