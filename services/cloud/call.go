package cloud

// Call is the context of one data call: in whose name and for which app it is
// made. It is filled by the server alone, never from a message of a worker.
type Call struct {
	AppID     string
	Principal *Principal // nil: anonymous
	// ByScript says that a script makes the call. A script that runs for an
	// anonymous caller is itself the gate, so the call is not checked; a call
	// that no script makes is always checked, and denied to the anonymous.
	ByScript    bool
	ExecutionID string // "" outside an execution
	RequestID   string
	Depth       int // 0 for a request from outside, one more for each event that led here
}

// Authorizer decides whether principal may do capability in the app. The
// anonymous principal (nil) may do nothing. A refusal is a CodeForbidden error,
// or CodeNotFound where the principal may not even know of the app.
type Authorizer interface {
	Authorize(principal *Principal, capability Capability, appID string) error
}
