package cloud

import "time"

// Limits bound one execution of a script. In a script's settings a zero field
// means the operator's default.
type Limits struct {
	Wall         time.Duration // from dispatch to the end, waitUntil included
	CPU          time.Duration // time spent running JavaScript
	Memory       int64         // bytes of the worker above its floor; an app's worker gets the largest of its scripts
	RequestBody  int64         // bytes of a request body that the script buffers; streams are not bound
	ResponseBody int64         // bytes of a response body that is not a stream
	HostCalls    int
	Fetches      int // outbound requests
	Log          int // bytes of console output, then truncated and marked
}

// DefaultLimits are what a script gets that asks for nothing.
var DefaultLimits = Limits{
	Wall:         10 * time.Second,
	CPU:          2 * time.Second,
	Memory:       128 << 20,
	RequestBody:  10 << 20,
	ResponseBody: 10 << 20,
	HostCalls:    1000,
	Fetches:      50,
	Log:          64 << 10,
}

// LimitCeilings are the most that a script may ask for.
var LimitCeilings = Limits{
	Wall:         300 * time.Second,
	CPU:          60 * time.Second,
	Memory:       512 << 20,
	RequestBody:  64 << 20,
	ResponseBody: 64 << 20,
	HostCalls:    100_000,
	Fetches:      1000,
	Log:          1 << 20,
}

// Or returns l with its zero fields taken from defaults.
func (l Limits) Or(defaults Limits) Limits {
	or(&l.Wall, defaults.Wall)
	or(&l.CPU, defaults.CPU)
	or(&l.Memory, defaults.Memory)
	or(&l.RequestBody, defaults.RequestBody)
	or(&l.ResponseBody, defaults.ResponseBody)
	or(&l.HostCalls, defaults.HostCalls)
	or(&l.Fetches, defaults.Fetches)
	or(&l.Log, defaults.Log)
	return l
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Check refuses a limit that is negative or over its ceiling with a CodeInvalid
// error that names the field, what was asked and the ceiling.
func (l Limits) Check(ceiling Limits) error {
	for _, f := range []struct {
		name       string
		asked, max int64
	}{
		{"limits.wall_ms", l.Wall.Milliseconds(), ceiling.Wall.Milliseconds()},
		{"limits.cpu_ms", l.CPU.Milliseconds(), ceiling.CPU.Milliseconds()},
		{"limits.memory_bytes", l.Memory, ceiling.Memory},
		{"limits.request_body_bytes", l.RequestBody, ceiling.RequestBody},
		{"limits.response_body_bytes", l.ResponseBody, ceiling.ResponseBody},
		{"limits.host_calls", int64(l.HostCalls), int64(ceiling.HostCalls)},
		{"limits.fetches", int64(l.Fetches), int64(ceiling.Fetches)},
		{"limits.log_bytes", int64(l.Log), int64(ceiling.Log)},
	} {
		if f.asked < 0 {
			return Invalid(f.name, "%d is negative", f.asked)
		}
		if f.asked > f.max {
			return Invalid(f.name, "%d was asked for, the ceiling is %d", f.asked, f.max)
		}
	}
	return nil
}
