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
	// Claim leases deliveries that are due, counts their attempts, and returns them.
	// It is fair over apps: of those with the fewest under way, what the claim itself
	// takes included, it takes first. Of one app it takes what was due first, and
	// returns it in that order. No two claims return the same delivery while its
	// lease lasts.
	Claim(ctx context.Context, c Claim) ([]cloud.Delivery, error)

	// NextDue is the earliest moment at which a delivery is or will be due (one that
	// is leased: when its lease passes) or, with schedules, a cron trigger has to fire;
	// false if there is none. Deliveries in except, and of the apps in full, do not
	// count.
	NextDue(ctx context.Context, schedules bool, except []Lease, full []string) (time.Time, bool, error)

	// Renew prolongs leases that nobody has settled or taken over meanwhile, whether
	// they have passed or not.
	Renew(ctx context.Context, leases []Lease, until time.Time) error

	// Settle ends leases in one transaction: each as its outcome says. What is not
	// leased any more, or was taken over by somebody else meanwhile, is left alone.
	// It returns how many deliveries it put into the outbox (to dead_letter triggers).
	Settle(ctx context.Context, now time.Time, outcomes []Outcome) (emitted int, err error)

	// Enqueue puts a delivery into the outbox, due at d.DueAt, that no trigger
	// asked for: an async route's request, or what somebody fires by hand. ID, Attempt
	// and LastError of d do not count.
	// CodeBusy for a request while the app has cloud.MaxWaiting deliveries.
	Enqueue(ctx context.Context, d cloud.Delivery) error

	// FireSchedules enqueues a delivery for each of at most n enabled cron triggers
	// whose next run has come, and stores when they run again, in one transaction and
	// past those that another process holds. It returns how many triggers that were. One
	// for which next fails is disabled after this run. The delivery is due now, and of
	// depth 0; its payload is CronPayload of the run that had come. A trigger without
	// a user goes on to its next run without one.
	FireSchedules(ctx context.Context, now time.Time, n int, next NextRun) (int, error)

	// MendClock puts right what the clock, which was set back since, has put too far
	// into the future: the next run of each enabled cron trigger for which it would be
	// earlier by the time now than what is stored; deliveries, which wait no longer
	// than their policy's Cap from now, nor than after they happened; and leases, which
	// last no longer than lease from now. Deliveries in except are left alone.
	MendClock(ctx context.Context, now time.Time, lease time.Duration, except []Lease, next NextRun) error

	// DeadLetters are newest first, and come without their Payload.
	DeadLetters(ctx context.Context, filter cloud.DeadLetterFilter) ([]cloud.DeadLetter, error)
	// DeadLetter: CodeNotFound.
	DeadLetter(ctx context.Context, appID, id string) (cloud.DeadLetter, error)
	// Resolve settles a dead letter that waits, or whose handler failed, and for
	// Replayed puts its delivery back into the outbox, as a first attempt and at least
	// so deep. CodeNotFound, CodeConflict.
	Resolve(ctx context.Context, appID, id string, r cloud.Resolution, note, by string, depth int, now time.Time) error
	// ReplayAll replays all that the filter selects, its Before and Limit aside, and
	// Resolve would, in batches, and returns how many they were.
	ReplayAll(ctx context.Context, filter cloud.DeadLetterFilter, by string, depth int, now time.Time) (int, error)
	// SweepDeadLetters deletes at most n that died before a moment.
	SweepDeadLetters(ctx context.Context, before time.Time, n int) (int, error)

	// State tells what became of an event, as far as the outbox, the dead letters and
	// the log of executions know. CodeNotFound.
	State(ctx context.Context, eventID string) (cloud.EventState, error)

	// Depth counts what the outbox holds.
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
	Except     []Lease        // the same one by one: not claimed although they may have passed
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
	Done    Fate = iota // delivered: the row goes; of a dead_letter event, HandledByScript on its original, if it waits or a handler failed
	Retry               // due again at RetryAt
	Release             // handed back as if it had not been claimed: the attempt does not count
	Dead                // given up: a dead letter, and an event for dead_letter triggers; of a dead_letter event, HandlerFailed on its original, if it waits
	Dropped             // too deep: the row goes
)

// Depth is what waits in the outbox.
type Depth struct {
	Waiting     map[string]int // by app id, what runs included
	EarliestDue time.Time      // of what is not leased; zero: none
	DeadLetters map[string]int // that wait, or whose handler failed, by app id
}
