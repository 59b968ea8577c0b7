package cloud

import (
	"context"
	"encoding/json"
)

// DeadLetters lets scripts handle events that were given up.
type DeadLetters interface {
	// Replay delivers the event again. CodeNotFound, CodeForbidden.
	Replay(ctx context.Context, call Call, id string) error
	// Resolve closes it with a reason. CodeNotFound, CodeForbidden.
	Resolve(ctx context.Context, call Call, id, reason string) error
}

// Services are the data services that an execution may call. The zero value is
// ready: its KV holds nothing and keeps nothing and its
// Secrets and DeadLetters refuse with CodeUnavailable.
type Services struct {
	kv          KV
	secrets     Secrets
	deadLetters DeadLetters
}

// WithKV returns s with kv as its KV.
func (s Services) WithKV(kv KV) Services { s.kv = kv; return s }

// WithSecrets returns s with secrets as its Secrets.
func (s Services) WithSecrets(secrets Secrets) Services { s.secrets = secrets; return s }

// WithDeadLetters returns s with d as its DeadLetters.
func (s Services) WithDeadLetters(d DeadLetters) Services { s.deadLetters = d; return s }

// KV is never nil.
func (s Services) KV() KV {
	if s.kv == nil {
		return noKV{}
	}
	return s.kv
}

// Secrets is never nil.
func (s Services) Secrets() Secrets {
	if s.secrets == nil {
		return noSecrets{}
	}
	return s.secrets
}

// DeadLetters is never nil.
func (s Services) DeadLetters() DeadLetters {
	if s.deadLetters == nil {
		return noDeadLetters{}
	}
	return s.deadLetters
}

type noKV struct{}

func (noKV) Get(context.Context, Call, string, string) (KVEntry, bool, error) {
	return KVEntry{}, false, nil
}

func (noKV) Set(_ context.Context, _ Call, _, key string, value json.RawMessage, _ KVSet) (KVEntry, error) {
	return KVEntry{Key: key, Value: value}, nil
}

func (noKV) Delete(context.Context, Call, string, string) (bool, error) { return false, nil }

func (noKV) Increment(_ context.Context, _ Call, _, _ string, by float64) (float64, error) {
	return by, nil
}

func (noKV) GetMany(context.Context, Call, string, []string) ([]KVEntry, error) { return nil, nil }

func (noKV) List(context.Context, Call, string, KVQuery) (KVPage, error) { return KVPage{}, nil }

func (noKV) Collections(context.Context, Call, string, int) ([]string, error) { return nil, nil }

type noSecrets struct{}

func (noSecrets) Get(context.Context, Call, string) (string, bool, error) {
	return "", false, errNoSecrets
}

func (noSecrets) Set(context.Context, Call, string, string) error { return errNoSecrets }

func (noSecrets) Delete(context.Context, Call, string) (bool, error) { return false, errNoSecrets }

func (noSecrets) List(context.Context, Call) ([]EnvEntry, error) { return nil, errNoSecrets }

var errNoSecrets = Errorf(CodeUnavailable, "this server keeps no secrets")

type noDeadLetters struct{}

func (noDeadLetters) Replay(context.Context, Call, string) error { return errNoDeadLetters }

func (noDeadLetters) Resolve(context.Context, Call, string, string) error { return errNoDeadLetters }

var errNoDeadLetters = Errorf(CodeUnavailable, "this version of PiCloud keeps no dead letters yet")
