package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// maxCalls is how many host calls of one execution run at once; more wait.
const maxCalls = 16

// hostCalls are the calls of one execution. All but its queue belongs to the
// goroutine that reads from the worker; the queue is under execution.mu.
type hostCalls struct {
	count   int
	ctx     context.Context
	cancel  context.CancelFunc
	running int
	queue   []wire.HostCall
}

// call takes a HostCall frame.
func (e *execution) call(payload []byte) error {
	c, err := wire.ParseHostCall(payload)
	if err != nil {
		return err
	}
	limit := e.plan.Script.Limits.HostCalls
	if e.calls.count++; e.calls.count > limit {
		if e.worker.out.backlog() > maxBacklog {
			return fmt.Errorf("%d host calls without reading their results", e.calls.count)
		}
		e.reply(hostResult(c.Call, nil, cloud.Errorf(cloud.CodeLimit, "the execution made more than %d host calls", limit)))
		e.worker.flushAside()
		return nil
	}
	if e.calls.ctx == nil {
		deadline := time.Now().Add(e.plan.Script.Limits.Wall + grace)
		e.calls.ctx, e.calls.cancel = context.WithDeadline(context.Background(), deadline) //nolint:fatcontext // made once, by the first call
	}
	e.worker.reserveArgs(len(c.Args))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.calls.running >= maxCalls {
		e.calls.queue = append(e.calls.queue, c)
		return nil
	}
	e.calls.running++
	ctx := e.calls.ctx
	e.worker.tasks.Go(func() { e.carryOut(ctx, c) })
	return nil
}

// carryOut serves the call and those that wait behind it.
func (e *execution) carryOut(ctx context.Context, c wire.HostCall) {
	w := e.worker
	for {
		value, err := e.x.serveCall(ctx, e.callContext(), c, e.hide)
		w.releaseArgs(len(c.Args))
		w.out.wait()
		e.reply(hostResult(c.Call, value, err))
		w.out.flush(w.spawn)

		e.mu.Lock()
		if len(e.calls.queue) == 0 {
			e.calls.running--
			e.mu.Unlock()
			return
		}
		c = e.calls.queue[0]
		e.calls.queue = e.calls.queue[1:]
		e.mu.Unlock()
	}
}

// callContext says in whose name the execution calls. It is made from the plan
// alone.
func (e *execution) callContext() cloud.Call {
	return cloud.Call{
		AppID: e.plan.App.ID, Principal: e.plan.Principal, ByScript: true,
		ExecutionID: e.id0, RequestID: e.requestID, Depth: e.depth,
	}
}

// reply appends the result to the worker's output, if the execution still runs.
func (e *execution) reply(r wire.HostResult) {
	e.mu.Lock()
	ended := e.ended
	e.mu.Unlock()
	if ended {
		return
	}
	out := e.worker.out
	b, at := wire.Begin(out.begin(), wire.TypeHostResult, e.id)
	out.commit(wire.Finish(r.Append(b), at))
}

// stop cancels the calls of an execution that has ended.
func (h *hostCalls) stop(e *execution) {
	if h.cancel == nil {
		return
	}
	h.cancel()
	e.mu.Lock()
	dropped := h.queue
	h.queue = nil
	e.mu.Unlock()
	for _, c := range dropped {
		e.worker.releaseArgs(len(c.Args))
	}
}

func hostResult(call uint32, value []byte, err error) wire.HostResult {
	if err == nil {
		return wire.HostResult{Call: call, Value: value}
	}
	e := asError(err)
	message := e.Message
	if e.Field != "" {
		message = e.Field + ": " + message
	}
	return wire.HostResult{Call: call, Code: string(e.Code), Message: message}
}

// serveCall carries out one host call. The value is JSON; nil is undefined. hide is
// told of secrets before the script knows that they are one.
func (x *Executor) serveCall(ctx context.Context, call cloud.Call, c wire.HostCall, hide func(name, value string)) ([]byte, error) {
	value, err := x.dispatchCall(ctx, call, c, hide)
	if err != nil && cloud.CodeOf(err) == cloud.CodeInternal && ctx.Err() == nil {
		x.cfg.Logger.Error("host call failed", "op", c.Op, "app_id", call.AppID, "execution_id", call.ExecutionID, "error", err)
	}
	return value, err
}

func (x *Executor) dispatchCall(ctx context.Context, call cloud.Call, c wire.HostCall, hide func(name, value string)) ([]byte, error) {
	kv := x.cfg.Services.KV()
	var collection, key string
	switch c.Op {
	case "kv.get":
		if err := decodeArgs(c.Args, arg{"collection", &collection}, arg{"key", &key}); err != nil {
			return nil, err
		}
		entry, ok, err := kv.Get(ctx, call, collection, key)
		if err != nil || !ok {
			return nil, err
		}
		return entry.Value, nil
	case "kv.entry":
		if err := decodeArgs(c.Args, arg{"collection", &collection}, arg{"key", &key}); err != nil {
			return nil, err
		}
		entry, ok, err := kv.Get(ctx, call, collection, key)
		if err != nil || !ok {
			return nil, err
		}
		return encode(kvEntry{Value: entry.Value, Version: entry.Version, ExpiresAt: optionalTime(entry.ExpiresAt)})
	case "kv.has":
		if err := decodeArgs(c.Args, arg{"collection", &collection}, arg{"key", &key}); err != nil {
			return nil, err
		}
		_, ok, err := kv.Get(ctx, call, collection, key)
		return encodeResult(ok, err)
	case "kv.set":
		var value json.RawMessage
		var o struct {
			TTL       *float64 `json:"ttl_ms"`
			IfVersion *int64   `json:"if_version"`
		}
		if err := decodeArgs(c.Args, arg{"collection", &collection}, arg{"key", &key}, arg{"value", &value}, arg{"options", &o}); err != nil {
			return nil, err
		}
		set := cloud.KVSet{IfVersion: o.IfVersion}
		if o.TTL != nil {
			if !(*o.TTL > 0) || *o.TTL > maxTTL {
				return nil, cloud.Invalid("ttl", "must be above 0 and at most 100 years")
			}
			set.TTL = max(1, time.Duration(*o.TTL*float64(time.Millisecond)))
		}
		entry, err := kv.Set(ctx, call, collection, key, value, set)
		return encodeResult(kvVersion{entry.Version}, err)
	case "kv.delete":
		if err := decodeArgs(c.Args, arg{"collection", &collection}, arg{"key", &key}); err != nil {
			return nil, err
		}
		was, err := kv.Delete(ctx, call, collection, key)
		return encodeResult(was, err)
	case "kv.increment":
		var by float64
		if err := decodeArgs(c.Args, arg{"collection", &collection}, arg{"key", &key}, arg{"by", &by}); err != nil {
			return nil, err
		}
		sum, err := kv.Increment(ctx, call, collection, key, by)
		return encodeResult(sum, err)
	case "kv.getMany":
		var keys []string
		if err := decodeArgs(c.Args, arg{"collection", &collection}, arg{"keys", &keys}); err != nil {
			return nil, err
		}
		entries, err := kv.GetMany(ctx, call, collection, keys)
		found := make([]kvFound, len(entries))
		for i, e := range entries {
			found[i] = kvFound{Key: e.Key, Value: e.Value, Version: e.Version}
		}
		return encodeResult(found, err)
	case "kv.list":
		var q struct {
			Prefix string `json:"prefix"`
			Limit  int    `json:"limit"`
			Cursor string `json:"cursor"`
			Values bool   `json:"values"`
		}
		if err := decodeArgs(c.Args, arg{"collection", &collection}, arg{"query", &q}); err != nil {
			return nil, err
		}
		page, err := kv.List(ctx, call, collection, cloud.KVQuery(q))
		list := kvList{Keys: make([]string, len(page.Entries)), Cursor: page.Cursor}
		if q.Values {
			list.Values = make([]json.RawMessage, len(page.Entries))
		}
		for i, e := range page.Entries {
			list.Keys[i] = e.Key
			if q.Values {
				list.Values[i] = e.Value
			}
		}
		return encodeResult(list, err)
	case "secrets.get", "secrets.set", "secrets.delete", "secrets.list":
		return x.callSecrets(ctx, call, c, hide)
	case "deadLetters.replay":
		var id string
		if err := decodeArgs(c.Args, arg{"id", &id}); err != nil {
			return nil, err
		}
		return nil, x.cfg.Services.DeadLetters().Replay(ctx, call, id)
	case "deadLetters.resolve":
		var id, reason string
		if err := decodeArgs(c.Args, arg{"id", &id}, arg{"reason", &reason}); err != nil {
			return nil, err
		}
		return nil, x.cfg.Services.DeadLetters().Resolve(ctx, call, id, reason)
	}
	return nil, cloud.Invalid("op", "%q is no operation of this version of PiCloud", c.Op)
}

// maxTTL is 100 years in milliseconds.
const maxTTL = 100 * 365.25 * 24 * 3600 * 1000

type kvEntry struct {
	Value     json.RawMessage `json:"value"`
	Version   int64           `json:"version"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
}

type kvVersion struct {
	Version int64 `json:"version"`
}

type kvFound struct {
	Key     string          `json:"key"`
	Value   json.RawMessage `json:"value"`
	Version int64           `json:"version"`
}

type kvList struct {
	Keys   []string          `json:"keys"`
	Values []json.RawMessage `json:"values,omitzero"`
	Cursor string            `json:"cursor,omitempty"`
}

// optionalTime is t in milliseconds, as precise as a Date; nil if zero.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

func encodeResult(v any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return encode(v)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, cloud.Errorf(cloud.CodeInternal, "the result could not be encoded").Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// arg is a named argument of a host call and where it goes.
type arg struct {
	name string
	to   any
}

// decodeArgs reads a JSON array into as many targets as it must have items. An
// item of the wrong type or with unknown fields is a CodeInvalid error about
// the argument; null leaves options as they are and is no value for the rest.
func decodeArgs(args []byte, targets ...arg) error {
	items := make([]json.RawMessage, 0, 4)
	if err := json.Unmarshal(args, &items); err != nil {
		return cloud.Invalid("arguments", "are no JSON array")
	}
	if len(items) != len(targets) {
		return cloud.Invalid("arguments", "are %d; the operation takes %d", len(items), len(targets))
	}
	for i, t := range targets {
		var err error
		switch to := t.to.(type) {
		case *json.RawMessage:
			*to = items[i]
		case *string, *float64, *[]string:
			if string(items[i]) == "null" {
				return cloud.Invalid(t.name, "is missing")
			}
			err = json.Unmarshal(items[i], to)
		default:
			dec := json.NewDecoder(bytes.NewReader(items[i]))
			dec.DisallowUnknownFields()
			err = dec.Decode(to)
		}
		if err != nil {
			return cloud.Invalid(t.name, "has the wrong type or an unknown field")
		}
	}
	return nil
}
