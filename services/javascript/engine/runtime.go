package engine

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// maxCallStack bounds JavaScript's call depth, so that recursion ends with a
// RangeError long before Go's stack does.
const maxCallStack = 10_000

var (
	typePromise     = reflect.TypeFor[*goja.Promise]()
	typeArrayBuffer = reflect.TypeFor[goja.ArrayBuffer]()
)

// Runtime is one realm in which a program was evaluated. It runs one execution
// at a time, on the goroutine of Run; only Run uses it.
type Runtime struct {
	vm      *goja.Runtime
	program *Program
	exports *goja.Object // what the program exports; nil before it was evaluated
	// dead says that JavaScript was cut short somewhere, or never got ready: the
	// state is unknown and nothing runs here again.
	dead bool

	x         *Execution // the one that runs
	incoming  *incoming
	answer    answer
	waiting   int      // promises given to waitUntil that are not settled
	late      *failure // the first of them to be rejected, when that fails the execution
	noRetry   bool
	calls     map[uint32]pending
	lastCall  uint32
	timers    timers
	logged    int64
	truncated bool
	aborts    []func() // run when the caller goes away
	canceled  bool
	// rejections are promises that were rejected while nobody had asked.
	rejections []*goja.Promise
	// awaited is a promise whose rejection await sees.
	awaited        *goja.Promise
	platformErrors map[*goja.Object]cloud.Code

	env    *Env
	envObj *goja.Object

	classes struct {
		headers, request, response, url, query, collection, context *class
		encoder, decoder                                            *class
	}
	streams           *streamFunctions
	events            *goja.Object // the classes of events.js
	console           console
	jsonStringify     goja.Callable
	promiseThen       goja.Callable
	arrayBufferIsView goja.Callable
	getDescriptor     goja.Callable
	freeze            goja.Callable
}

// NewRuntime makes a realm for p. The program is evaluated by the first Run.
func NewRuntime(p *Program) *Runtime {
	r := &Runtime{vm: goja.New(), program: p, calls: map[uint32]pending{}, platformErrors: map[*goja.Object]cloud.Code{}}
	r.vm.SetMaxCallStackSize(maxCallStack)
	r.vm.SetParserOptions(parser.WithDisableSourceMaps)
	r.vm.SetPromiseRejectionTracker(func(p *goja.Promise, op goja.PromiseRejectionOperation) {
		if op == goja.PromiseRejectionReject {
			if p != r.awaited {
				r.rejections = append(r.rejections, p)
			}
			return
		}
		for i, q := range r.rejections {
			if q == p {
				r.rejections = append(r.rejections[:i], r.rejections[i+1:]...)
				return
			}
		}
	})
	r.install()
	return r
}

// Reusable tells whether another execution may run here.
func (r *Runtime) Reusable() bool { return !r.dead }

// Run runs x to its end, waitUntil included, and returns how it ended. What it
// answers goes to the host of x. Nothing of x is left in r afterwards: what was
// still pending is dropped.
func (r *Runtime) Run(x *Execution, env *Env) (end wire.End) {
	r.x = x
	r.answer = answer{credit: wire.InitialCredit}
	x.enter()
	x.attach(r.vm)
	f := r.guarded(func() error { return r.execute(env) })
	x.leave()
	if killed := x.detach(); killed != "" {
		// A limit that passed in the last moment counts only if it ended the run,
		// but an interrupt may be left behind in the realm.
		r.dead = true
	}
	end = wire.End{CPU: x.CPU(), Truncated: r.truncated, NoRetry: r.noRetry}
	if f != nil {
		end.Code, end.Error = string(f.code), f.err
	}
	end.Peak = peakHeap()
	r.reset()
	return end
}

// guarded runs f and turns whatever it ends with into a failure.
func (r *Runtime) guarded(f func() error) (fail *failure) {
	defer func() {
		if v := recover(); v != nil {
			fail = r.recovered(v)
		}
	}()
	if err := f(); err != nil {
		return r.failed(err)
	}
	return nil
}

func (r *Runtime) recovered(v any) *failure {
	switch v := v.(type) {
	case *goja.Exception:
		return r.thrown(v.Value(), v.Stack())
	case goja.Value:
		return r.thrown(v, nil)
	case *goja.InterruptedError:
		return r.failed(v)
	case *goja.StackOverflowError:
		return r.failed(v)
	}
	r.dead = true
	return &failure{cloud.CodeInternal, &cloud.ScriptError{
		Name: "InternalError", Message: fmt.Sprintf("the JavaScript engine failed: %v", v), Stack: string(debug.Stack()),
	}}
}

func (r *Runtime) reset() {
	r.x, r.incoming, r.waiting, r.logged, r.truncated, r.canceled = nil, nil, 0, 0, false, false
	r.awaited, r.late, r.noRetry = nil, nil, false
	r.answer = answer{}
	r.aborts = nil
	clear(r.calls)
	clear(r.platformErrors)
	clear(r.rejections)
	r.rejections = r.rejections[:0]
	r.timers.clear()
	r.console.reset()
}

// execute evaluates the program if need be and runs the handler.
func (r *Runtime) execute(env *Env) error {
	s := &r.x.start
	if s.BodyLength != 0 {
		r.incoming = &incoming{r: r, limit: s.RequestBody, length: s.BodyLength}
	}
	if r.exports == nil {
		if err := r.load(); err != nil {
			r.dead = true
			return err
		}
	}
	handler, this, err := r.handler(s.Handler)
	if err != nil {
		return err
	}
	if s.Handler == "fetch" {
		return r.fetch(handler, this, env)
	}
	return r.deliver(handler, this, env)
}

// load evaluates the program and keeps its exports.
func (r *Runtime) load() error {
	v, err := r.vm.RunProgram(r.program.code)
	if err != nil {
		return err
	}
	module, ok := goja.AssertFunction(v)
	if !ok {
		return fmt.Errorf("program %q is not a function", r.program.name)
	}
	if v, err = module(goja.Undefined(), r.module()); err != nil {
		return err
	}
	never := &failure{cloud.CodeScriptThrew, &cloud.ScriptError{
		Name: "Error", Message: "the script's top-level await can never settle: nothing is pending that could settle it",
	}}
	if v, err = r.await(v, never); err != nil {
		return err
	}
	exports, ok := v.(*goja.Object)
	if !ok {
		return fmt.Errorf("program %q has no exports", r.program.name)
	}
	r.exports = exports
	return nil
}

// context is the third argument of a handler.
func (r *Runtime) context() *goja.Object {
	c := r.classes.context
	if c == nil {
		c = r.rawClass("ExecutionContext", 0, func(goja.ConstructorCall) *goja.Object {
			panic(r.vm.NewTypeError("Illegal constructor"))
		})
		r.classes.context = c
		method(c, "waitUntil", 1, func(x *executionContext, fc goja.FunctionCall) goja.Value {
			r.need(fc.Arguments, 1, "'waitUntil' on 'ExecutionContext'")
			if x.x != r.x {
				panic(r.newError("Error", "", "ctx.waitUntil: the execution has ended"))
			}
			r.waitUntil(fc.Arguments[0])
			return goja.Undefined()
		})
		method(c, "passThroughOnException", 0, func(*executionContext, goja.FunctionCall) goja.Value { return goja.Undefined() })
		text := func(name string, get func(*wire.Start) any) {
			property(c, name, func(x *executionContext) goja.Value { return r.vm.ToValue(get(&x.x.start)) }, nil)
		}
		text("executionId", func(s *wire.Start) any { return s.ExecutionID })
		text("requestId", func(s *wire.Start) any { return s.RequestID })
		text("app", func(s *wire.Start) any { return s.App })
		text("script", func(s *wire.Start) any { return s.Script })
		text("depth", func(s *wire.Start) any { return s.Depth })
		text("attempt", func(s *wire.Start) any { return max(1, s.Attempt) })
		property(c, "eventId", func(x *executionContext) goja.Value {
			if id := x.x.start.EventID; id != "" {
				return r.vm.ToValue(id)
			}
			return goja.Null()
		}, nil)
		property(c, "params", func(x *executionContext) goja.Value {
			if x.params == nil {
				x.params = r.vm.NewObject()
				for _, p := range x.x.start.Params {
					_ = x.params.DefineDataProperty(p.Name, r.vm.ToValue(p.Value), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
				}
			}
			return x.params
		}, nil)
		property(c, "principal", func(x *executionContext) goja.Value {
			if x.caller == nil {
				x.caller = r.principal(x.x.start.Principal)
			}
			return x.caller
		}, nil)
	}
	return c.object(&executionContext{x: r.x})
}

// principal is ctx.principal.
func (r *Runtime) principal(p *wire.Principal) goja.Value {
	if p == nil {
		return goja.Null()
	}
	role := goja.Null()
	if p.Role != "" {
		role = r.vm.ToValue(p.Role)
	}
	return r.frozen([]string{"id", "name", "role"}, func(name string) goja.Value {
		switch name {
		case "id":
			return r.vm.ToValue(p.ID)
		case "name":
			return r.vm.ToValue(p.Name)
		default:
			return role
		}
	})
}

type executionContext struct {
	x      *Execution
	params *goja.Object
	caller goja.Value // null for the anonymous; nil: not made yet
}

func (r *Runtime) waitUntil(v goja.Value) {
	p, x := r.promise(v), r.x
	r.waiting++
	r.then(p, func(goja.Value) {
		if r.x == x {
			r.waiting--
		}
	}, func(reason goja.Value) {
		if r.x != x {
			return // an execution later
		}
		r.waiting--
		if x.start.Handler != "fetch" && r.late == nil {
			r.late = r.thrown(reason, nil)
			return
		}
		r.log("error", "Uncaught (in waitUntil) "+r.inspectError(reason))
	})
}

// promise is v if it is a promise, else one that follows it as await does.
func (r *Runtime) promise(v goja.Value) *goja.Object {
	if obj, ok := v.(*goja.Object); ok && obj.ExportType() == typePromise {
		return obj
	}
	p, resolve, _ := r.vm.NewPromise()
	must(resolve(v))
	return r.vm.ToValue(p).(*goja.Object)
}

// then calls one of the functions when the promise settles.
func (r *Runtime) then(p *goja.Object, fulfilled, rejected func(goja.Value)) {
	if r.promiseThen == nil {
		r.promiseThen, _ = goja.AssertFunction(r.vm.Get("Promise").(*goja.Object).Get("prototype").(*goja.Object).Get("then"))
	}
	react := func(f func(goja.Value)) goja.Value {
		return r.vm.ToValue(func(fc goja.FunctionCall) goja.Value {
			f(fc.Argument(0))
			return goja.Undefined()
		})
	}
	call(r.promiseThen, p, react(fulfilled), react(rejected))
}

// await waits until v is settled, if it is a promise or thenable. never is the
// error if that cannot happen.
func (r *Runtime) await(v goja.Value, never error) (goja.Value, error) {
	obj, ok := v.(*goja.Object)
	if !ok {
		return v, nil
	}
	if obj.ExportType() != typePromise {
		if _, thenable := stateOf[*response](obj); thenable {
			return v, nil
		}
		if _, ok := goja.AssertFunction(obj.Get("then")); !ok {
			return v, nil
		}
		obj = r.promise(obj)
	}
	p := obj.Export().(*goja.Promise)
	if p.State() == goja.PromiseStatePending {
		r.awaited = p
		if err := r.loop(func() bool { return p.State() != goja.PromiseStatePending }, never); err != nil {
			return nil, err
		}
	}
	if p.State() == goja.PromiseStateRejected {
		for i, q := range r.rejections {
			if q == p {
				r.rejections = append(r.rejections[:i], r.rejections[i+1:]...)
				break
			}
		}
		f := r.thrown(p.Result(), nil)
		return nil, f
	}
	return p.Result(), nil
}

// ownScript compiles one of the engine's own scripts, once a process and when first needed.
func ownScript(name, source string) func() *goja.Program {
	return sync.OnceValue(func() *goja.Program {
		ast, err := goja.Parse(internalName+name, source, parser.WithDisableSourceMaps)
		if err != nil {
			panic(err)
		}
		p, err := goja.CompileAST(ast, true)
		if err != nil {
			panic(err)
		}
		return p
	})
}
