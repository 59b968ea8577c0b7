package executor

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// callSecrets carries out a call of secrets.
func (x *Executor) callSecrets(ctx context.Context, call cloud.Call, c wire.HostCall, hide func(name, value string)) ([]byte, error) {
	secrets := x.cfg.Services.Secrets()
	var name, value string
	switch c.Op {
	case "secrets.get":
		if err := decodeArgs(c.Args, arg{"name", &name}); err != nil {
			return nil, err
		}
		value, ok, err := secrets.Get(ctx, call, name)
		if err != nil || !ok {
			return nil, err
		}
		hide(name, value)
		return encode(value)
	case "secrets.set":
		if err := decodeArgs(c.Args, arg{"name", &name}, arg{"value", &value}); err != nil {
			return nil, err
		}
		if cloud.CheckEnvName(name) == nil {
			hide(name, value) // also where it is not stored
		}
		return nil, secrets.Set(ctx, call, name, value)
	case "secrets.delete":
		if err := decodeArgs(c.Args, arg{"name", &name}); err != nil {
			return nil, err
		}
		was, err := secrets.Delete(ctx, call, name)
		return encodeResult(was, err)
	default: // secrets.list
		if err := decodeArgs(c.Args); err != nil {
			return nil, err
		}
		entries, err := secrets.List(ctx, call)
		names := make([]string, len(entries))
		for i, e := range entries {
			names[i] = e.Name
		}
		return encodeResult(names, err)
	}
}

// Bounds of the secrets that an execution sets or reads and that were not in its
// env: beyond them they are not masked, since each makes the mask anew.
const (
	maxHidden      = 32
	maxHiddenBytes = 4 * cloud.MaxSecret
)

// hidden are the env of the plan and what the execution has learned since. It is
// safe for concurrent use.
type hidden struct {
	env   atomic.Pointer[cloud.Env] // nil: as in the plan
	mu    sync.Mutex
	count int
	bytes int
}

// hide masks a secret in all that is recorded of the execution.
func (e *execution) hide(name, value string) {
	h := &e.hidden
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count >= maxHidden || h.bytes+len(value) > maxHiddenBytes {
		return
	}
	before := e.masking()
	if after := before.Hiding(name, value); after != before {
		h.env.Store(after)
		h.count++
		h.bytes += len(value)
	}
}

// masking is the env whose mask is that of the execution now.
func (e *execution) masking() *cloud.Env {
	if learned := e.hidden.env.Load(); learned != nil {
		return learned
	}
	return e.plan.Env
}

// maskLines masks in the lines what was printed before it was known as a secret.
func (e *execution) maskLines() {
	learned := e.hidden.env.Load()
	if learned == nil {
		return
	}
	for i := range e.lines {
		e.lines[i].Text = learned.Mask(e.lines[i].Text)
	}
}
