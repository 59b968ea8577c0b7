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

// Cause is what changes by this call have as their cause.
func (c Call) Cause() Cause { return Cause{ExecutionID: c.ExecutionID, Depth: c.Depth} }

// Gate refuses the call of a data service unless its principal has the
// capability, with CodeForbidden. A script that runs for an anonymous caller is
// itself the gate.
func (c Call) Gate(a Authorizer, capability Capability) error {
	switch {
	case c.AppID == "":
		return Errorf(CodeInternal, "a data call names no app")
	case c.Principal != nil:
		err := a.Authorize(c.Principal, capability, c.AppID)
		if CodeOf(err) == CodeNotFound { // of no app they may know: as denied as any
			return Errorf(CodeForbidden, "%s has no rights in this app, which %s takes", c.Principal.Name, capability).Because(err)
		}
		return err
	case c.ByScript:
		return nil
	default:
		return Errorf(CodeForbidden, "this needs credentials with the capability %s", capability)
	}
}

// Authorizer decides whether principal may do capability in the app. The
// anonymous principal (nil) may do nothing. A refusal is a CodeForbidden error,
// or CodeNotFound where the principal may not even know of the app.
type Authorizer interface {
	Authorize(principal *Principal, capability Capability, appID string) error
}
