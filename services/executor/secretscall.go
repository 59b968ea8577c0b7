package executor

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// callSecrets carries out a call of secrets.
func (x *Executor) callSecrets(ctx context.Context, call cloud.Call, c wire.HostCall) ([]byte, error) {
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
		return encode(value)
	case "secrets.set":
		if err := decodeArgs(c.Args, arg{"name", &name}, arg{"value", &value}); err != nil {
			return nil, err
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
