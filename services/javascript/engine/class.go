package engine

import "github.com/dop251/goja"

// hidden is the property under which an object of a class written in Go keeps
// its state. It has no name, which goja would put together for each object.
var hidden = goja.NewSymbol("")

// slot is a JavaScript value that carries a Go value and reads as undefined.
type slot struct {
	goja.Value
	state any
}

// class is a constructor written in Go.
type class struct {
	r     *Runtime
	name  string
	ctor  *goja.Object
	proto *goja.Object
}

// newClass makes a class whose constructor returns the state of the new object.
func newClass[T any](r *Runtime, name string, length int, construct func(args []goja.Value) T) *class {
	return r.rawClass(name, length, func(call goja.ConstructorCall) *goja.Object {
		r.hide(call.This, construct(call.Arguments))
		return nil
	})
}

func (r *Runtime) rawClass(name string, length int, construct func(goja.ConstructorCall) *goja.Object) *class {
	ctor := r.vm.ToValue(construct).(*goja.Object)
	c := &class{r: r, name: name, ctor: ctor, proto: ctor.Get("prototype").(*goja.Object)}
	r.label(ctor, name, length)
	_ = c.proto.DefineDataPropertySymbol(goja.SymToStringTag, r.vm.ToValue(name), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	return c
}

func (r *Runtime) label(f *goja.Object, name string, length int) {
	_ = f.DefineDataProperty("name", r.vm.ToValue(name), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	if length > 0 {
		_ = f.DefineDataProperty("length", r.vm.ToValue(length), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
}

// function makes a JavaScript function of f.
func (r *Runtime) function(name string, length int, f func(goja.FunctionCall) goja.Value) *goja.Object {
	o := r.vm.ToValue(f).(*goja.Object)
	r.label(o, name, length)
	return o
}

// hide gives obj its state.
func (r *Runtime) hide(obj *goja.Object, state any) {
	_ = obj.DefineDataPropertySymbol(hidden, &slot{goja.Undefined(), state}, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
}

// object makes an object of the class without calling its constructor.
func (c *class) object(state any) *goja.Object {
	o := c.r.vm.CreateObject(c.proto)
	c.r.hide(o, state)
	return o
}

// stateOf is the Go state of v, if it is an object of a class with such state.
func stateOf[T any](v goja.Value) (state T, ok bool) {
	obj, _ := v.(*goja.Object)
	if obj == nil {
		return state, false
	}
	s, _ := obj.GetSymbol(hidden).(*slot)
	if s == nil {
		return state, false
	}
	state, ok = s.state.(T)
	return state, ok
}

func (c *class) illegal() any {
	return c.r.vm.NewTypeError("Illegal invocation: this is not a %s", c.name)
}

// method adds a method to the prototype of c.
func method[T any](c *class, name string, length int, f func(self T, call goja.FunctionCall) goja.Value) *goja.Object {
	fn := c.r.function(name, length, func(call goja.FunctionCall) goja.Value {
		self, ok := stateOf[T](call.This)
		if !ok {
			panic(c.illegal())
		}
		return f(self, call)
	})
	_ = c.proto.DefineDataProperty(name, fn, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
	return fn
}

// property adds an accessor to the prototype of c; set may be nil.
func property[T any](c *class, name string, get func(self T) goja.Value, set func(self T, v goja.Value)) {
	getter := c.r.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		self, ok := stateOf[T](call.This)
		if !ok {
			if call.This == c.proto {
				return goja.Undefined()
			}
			panic(c.illegal())
		}
		return get(self)
	})
	var setter goja.Value
	if set != nil {
		setter = c.r.vm.ToValue(func(call goja.FunctionCall) goja.Value {
			self, ok := stateOf[T](call.This)
			if !ok {
				panic(c.illegal())
			}
			set(self, call.Argument(0))
			return goja.Undefined()
		})
	}
	_ = c.proto.DefineAccessorProperty(name, getter, setter, goja.FLAG_TRUE, goja.FLAG_TRUE)
}

// static adds a function to the constructor of c.
func (c *class) static(name string, length int, f func(goja.FunctionCall) goja.Value) {
	_ = c.ctor.DefineDataProperty(name, c.r.function(name, length, f), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
}

// need panics with a TypeError unless args has n values.
func (r *Runtime) need(args []goja.Value, n int, what string) {
	if len(args) < n {
		s := "s"
		if n == 1 {
			s = ""
		}
		panic(r.vm.NewTypeError("Failed to execute %s: %d argument%s required, but only %d present", what, n, s, len(args)))
	}
}

func isNullish(v goja.Value) bool {
	return v == nil || goja.IsUndefined(v) || goja.IsNull(v)
}

// call calls f and passes what it throws on as an exception of the caller.
func call(f goja.Callable, this goja.Value, args ...goja.Value) goja.Value {
	v, err := f(this, args...)
	if err != nil {
		panic(err)
	}
	return v
}
