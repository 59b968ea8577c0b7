package engine

import (
	_ "embed"

	"github.com/dop251/goja"
)

//go:embed events.js
var eventsSource string

var eventsProgram = ownScript("events.js", eventsSource)

// event is one of the classes of events.js.
func (r *Runtime) event(name string) *goja.Object {
	if r.events == nil {
		v, err := r.vm.RunProgram(eventsProgram())
		if err != nil {
			panic(err)
		}
		r.events = v.(*goja.Object)
	}
	return r.events.Get(name).(*goja.Object)
}

// domException makes a DOMException.
func (r *Runtime) domException(name, message string) *goja.Object {
	e, err := r.vm.New(r.event("DOMException"), r.vm.ToValue(message), r.vm.ToValue(name))
	if err != nil {
		panic(err)
	}
	return e
}

// requestSignal is the signal of a request; that of the incoming one is aborted
// when the caller goes away.
func (r *Runtime) requestSignal(q *request) goja.Value {
	controller, err := r.vm.New(r.event("AbortController"))
	if err != nil {
		panic(err)
	}
	if q.incoming {
		abort := func() {
			call(must1(goja.AssertFunction(controller.Get("abort"))), controller)
		}
		if r.canceled {
			abort()
		} else {
			r.aborts = append(r.aborts, abort)
		}
	}
	return controller.Get("signal")
}
