package engine

import (
	_ "embed"

	"github.com/dop251/goja"
)

//go:embed clone.js
var cloneSource string

var cloneProgram = ownScript("clone.js", cloneSource)

// structuredClone is the global function.
func (r *Runtime) structuredClone() goja.Value {
	v, err := r.vm.RunProgram(cloneProgram())
	if err != nil {
		panic(err)
	}
	clone := must1(goja.AssertFunction(v))
	isPlatform := r.vm.ToValue(func(fc goja.FunctionCall) goja.Value {
		obj, _ := fc.Argument(0).(*goja.Object)
		if obj == nil {
			return r.vm.ToValue(false)
		}
		_, hides := obj.GetSymbol(hidden).(*slot)
		return r.vm.ToValue(hides || r.isStream(obj))
	})
	return r.function("structuredClone", 1, func(fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'structuredClone'")
		copied := call(clone, goja.Undefined(), fc.Argument(0), fc.Argument(1), r.event("DOMException"), isPlatform)
		r.detach(fc.Argument(1))
		return copied
	})
}

// detach takes the transferred buffers from their owner.
func (r *Runtime) detach(options goja.Value) {
	o, ok := options.(*goja.Object)
	if !ok || isNullish(o.Get("transfer")) {
		return
	}
	r.vm.ForOf(o.Get("transfer"), func(v goja.Value) bool {
		if buf, ok := v.Export().(goja.ArrayBuffer); ok {
			buf.Detach()
		}
		return true
	})
}
