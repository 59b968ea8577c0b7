package engine

import (
	"github.com/dop251/goja"
)

// install gives the realm its globals. What costs more than a function object is
// made when it is first asked for.
func (r *Runtime) install() {
	global := r.vm.GlobalObject()
	json := global.Get("JSON").(*goja.Object)
	r.jsonStringify, _ = goja.AssertFunction(json.Get("stringify"))

	for name, make := range map[string]func() *class{
		"Headers": r.headersClass, "Request": r.requestClass, "Response": r.responseClass,
		"URL": r.urlClass, "URLSearchParams": r.queryClass,
	} {
		r.lazy(name, func() goja.Value { return make().ctor })
	}
	r.lazy("console", func() goja.Value { return r.newConsole() })
	for name, f := range map[string]func(goja.FunctionCall) goja.Value{
		"setTimeout":    r.setTimer("setTimeout", false),
		"setInterval":   r.setTimer("setInterval", true),
		"clearTimeout":  r.clearTimer,
		"clearInterval": r.clearTimer,
	} {
		r.lazy(name, func() goja.Value { return r.function(name, 1, f) })
	}
}

// lazy defines a global that is made when it is first read; writing replaces it.
func (r *Runtime) lazy(name string, make func() goja.Value) {
	global := r.vm.GlobalObject()
	replace := func(v goja.Value) {
		_ = global.DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
	_ = global.DefineAccessorProperty(name,
		r.vm.ToValue(func(goja.FunctionCall) goja.Value {
			v := make()
			replace(v)
			return v
		}),
		r.vm.ToValue(func(fc goja.FunctionCall) goja.Value {
			replace(fc.Argument(0))
			return goja.Undefined()
		}), goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// uncaught logs what a callback threw; it returns what ends the execution.
func (r *Runtime) uncaught(err error) error {
	thrown, ok := err.(*goja.Exception)
	if !ok {
		return err
	}
	r.log("error", "Uncaught "+r.inspectError(thrown.Value()))
	return nil
}
