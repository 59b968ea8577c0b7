package engine

import "github.com/picloud/picloud/services/executor/wire"

// Host is what an execution tells and asks the outside. Its methods are called
// on the goroutine of Runtime.Run, must not call back into the engine, and may
// keep what they are given only as noted.
type Host interface {
	// Call asks for an operation; the answer comes through Execution.HostResult
	// with the same number. args is a JSON array and not used again.
	Call(call uint32, op string, args []byte)
	// Log notes a console line; level is "debug", "info", "warn" or "error".
	Log(level, text string)
	// Respond gives the head of the answer, at most once.
	Respond(head wire.Response)
	// Write gives the next bytes of the answer's body, at most wire.MaxChunk, and
	// only within the credit. p may be reused when Write returns.
	Write(p []byte)
	// EndResponse says that the answer is complete.
	EndResponse()
	// GrantBody allows n more bytes of the request body.
	GrantBody(n int)
	// Flush hands on what was collected: the execution is about to wait.
	Flush()
}
