// Package events makes happen what was put into the outbox: it delivers events to
// scripts, tries again, gives up into dead letters, and fires schedules.
package events

import (
	"context"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Store is the outbox and what surrounds it. Methods answer CodeUnavailable while
// the database is away. Time comes from the caller. What was committed is told to
// the other processes of the instance.
//
// A delivery is due, leased (somebody runs it), or gone. A lease that has passed
// makes it due again.
type Store interface {
	// Claim leases deliveries that are due, fairly over apps, oldest first in an app,
	// counts their attempts, and returns them. No two claims return the same delivery
	// while its lease lasts.
	Claim(ctx context.Context, c Claim) ([]cloud.Delivery, error)

	// NextDue is the earliest moment at which a delivery is or will be due, leases of
	// others that will have passed included, or, with schedules, a cron trigger has to
	// fire; false if there is none. Those in except do not count.
	NextDue(ctx context.Context, schedules bool, except []Lease) (time.Time, bool, error)

	// Renew prolongs leases that are still ours.
	Renew(ctx context.Context, leases []Lease, until time.Time) error

	// Settle ends leases in one transaction: each as its outcome says. A lease that
	// somebody else has taken over meanwhile is left alone. It returns how many
	// events it put into the outbox (for dead_letter triggers).
	Settle(ctx context.Context, now time.Time, outcomes []Outcome) (emitted int, err error)

	// Enqueue puts a delivery into the outbox, due at d.DueAt, that no trigger
	// asked for: an async route's request, or what somebody fires by hand.
	Enqueue(ctx context.Context, d cloud.Delivery) error

	// FireSchedules enqueues a delivery for each of at most n enabled cron triggers
	// whose next run has come, and stores when they run again, in one transaction and
	// past those that another process holds. It returns how many that were. A trigger
	// for which next fails is disabled.
	FireSchedules(ctx context.Context, now time.Time, n int, next NextRun) (int, error)

	// MendSchedules stores the next run of each enabled cron trigger for which it
	// would be earlier by the time now than what is stored: the clock was set back.
	MendSchedules(ctx context.Context, now time.Time, next NextRun) error

	// DeadLetters, DeadLetter: CodeNotFound.
	DeadLetters(ctx context.Context, filter cloud.DeadLetterFilter) ([]cloud.DeadLetter, error)
	DeadLetter(ctx context.Context, appID, id string) (cloud.DeadLetter, error)
	// Resolve settles a dead letter that waits, or whose handler failed, and for
	// Replayed puts its delivery back into the outbox, as a first attempt.
	// CodeNotFound, CodeConflict.
	Resolve(ctx context.Context, appID, id string, r cloud.Resolution, note, by string, now time.Time) error
	// ReplayAll does so with all that the filter selects, in batches, and returns
	// how many they were.
	ReplayAll(ctx context.Context, filter cloud.DeadLetterFilter, by string, now time.Time) (int, error)
	// SweepDeadLetters deletes at most n that died before a moment.
	SweepDeadLetters(ctx context.Context, before time.Time, n int) (int, error)

	// State tells what became of an event. CodeNotFound.
	State(ctx context.Context, eventID string) (cloud.EventState, error)

	// Depth counts what waits, by app id, and the earliest due moment of all.
	Depth(ctx context.Context) (Depth, error)
}

// NextRun tells when a cron trigger runs for the first time after a moment.
type NextRun func(filter cloud.TriggerFilter, after time.Time) (time.Time, error)

// Claim says what to lease.
type Claim struct {
	Now, Until time.Time
	Limit      int            // at most so many
	PerApp     int            // at most so many of one app, what it has under way included
	UnderWay   map[string]int // by app id, what the caller has leased already
}

// Lease names a claimed delivery: the attempt tells it from a later claim.
type Lease struct {
	ID      int64
	Attempt int
}

// Outcome is what becomes of a delivery after an attempt.
type Outcome struct {
	Delivery cloud.Delivery
	Fate     Fate
	RetryAt  time.Time          // of Retry and Release
	Reason   cloud.Code         // of Retry and Dead
	Error    *cloud.ScriptError // what the script threw, or what the platform says; of Retry and Dead
}

// Fate is the kind of an Outcome.
type Fate int

// The fates.
const (
	Done    Fate = iota // delivered: the row goes
	Retry               // due again at RetryAt
	Release             // handed back as if it had not been claimed: the attempt does not count
	Dead                // given up: a dead letter, and an event for dead_letter triggers; of a dead_letter event itself, HandlerFailed on its original
	Dropped             // too deep: the row goes
)

// Depth is what waits in the outbox.
type Depth struct {
	Waiting     map[string]int // by app id
	EarliestDue time.Time      // zero: none
	DeadLetters map[string]int // that wait for somebody, by app id
}
