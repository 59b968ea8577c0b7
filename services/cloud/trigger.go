package cloud

import (
	"encoding/json"
	"net/http"
	"time"
)

// EventKind is what an event is about.
type EventKind string

// The kinds of events that exist so far. Which events a kind has, what a trigger
// may filter by and which handler gets them stands in package events.
const (
	EventKV         EventKind = "kv"          // an entry was set or deleted
	EventCron       EventKind = "cron"        // a schedule has come
	EventHTTP       EventKind = "http"        // a request to an async route
	EventDeadLetter EventKind = "dead_letter" // a delivery was given up
)

// Bounds of events. All ours.
const (
	MaxEventPayload = 256 << 10 // bytes of JSON that travel by value; see Event.Payload
	MaxDepth        = 8         // of events that cause events; deeper ones are logged and not delivered
	MaxTriggers     = 100       // per app
	MaxWaiting      = 10_000    // deliveries of an app beyond which async routes take no more requests
)

// Trigger connects a kind of event to a script of the same app. It runs as the
// user who registered it, with no more than the scopes of the key they used; when
// that user is gone or inactive, it does not run.
type Trigger struct {
	ID        string
	AppID     string
	ScriptID  string
	Script    string // name; read only
	Kind      EventKind
	Filter    TriggerFilter
	Enabled   bool
	Retry     RetryPolicy
	UserID    string    // "" when the user was deleted
	UserName  string    // read only
	Scopes    []Scope   // of the key that registered it; nil for a session: all
	NextAt    time.Time // of cron: the next run; zero otherwise
	CreatedAt time.Time
	UpdatedAt time.Time
}

// TriggerFilter narrows what a trigger reacts to. Which fields a kind takes is up
// to the kind; others must be empty. In globs * stands for any text and ? for one
// character; the empty glob for everything.
type TriggerFilter struct {
	Collection string   `json:"collection,omitempty"` // glob
	Key        string   `json:"key,omitempty"`        // glob
	Ops        []string `json:"ops,omitempty"`        // none: all
	Schedule   string   `json:"schedule,omitempty"`   // cron: 5 or 6 fields, or @hourly and the like
	TimeZone   string   `json:"time_zone,omitempty"`  // cron: IANA name; "" is UTC
}

// Backoff is how the pauses between attempts grow.
type Backoff string

// The backoffs: base·2^(n-1), base·n, base; each within ±20 % and at most Cap.
const (
	Exponential Backoff = "exponential"
	Linear      Backoff = "linear"
	Constant    Backoff = "constant"
)

// RetryPolicy is what happens after a failed attempt. Each delivery carries a
// copy of its trigger's.
type RetryPolicy struct {
	Attempts int // in all, 1 to 20
	Backoff  Backoff
	Base     time.Duration // 100 ms to Cap
	Cap      time.Duration // at most 24 h
}

// DefaultRetry is the policy of who asks for none.
var DefaultRetry = RetryPolicy{Attempts: 5, Backoff: Exponential, Base: time.Second, Cap: time.Hour}

// Event is a change that triggers may react to, as its cause tells of it. Place
// and Name are what filters look at: for kv the collection and the key.
type Event struct {
	Kind  EventKind
	Op    string
	Place string
	Name  string
	// Payload holds the kind's own fields of the handler's event, a JSON object.
	// What would make it larger than MaxEventPayload is left out by the kind, which
	// says so in it; the handler then reads the thing itself.
	Payload json.RawMessage
}

// Cause is what led to a change.
type Cause struct {
	ExecutionID string // "" if no execution did
	Depth       int    // of that execution: 0 for a request from outside
}

// Delivery is one event on its way to one script. It is what the outbox holds.
type Delivery struct {
	ID        int64  // of the outbox's row
	EventID   string // the same for all deliveries and attempts of one event: a UUIDv7
	AppID     string
	TriggerID string // "" for an async route
	ScriptID  string
	Kind      EventKind
	Op        string
	Payload   json.RawMessage
	UserID    string  // in whose name it runs; "" for an anonymous request
	Scopes    []Scope // nil: all
	Depth     int     // one more than that of its cause
	CauseID   string  // execution that caused it, or ""
	Attempt   int     // 1 for the first; counted when it is claimed
	Retry     RetryPolicy
	At        time.Time // when the event happened
	DueAt     time.Time
	LastError *ScriptError // of the attempt before
}

// Resolution is how a dead letter was settled.
type Resolution string

// The resolutions. The empty one: it waits.
const (
	Replayed        Resolution = "replayed"
	Ignored         Resolution = "ignored"
	HandledByScript Resolution = "handled_by_script"
	HandlerFailed   Resolution = "handler_failed"
)

// DeadLetter is a delivery that was given up.
type DeadLetter struct {
	Delivery
	ID         string // a UUIDv7
	Script     string // name at the time
	Reason     Code   // why the last attempt failed: a code of the execution, or CodeNotFound, CodeForbidden …
	DiedAt     time.Time
	Resolution Resolution
	Note       string // what was said on resolving
	ResolvedAt time.Time
	ResolvedBy string // name of a user, or "script NAME"
}

// DeadLetterFilter selects dead letters, newest first.
type DeadLetterFilter struct {
	AppID     string
	TriggerID string
	ScriptID  string
	Kind      EventKind
	Waiting   bool   // only those without a resolution, or whose handler failed
	Before    string // id
	Limit     int    // 1 to 1000
}

// EventState is what became of an event that is addressed by its id, as the
// answer of an async route is.
type EventState struct {
	ID         string
	AppID      string
	Status     string // "queued", "running", "retrying", "succeeded" or "dead"
	Attempts   int
	NextAt     time.Time   // of the next attempt; zero if there is none
	Executions []Execution // one for each attempt that is in the log, oldest first
	DeadLetter string      // its id, if dead
}

// StoredRequest is a request to an async route as the outbox holds it: without
// the credentials that PiCloud itself has understood.
type StoredRequest struct {
	Method string            `json:"method"`
	URL    string            `json:"url"` // absolute
	Header http.Header       `json:"header"`
	Body   []byte            `json:"body,omitempty"`
	Params map[string]string `json:"params,omitempty"`
}

// MaxStoredRequest bounds the JSON of a StoredRequest, in which a body of
// MaxEventPayload bytes, in base64, fits.
const MaxStoredRequest = 2 * MaxEventPayload
