package cloud

import "time"

// Execution is the record of one run of a script.
type Execution struct {
	ID         string
	AppID      string
	ScriptID   string
	ScriptName string
	Version    int
	Trigger    string // what started it: "http", "async", or the kind of an event
	EventID    string // of the event that it is an attempt for; "" for a request that waits
	Attempt    int    // 1 for the first of the event; 0 without one
	Depth      int    // 0 for a request, one more for each event that led here
	CauseID    string // execution that caused the event, or ""
	RequestID  string
	Method     string // of the request; "" if none started it
	Path       string // of the request, without the query, which may hold secrets
	Status     int    // of the answer; 0 if there was nobody to answer
	Code       Code   // why the platform answered instead of the script; "" if the script did
	StartedAt  time.Time
	Duration   time.Duration
	CPU        time.Duration
	PeakMemory int64 // bytes of the worker's heap during the run; 0 if unknown
	Lines      []LogLine
	Truncated  bool         // Lines hit the log limit
	Error      *ScriptError // what the script threw; nil if nothing
}

// LogLine is one call of a console method.
type LogLine struct {
	At    time.Time `json:"at"`
	Level string    `json:"level"` // "debug", "info", "warn" or "error"; console.log is "info"
	Text  string    `json:"text"`
}

// ScriptError is an uncaught exception. Stack holds the frames mapped to the
// user's source, one "at function (file:line:column)" a line.
type ScriptError struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Stack   string `json:"stack"`
	Code    string `json:"code,omitempty"` // the exception's own code property, if a string
}

// ExecutionFilter selects records, newest first.
type ExecutionFilter struct {
	AppID    string
	ScriptID string    // "" for all scripts
	Failed   bool      // only those with a Code or a status of 500 and more
	Before   string    // only ids before this one; "" from the newest
	Since    time.Time // zero: no bound
	Limit    int       // 1 to 1000
}
