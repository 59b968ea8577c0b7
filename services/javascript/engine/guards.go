package engine

import (
	"math"
	"sync/atomic"

	"github.com/dop251/goja"
)

// The guards turn calls that would take all memory, or loop for minutes where no
// interrupt reaches, into a RangeError. They are a courtesy: the limits of the
// process are what holds.
const (
	maxStringLength = 1 << 26
	maxArrayLength  = 1 << 25
	maxSplitLength  = 1 << 24
)

// allocatable is how many bytes one buffer or string may have: the memory limit
// of the process, once WatchMemory was told of it.
var allocatable atomic.Int64

func init() { allocatable.Store(1 << 30) }

type native = func(goja.FunctionCall) goja.Value

func (r *Runtime) installGuards(global *goja.Object) {
	array := global.Get("Array").(*goja.Object)
	arrayProto := array.Get("prototype").(*goja.Object)
	for _, name := range [...]string{
		"copyWithin", "every", "fill", "filter", "forEach", "includes", "indexOf", "lastIndexOf", "map", "reduce",
		"reduceRight", "reverse", "shift", "slice", "some", "sort", "splice", "toReversed", "toSorted", "toSpliced", "unshift", "with",
	} {
		r.guard(arrayProto, "Array.prototype.", name, func(fc goja.FunctionCall) {
			r.checkLength(fc.This, name)
		})
	}
	r.guard(arrayProto, "Array.prototype.", "join", func(fc goja.FunctionCall) {
		n := r.checkLength(fc.This, "join")
		separator := 1
		if s, ok := fc.Argument(0).(goja.String); ok {
			separator = s.Length()
		}
		r.checkString(float64(n)*float64(separator), "join")
	})
	r.guard(array, "Array.", "from", func(fc goja.FunctionCall) {
		if obj, ok := fc.Argument(0).(*goja.Object); ok && isNullish(obj.GetSymbol(goja.SymIterator)) {
			r.checkLength(obj, "Array.from")
		}
	})
	str := global.Get("String").(*goja.Object).Get("prototype").(*goja.Object)
	r.guard(str, "String.prototype.", "repeat", func(fc goja.FunctionCall) {
		if s, ok := fc.This.(goja.String); ok {
			r.checkString(float64(s.Length())*fc.Argument(0).ToFloat(), "repeat")
		}
	})
	for _, name := range [...]string{"padStart", "padEnd"} {
		r.guard(str, "String.prototype.", name, func(fc goja.FunctionCall) { r.checkString(fc.Argument(0).ToFloat(), name) })
	}
	r.guard(str, "String.prototype.", "split", func(fc goja.FunctionCall) {
		if s, ok := fc.This.(goja.String); ok && s.Length() > maxSplitLength {
			panic(r.rangeError("split: the string of %d characters is too long to split", s.Length()))
		}
	})
	for _, c := range [...]struct {
		name string
		size float64
	}{
		{"ArrayBuffer", 1}, {"Uint8Array", 1}, {"Int8Array", 1}, {"Uint8ClampedArray", 1}, {"Uint16Array", 2}, {"Int16Array", 2},
		{"Uint32Array", 4}, {"Int32Array", 4}, {"Float32Array", 4}, {"Float64Array", 8}, {"BigInt64Array", 8}, {"BigUint64Array", 8},
	} {
		r.guardConstructor(global, c.name, func(args []goja.Value, _ bool) []goja.Value {
			if len(args) > 0 && goja.IsNumber(args[0]) {
				if n := args[0].ToFloat() * c.size; n > float64(allocatable.Load()) {
					panic(r.rangeError("Array buffer allocation failed: %.0f bytes are over the memory limit", n))
				}
			}
			return args
		})
	}
	r.guardRegExp(global)
}

// guard has check run before a method, which it may refuse by a panic.
func (r *Runtime) guard(on *goja.Object, where, name string, check func(goja.FunctionCall)) {
	original, ok := on.Get(name).(*goja.Object)
	if !ok {
		return
	}
	f, ok := original.Export().(native)
	if !ok {
		return
	}
	wrapped := r.function(name, int(original.Get("length").ToInteger()), func(fc goja.FunctionCall) goja.Value {
		check(fc)
		return f(fc)
	})
	_ = on.DefineDataProperty(name, wrapped, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// guardConstructor has prepare see the arguments of a constructor first; derived
// tells whether they come from a subclass.
func (r *Runtime) guardConstructor(global *goja.Object, name string, prepare func(args []goja.Value, derived bool) []goja.Value) {
	original, ok := global.Get(name).(*goja.Object)
	if !ok {
		return
	}
	construct, _ := goja.AssertConstructor(original)
	var wrapped *goja.Object
	wrapped = r.vm.ToValue(func(cc goja.ConstructorCall) *goja.Object {
		target := cc.NewTarget
		if target == nil || target == wrapped {
			target = original
		}
		o, err := construct(target, prepare(cc.Arguments, target != original)...)
		if err != nil {
			panic(err)
		}
		return o
	}).(*goja.Object)
	r.label(wrapped, name, int(original.Get("length").ToInteger()))
	proto := original.Get("prototype").(*goja.Object)
	_ = wrapped.DefineDataProperty("prototype", proto, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
	// What the original has of its own is found through it.
	_ = wrapped.SetPrototype(original)
	_ = proto.DefineDataProperty("constructor", wrapped, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	_ = global.DefineDataProperty(name, wrapped, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

func (r *Runtime) checkLength(this goja.Value, what string) int64 {
	obj, ok := this.(*goja.Object)
	if !ok {
		return 0
	}
	v := obj.Get("length")
	if v == nil {
		return 0
	}
	n := v.ToFloat()
	if n > maxArrayLength {
		panic(r.rangeError("%s: a length of %.0f is too much", what, n))
	}
	if n != n {
		return 0
	}
	return int64(n)
}

func (r *Runtime) checkString(length float64, what string) {
	if length > maxStringLength || length > float64(allocatable.Load()) && !math.IsInf(length, 1) {
		panic(r.rangeError("Invalid string length: %s would make %.0f characters", what, length))
	}
}
