package cloud

import "time"

// Energy is what being awake takes of a device that sleeps when nobody needs it.
type Energy struct {
	AwakeSince time.Time
	WokenBy    WakeCause
	LastSleep  time.Time   // when it last went to sleep; zero: not known
	Days       []EnergyDay // newest first, without those of which nothing is known
}

// EnergyDay is what one day took.
type EnergyDay struct {
	Day   string // of the device's clock and time zone, such as "2026-11-24"
	Awake time.Duration
	Wakes map[WakeCause]int
	CPU   time.Duration // of PiCloud and its workers
	// DatabaseCPU is the database's own; nil if it cannot be told.
	DatabaseCPU *time.Duration
	Written     int64 // bytes that PiCloud had written to the disk
	// DatabaseWritten is the same of the database; nil if it cannot be told.
	DatabaseWritten *int64
}

// WakeCause says why PiCloud was started.
type WakeCause string

// The causes.
const (
	WokenByRequest  WakeCause = "request"  // a connection came
	WokenBySchedule WakeCause = "schedule" // a schedule, a retry or a delay had come
	WokenByBoot     WakeCause = "boot"     // the device was switched on
	WokenByStart    WakeCause = "start"    // somebody started it, or it was started again after a failure
)

// WakeCauses lists all of them.
var WakeCauses = []WakeCause{WokenByRequest, WokenBySchedule, WokenByBoot, WokenByStart}
