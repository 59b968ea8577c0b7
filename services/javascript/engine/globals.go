package engine

import (
	_ "embed"
	"errors"

	"github.com/dop251/goja"
)

//go:embed language.js
var languageSource string

var languageProgram = ownScript("language.js", languageSource)

// install gives the realm its globals. What costs more than a function object is
// made when it is first asked for.
func (r *Runtime) install() {
	global := r.vm.GlobalObject()
	json := global.Get("JSON").(*goja.Object)
	r.jsonStringify, _ = goja.AssertFunction(json.Get("stringify"))
	r.freeze, _ = goja.AssertFunction(global.Get("Object").(*goja.Object).Get("freeze"))
	r.installGuards(global)
	if _, err := r.vm.RunProgram(languageProgram()); err != nil {
		panic(err) // our own script
	}
	r.installJSON(json)
	r.installWellFormed(global.Get("String").(*goja.Object).Get("prototype").(*goja.Object))
	for name, f := range map[string]func() *class{
		"Headers": r.headersClass, "Request": r.requestClass, "Response": r.responseClass,
		"URL": r.urlClass, "URLSearchParams": r.queryClass,
		"TextEncoder": r.encoderClass, "TextDecoder": r.decoderClass,
	} {
		r.lazy(name, func() goja.Value { return f().ctor })
	}
	for _, name := range [...]string{"ReadableStream", "ReadableStreamDefaultReader", "ReadableStreamDefaultController"} {
		r.lazy(name, func() goja.Value { return r.loadStreams().object.Get(name) })
	}
	for _, name := range [...]string{"DOMException", "Event", "CustomEvent", "EventTarget", "AbortController", "AbortSignal"} {
		r.lazy(name, func() goja.Value { return r.event(name) })
	}
	for name, f := range map[string]native{
		"setTimeout":     r.setTimer("setTimeout", false),
		"setInterval":    r.setTimer("setInterval", true),
		"clearTimeout":   r.clearTimer,
		"clearInterval":  r.clearTimer,
		"queueMicrotask": r.queueMicrotask,
		"reportError":    r.reportError,
		"atob":           r.atob,
		"btoa":           r.btoa,
	} {
		r.lazy(name, func() goja.Value { return r.function(name, 1, f) })
	}
	r.lazy("structuredClone", r.structuredClone)
	r.lazy("console", func() goja.Value { return r.newConsole() })
	r.lazy("crypto", r.newCrypto)
	r.lazy("performance", r.newPerformance)
	r.lazy("navigator", func() goja.Value {
		n := r.vm.NewObject()
		_ = n.Set("userAgent", "PiCloud")
		return n
	})
	_ = global.DefineDataProperty("self", global, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// installJSON replaces JSON.parse by the engine's own, which is faster and stops
// at maxDepth. With a reviver goja's does the work, after ours has passed it.
func (r *Runtime) installJSON(json *goja.Object) {
	original, _ := goja.AssertFunction(json.Get("parse"))
	_ = json.DefineDataProperty("parse", r.function("parse", 2, func(fc goja.FunctionCall) goja.Value {
		text := fc.Argument(0).ToString()
		v := r.parseJSON(text.String())
		if _, ok := goja.AssertFunction(fc.Argument(1)); ok {
			return call(original, json, text, fc.Argument(1))
		}
		return v
	}), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// lazy defines a global that is made when it is first read; writing replaces it.
func (r *Runtime) lazy(name string, create func() goja.Value) {
	global := r.vm.GlobalObject()
	replace := func(v goja.Value) {
		_ = global.DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
	_ = global.DefineAccessorProperty(name,
		r.vm.ToValue(func(goja.FunctionCall) goja.Value {
			v := create()
			replace(v)
			return v
		}),
		r.vm.ToValue(func(fc goja.FunctionCall) goja.Value {
			replace(fc.Argument(0))
			return goja.Undefined()
		}), goja.FLAG_TRUE, goja.FLAG_FALSE)
}

func (r *Runtime) queueMicrotask(fc goja.FunctionCall) goja.Value {
	f, ok := goja.AssertFunction(fc.Argument(0))
	if !ok {
		panic(r.vm.NewTypeError("queueMicrotask: the callback must be a function, not %s", r.kindOf(fc.Argument(0))))
	}
	p, resolve, _ := r.vm.NewPromise()
	must(resolve(goja.Undefined()))
	r.then(r.vm.ToValue(p).(*goja.Object), func(goja.Value) {
		if ex := r.vm.Try(func() { call(f, goja.Undefined()) }); ex != nil {
			r.log("error", "Uncaught "+r.inspectError(ex.Value()))
		}
	}, func(goja.Value) {})
	return goja.Undefined()
}

func (r *Runtime) reportError(fc goja.FunctionCall) goja.Value {
	r.log("error", "Uncaught "+r.inspectError(fc.Argument(0)))
	return goja.Undefined()
}

func (r *Runtime) newPerformance() goja.Value {
	p := r.vm.NewObject()
	origin := now()
	_ = p.Set("now", r.function("now", 0, func(goja.FunctionCall) goja.Value {
		return r.vm.ToValue(float64(now()-origin) / 1e6)
	}))
	_ = p.Set("timeOrigin", float64(epoch.Add(origin).UnixNano())/1e6)
	return p
}

// uncaught logs what a callback threw; it returns what ends the execution.
func (r *Runtime) uncaught(err error) error {
	var thrown *goja.Exception
	if !errors.As(err, &thrown) {
		return err
	}
	r.log("error", "Uncaught "+r.inspectError(thrown.Value()))
	return nil
}

// installWellFormed adds isWellFormed and toWellFormed to strings.
func (r *Runtime) installWellFormed(proto *goja.Object) {
	// mend returns the string with its lone surrogates replaced, and their number.
	mend := func(v goja.Value) (mended goja.Value, lone int) {
		s := v.ToString().(goja.String)
		units := make([]uint16, s.Length())
		for i := range units {
			units[i] = s.CharAt(i)
		}
		for i := 0; i < len(units); i++ {
			switch u := units[i]; {
			case u&0xfc00 == 0xd800 && i+1 < len(units) && units[i+1]&0xfc00 == 0xdc00:
				i++
			case u&0xf800 == 0xd800:
				units[i] = 0xfffd
				lone++
			}
		}
		if lone == 0 {
			return s, 0
		}
		return goja.StringFromUTF16(units), lone
	}
	add := func(name string, f native) {
		_ = proto.DefineDataProperty(name, r.function(name, 0, f), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
	add("isWellFormed", func(fc goja.FunctionCall) goja.Value {
		_, lone := mend(fc.This)
		return r.vm.ToValue(lone == 0)
	})
	add("toWellFormed", func(fc goja.FunctionCall) goja.Value {
		s, _ := mend(fc.This)
		return s
	})
}
