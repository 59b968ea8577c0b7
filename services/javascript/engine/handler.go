package engine

import (
	"github.com/dop251/goja"

	"github.com/picloud/picloud/services/cloud"
)

// handler finds the exported handler and the object that it is called on.
func (r *Runtime) handler(name string) (goja.Callable, goja.Value, error) {
	exported := r.exports.Get("default")
	if f, ok := goja.AssertFunction(exported); ok && name == "fetch" {
		return f, goja.Undefined(), nil
	}
	write := "; write export default { " + name + "(" + handlerArgument(name) + ", env, ctx) { … } }"
	obj, ok := exported.(*goja.Object)
	if !ok {
		return nil, nil, r.noHandler("the script has no default export" + write)
	}
	f, ok := goja.AssertFunction(obj.Get(name))
	if !ok {
		return nil, nil, r.noHandler("the script's default export has no method " + name + write)
	}
	return f, obj, nil
}

// handlerArgument is what the first parameter of a handler is usually called.
func handlerArgument(handler string) string {
	switch handler {
	case "fetch":
		return "request"
	case "queue":
		return "batch"
	case "email":
		return "message"
	}
	return "event"
}

func (r *Runtime) noHandler(message string) error {
	return &failure{cloud.CodeScriptThrew, &cloud.ScriptError{Name: "TypeError", Message: message}}
}

// fetch calls a handler of requests, answers, and waits for what goes on after
// the answer.
func (r *Runtime) fetch(handler goja.Callable, this goja.Value, env *Env) error {
	result, err := handler(this, r.incomingRequest(&r.x.start), r.environment(env), r.context())
	if err != nil {
		return err
	}
	result, err = r.await(result, neverAnswers)
	if err != nil {
		return err
	}
	if err := r.respond(result); err != nil {
		return err
	}
	if err := r.loop(func() bool { return r.answer.done && r.waiting == 0 }, nil); err != nil {
		return err
	}
	switch {
	case r.answer.failed != nil:
		return r.answer.failed
	case !r.answer.done:
		return &failure{cloud.CodeScriptThrew, &cloud.ScriptError{
			Name: "Error", Message: "the response's stream never ends: nothing is pending that could close it",
		}}
	}
	return nil
}

var neverAnswers = invalidResponse("the handler's promise can never settle: nothing is pending that could settle it")

// deliver calls a handler of events and waits for what it returns and for what
// it gave to waitUntil. Nobody reads an answer, so a failure of either is one of
// the execution: the event is tried again.
func (r *Runtime) deliver(handler goja.Callable, this goja.Value, env *Env) error {
	result, err := handler(this, r.eventObject(), r.environment(env), r.context())
	if err != nil {
		return err
	}
	if _, err := r.await(result, neverEnds); err != nil {
		return err
	}
	if err := r.loop(func() bool { return r.waiting == 0 }, neverEnds); err != nil {
		return err
	}
	if r.late != nil {
		return r.late
	}
	return nil
}

var neverEnds = &failure{cloud.CodeScriptThrew, &cloud.ScriptError{
	Name: "Error", Message: "the handler never ends: nothing is pending that could settle what it returned or gave to waitUntil",
}}

// eventObject is the first argument of a handler of events: what the server says,
// with moments as Dates, and for schedules noRetry, as ScheduledController of
// Workers has it.
func (r *Runtime) eventObject() goja.Value {
	x := r.x
	v := r.parseJSON(string(x.start.Event))
	event, ok := v.(*goja.Object)
	if !ok {
		return v
	}
	r.momentAsDate(event)
	if original, ok := event.Get("original").(*goja.Object); ok && stringOf(event.Get("kind")) == string(cloud.EventDeadLetter) {
		r.momentAsDate(original)
	}
	if x.start.Handler == "scheduled" {
		noRetry := r.function("noRetry", 0, func(goja.FunctionCall) goja.Value {
			if r.x == x {
				r.noRetry = true
			}
			return goja.Undefined()
		})
		_ = event.DefineDataProperty("noRetry", noRetry, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
	return event
}

// momentAsDate makes at, in milliseconds since 1970, a Date.
func (r *Runtime) momentAsDate(event *goja.Object) {
	at := event.Get("at")
	if at == nil || !goja.IsNumber(at) {
		return
	}
	date, err := r.vm.New(r.vm.Get("Date"), at)
	if err != nil {
		panic(err)
	}
	_ = event.Set("at", date)
}
