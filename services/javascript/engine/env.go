package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/dop251/goja"
)

// Env holds the variables that scripts get as env. It is immutable.
type Env struct {
	vars  map[string]string
	names []string // sorted
}

// ParseEnv reads a JSON object of strings.
func ParseEnv(p []byte) (*Env, error) {
	e := &Env{}
	if err := json.Unmarshal(p, &e.vars); err != nil {
		return nil, fmt.Errorf("env: %w", err)
	}
	e.names = slices.Sorted(maps.Keys(e.vars))
	return e, nil
}

// environment is env as an object. Executions share it, so it is frozen.
func (r *Runtime) environment(env *Env) goja.Value {
	if r.envObj == nil || r.env != env {
		var names []string
		if env != nil {
			names = env.names
		}
		r.env, r.envObj = env, r.frozen(names, func(name string) goja.Value { return r.vm.ToValue(env.vars[name]) })
	}
	return r.envObj
}

// frozen makes an object that nobody can change, with own properties only.
func (r *Runtime) frozen(names []string, value func(name string) goja.Value) *goja.Object {
	o := r.vm.NewObject()
	for _, name := range names { // a name may be __proto__
		_ = o.DefineDataProperty(name, value(name), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_TRUE)
	}
	call(r.freeze, goja.Undefined(), o)
	return o
}
