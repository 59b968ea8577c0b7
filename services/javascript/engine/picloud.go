package engine

import (
	"math"
	"strconv"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// pending is a host call that has not been answered.
type pending struct {
	resolve, reject func(any) error
	// convert makes the promise's value of the answer; nil: the answer itself.
	convert func(goja.Value) goja.Value
	stack   []goja.StackFrame // where the call was made
	op      string
}

// hostCall asks the host for op; args is a JSON array. It returns a promise.
func (r *Runtime) hostCall(op string, args []byte, convert func(goja.Value) goja.Value) goja.Value {
	p, resolve, reject := r.vm.NewPromise()
	if r.x == nil {
		must(reject(r.newError("Error", "", op+": called outside an execution")))
		return r.vm.ToValue(p)
	}
	r.lastCall++
	r.calls[r.lastCall] = pending{resolve, reject, convert, r.vm.CaptureCallStack(8, nil), op}
	r.x.host.Call(r.lastCall, op, args)
	return r.vm.ToValue(p)
}

// answered settles the promise of a host call.
func (r *Runtime) answered(res wire.HostResult) {
	c, ok := r.calls[res.Call]
	if !ok {
		return
	}
	delete(r.calls, res.Call)
	if res.Code != "" {
		must(c.reject(r.hostError(c, res)))
		return
	}
	v := goja.Undefined()
	if ex := r.vm.Try(func() {
		if len(res.Value) > 0 {
			v = r.parseJSON(string(res.Value))
		}
		if c.convert != nil {
			v = c.convert(v)
		}
	}); ex != nil {
		must(c.reject(ex.Value()))
		return
	}
	must(c.resolve(v))
}

// hostError is the exception for a refused host call. Its stack names the
// place of the call.
func (r *Runtime) hostError(c pending, res wire.HostResult) *goja.Object {
	class := "Error"
	if cloud.Code(res.Code) == cloud.CodeInvalid {
		class = "TypeError"
	}
	e := r.newError(class, res.Code, res.Message)
	if stack := rawFrames(c.stack); stack != "" {
		_ = e.DefineDataProperty("stack", r.vm.ToValue(class+": "+res.Message+"\n"+stack), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
	if cloud.Code(res.Code) == cloud.CodeUnavailable {
		r.platformErrors[e] = cloud.CodeUnavailable
	}
	return e
}

// module is the object behind `import … from "picloud"`.
func (r *Runtime) module() *goja.Object {
	m := r.vm.NewObject()
	kv := r.vm.NewObject()
	_ = kv.Set("collection", r.function("collection", 1, func(fc goja.FunctionCall) goja.Value {
		return r.collectionClass().object(&collection{name: r.name(fc.Argument(0), "kv.collection", "name")})
	}))
	_ = m.Set("kv", kv)
	letters := r.vm.NewObject()
	_ = letters.Set("replay", r.function("replay", 1, r.async(func(fc goja.FunctionCall) goja.Value {
		id := r.name(fc.Argument(0), "deadLetters.replay", "id")
		return r.hostCall("deadLetters.replay", append(appendJSON([]byte("["), id), ']'), nil)
	})))
	_ = letters.Set("resolve", r.function("resolve", 2, r.async(func(fc goja.FunctionCall) goja.Value {
		id := r.name(fc.Argument(0), "deadLetters.resolve", "id")
		reason := r.name(fc.Argument(1), "deadLetters.resolve", "reason")
		args := appendJSON(append(appendJSON([]byte("["), id), ','), reason)
		return r.hostCall("deadLetters.resolve", append(args, ']'), nil)
	})))
	_ = m.Set("deadLetters", letters)
	_ = m.Set("secrets", r.secrets())
	return m
}

// secrets is the object of that name in the module.
func (r *Runtime) secrets() *goja.Object {
	s := r.vm.NewObject()
	add := func(name string, length int, args func(what string, fc goja.FunctionCall) []byte) {
		what := "secrets." + name
		_ = s.Set(name, r.function(name, length, r.async(func(fc goja.FunctionCall) goja.Value {
			return r.hostCall(what, append(args(what, fc), ']'), nil)
		})))
	}
	named := func(what string, fc goja.FunctionCall) []byte {
		return appendJSON([]byte("["), r.name(fc.Argument(0), what, "name"))
	}
	add("get", 1, named)
	add("set", 2, func(what string, fc goja.FunctionCall) []byte {
		args := append(named(what, fc), ',')
		value, ok := fc.Argument(1).(goja.String)
		if !ok {
			panic(r.vm.NewTypeError("%s: value must be a string", what)) // what it is may be the secret
		}
		return appendJSON(args, value.String())
	})
	add("delete", 1, named)
	add("list", 0, func(string, goja.FunctionCall) []byte { return []byte("[") })
	return s
}

// collection is the state of what kv.collection returns.
type collection struct{ name string }

func (c *collection) args() []byte { return appendJSON([]byte("["), c.name) }

func (c *collection) keyArgs(key string) []byte { return appendJSON(append(c.args(), ','), key) }

// async makes a function return a rejected promise where f throws, as an async
// function would.
func (r *Runtime) async(f func(goja.FunctionCall) goja.Value) func(goja.FunctionCall) goja.Value {
	return func(fc goja.FunctionCall) (v goja.Value) {
		if ex := r.vm.Try(func() { v = f(fc) }); ex != nil {
			p, _, reject := r.vm.NewPromise()
			must(reject(ex.Value()))
			return r.vm.ToValue(p)
		}
		return v
	}
}

// name reads an argument that must be a string with something in it.
func (r *Runtime) name(v goja.Value, function, argument string) string {
	s, ok := v.(goja.String)
	if !ok {
		panic(r.vm.NewTypeError("%s: %s must be a string, not %s", function, argument, r.kindOf(v)))
	}
	text := s.String()
	if text == "" {
		panic(r.vm.NewTypeError("%s: %s is empty", function, argument))
	}
	return text
}

// kindOf names the kind of a value for a message.
func (r *Runtime) kindOf(v goja.Value) string {
	switch obj := v.(type) {
	case nil:
		return "undefined"
	case goja.String:
		return "a string"
	case *goja.Symbol:
		return "a symbol"
	case *goja.Object:
		if _, ok := goja.AssertFunction(obj); ok {
			return "a function"
		}
		if obj.ClassName() == "Array" {
			return "an array"
		}
		return "an object"
	}
	switch {
	case goja.IsUndefined(v):
		return "undefined"
	case goja.IsNull(v):
		return "null"
	case goja.IsNumber(v):
		return "the number " + v.String()
	case goja.IsBigInt(v):
		return "a bigint"
	default:
		return "the boolean " + v.String()
	}
}

// number reads an argument that must be a finite number.
func (r *Runtime) number(v goja.Value, function, argument string) float64 {
	if !goja.IsNumber(v) {
		panic(r.vm.NewTypeError("%s: %s must be a number, not %s", function, argument, r.kindOf(v)))
	}
	f := v.ToFloat()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		panic(r.vm.NewTypeError("%s: %s must be a finite number, not %s", function, argument, v.String()))
	}
	return f
}

func (r *Runtime) integer(v goja.Value, function, argument string) int64 {
	f := r.number(v, function, argument)
	if f != math.Trunc(f) || math.Abs(f) > 1<<53-1 {
		panic(r.vm.NewTypeError("%s: %s must be a whole number, not %s", function, argument, v.String()))
	}
	return int64(f)
}

// options reads an argument that may be an object; names lists the properties
// that it may have. It returns nil for undefined.
func (r *Runtime) options(v goja.Value, function string, names ...string) map[string]goja.Value {
	if goja.IsUndefined(v) {
		return nil
	}
	obj, ok := v.(*goja.Object)
	if _, callable := goja.AssertFunction(v); !ok || callable {
		panic(r.vm.NewTypeError("%s: options must be an object, not %s", function, r.kindOf(v)))
	}
	given := map[string]goja.Value{}
	for _, k := range obj.Keys() {
		known := false
		for _, n := range names {
			known = known || n == k
		}
		if !known {
			panic(r.vm.NewTypeError("%s: options.%s is unknown", function, k))
		}
		if v := obj.Get(k); !goja.IsUndefined(v) {
			given[k] = v
		}
	}
	return given
}

func (r *Runtime) collectionClass() *class {
	if r.classes.collection != nil {
		return r.classes.collection
	}
	c := r.rawClass("KVCollection", 0, func(goja.ConstructorCall) *goja.Object {
		panic(r.vm.NewTypeError("Illegal constructor: use kv.collection(name)"))
	})
	r.classes.collection = c
	property(c, "name", func(k *collection) goja.Value { return r.vm.ToValue(k.name) }, nil)
	add := func(name string, length int, f func(k *collection, what string, fc goja.FunctionCall) goja.Value) {
		fn := r.function(name, length, r.async(func(fc goja.FunctionCall) goja.Value {
			k, ok := stateOf[*collection](fc.This)
			if !ok {
				panic(c.illegal())
			}
			return f(k, "kv."+name, fc)
		}))
		_ = c.proto.DefineDataProperty(name, fn, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
	}
	byKey := func(name string, convert func(goja.Value) goja.Value) {
		add(name, 1, func(k *collection, what string, fc goja.FunctionCall) goja.Value {
			key := r.name(fc.Argument(0), what, "key")
			return r.hostCall(what, append(k.keyArgs(key), ']'), convert)
		})
	}
	byKey("get", nil)
	byKey("has", nil)
	byKey("delete", nil)
	byKey("entry", r.expiryAsDate)
	add("set", 2, r.kvSet)
	add("increment", 1, func(k *collection, what string, fc goja.FunctionCall) goja.Value {
		key, by := r.name(fc.Argument(0), what, "key"), 1.0
		if v := fc.Argument(1); !goja.IsUndefined(v) {
			by = r.number(v, what, "by")
		}
		args := strconv.AppendFloat(append(k.keyArgs(key), ','), by, 'g', -1, 64)
		return r.hostCall(what, append(args, ']'), nil)
	})
	add("getMany", 1, func(k *collection, what string, fc goja.FunctionCall) goja.Value {
		list, ok := fc.Argument(0).(*goja.Object)
		if !ok || isNullish(list.GetSymbol(goja.SymIterator)) {
			panic(r.vm.NewTypeError("%s: keys must be an array of strings, not %s", what, r.kindOf(fc.Argument(0))))
		}
		args, n := append(k.args(), ",["...), 0
		r.vm.ForOf(list, func(v goja.Value) bool {
			if n == cloud.MaxKVMany {
				panic(r.vm.NewTypeError("%s: keys has more than %d items", what, cloud.MaxKVMany))
			}
			if n > 0 {
				args = append(args, ',')
			}
			args = appendJSON(args, r.name(v, what, "keys["+strconv.Itoa(n)+"]"))
			n++
			return true
		})
		return r.hostCall(what, append(args, "]]"...), nil)
	})
	add("list", 0, r.kvList)
	return c
}

func (r *Runtime) kvSet(k *collection, what string, fc goja.FunctionCall) goja.Value {
	key := r.name(fc.Argument(0), what, "key")
	value := r.stringify(fc.Argument(1))
	if goja.IsUndefined(value) {
		panic(r.vm.NewTypeError("%s: value must be a JSON value, not %s; use delete to remove the key", what, r.kindOf(fc.Argument(1))))
	}
	o := r.options(fc.Argument(2), what, "ttl", "ifVersion")
	args := append(k.keyArgs(key), ',')
	args = append(args, value.String()...)
	args = append(args, ",{"...)
	if v, ok := o["ttl"]; ok {
		ttl := r.number(v, what, "options.ttl") * 1000
		if ttl < 1 || ttl > 1e15 {
			panic(r.vm.NewTypeError("%s: options.ttl must be a number of seconds above 0, not %s", what, v.String()))
		}
		args = strconv.AppendInt(append(args, `"ttl_ms":`...), int64(ttl), 10)
	}
	if v, ok := o["ifVersion"]; ok {
		version := r.integer(v, what, "options.ifVersion")
		if version < 0 {
			panic(r.vm.NewTypeError("%s: options.ifVersion must not be negative", what))
		}
		if args[len(args)-1] != '{' {
			args = append(args, ',')
		}
		args = strconv.AppendInt(append(args, `"if_version":`...), version, 10)
	}
	return r.hostCall(what, append(args, "}]"...), nil)
}

func (r *Runtime) kvList(k *collection, what string, fc goja.FunctionCall) goja.Value {
	o := r.options(fc.Argument(0), what, "prefix", "limit", "cursor", "values")
	args := append(k.args(), ",{"...)
	field := func(name string) {
		if args[len(args)-1] != '{' {
			args = append(args, ',')
		}
		args = append(appendJSON(args, name), ':')
	}
	for _, name := range []string{"prefix", "cursor"} {
		v, ok := o[name]
		if !ok {
			continue
		}
		s, ok := v.(goja.String)
		if !ok {
			panic(r.vm.NewTypeError("%s: options.%s must be a string, not %s", what, name, r.kindOf(v)))
		}
		field(name)
		args = appendJSON(args, s.String())
	}
	if v, ok := o["limit"]; ok {
		n := r.integer(v, what, "options.limit")
		if n < 1 || n > cloud.MaxKVLimit {
			panic(r.vm.NewTypeError("%s: options.limit must be between 1 and %d, not %d", what, cloud.MaxKVLimit, n))
		}
		field("limit")
		args = strconv.AppendInt(args, n, 10)
	}
	if v, ok := o["values"]; ok {
		field("values")
		args = strconv.AppendBool(args, v.ToBoolean())
	}
	return r.hostCall(what, append(args, "}]"...), nil)
}

// expiryAsDate turns expires_at of an entry into expiresAt, a Date.
func (r *Runtime) expiryAsDate(v goja.Value) goja.Value {
	entry, ok := v.(*goja.Object)
	if !ok {
		return v
	}
	at := entry.Get("expires_at")
	if at == nil {
		return entry
	}
	_ = entry.Delete("expires_at")
	if !goja.IsNull(at) {
		date, err := r.vm.New(r.vm.Get("Date"), at)
		if err != nil {
			panic(err)
		}
		_ = entry.Set("expiresAt", date)
	}
	return entry
}
