package engine

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/executor/wire"
)

// headers is the state of a Headers object: fields in the order of their adding,
// names in lower case.
type headers struct {
	fields    []wire.Header
	immutable bool
}

func (h *headers) get(name string) (string, bool) {
	var joined string
	found := false
	for _, f := range h.fields {
		if f.Name != name {
			continue
		}
		if found {
			joined += ", " + f.Value
		} else {
			joined, found = f.Value, true
		}
	}
	return joined, found
}

func (h *headers) has(name string) bool {
	return slices.ContainsFunc(h.fields, func(f wire.Header) bool { return f.Name == name })
}

func (h *headers) delete(name string) {
	h.fields = slices.DeleteFunc(h.fields, func(f wire.Header) bool { return f.Name == name })
}

func (h *headers) set(name, value string) {
	i := slices.IndexFunc(h.fields, func(f wire.Header) bool { return f.Name == name })
	if i < 0 {
		h.fields = append(h.fields, wire.Header{Name: name, Value: value})
		return
	}
	rest := h.fields[i+1:]
	h.fields[i].Value = value
	rest = slices.DeleteFunc(rest, func(f wire.Header) bool { return f.Name == name })
	h.fields = h.fields[:i+1+len(rest)]
}

func (h *headers) clone() *headers { return &headers{fields: slices.Clone(h.fields)} }

// sorted returns the fields as iteration shows them (Fetch, section 2.2.2: "sort
// and combine"): by name, equal names joined but for set-cookie.
func (h *headers) sorted() []wire.Header {
	out := slices.Clone(h.fields)
	slices.SortStableFunc(out, func(a, b wire.Header) int { return strings.Compare(a.Name, b.Name) })
	n := 0
	for _, f := range out {
		if n > 0 && out[n-1].Name == f.Name && f.Name != "set-cookie" {
			out[n-1].Value += ", " + f.Value
			continue
		}
		out[n] = f
		n++
	}
	return out[:n]
}

// isToken tells whether s is a field name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

func (r *Runtime) headerName(v goja.Value) string {
	s := v.String()
	if !isToken(s) {
		panic(r.vm.NewTypeError("Headers: %q is not a valid header name", s))
	}
	return strings.ToLower(s)
}

func (r *Runtime) headerValue(name string, v goja.Value) string {
	s := strings.Trim(v.String(), "\t\n\r ")
	for _, c := range s {
		if c == 0 || c == '\n' || c == '\r' || c > 0xff {
			panic(r.vm.NewTypeError("Headers: the value of %q holds the character %q, which is not allowed", name, c))
		}
	}
	return s
}

// latin1 turns the bytes of a field as they travel into a string of one
// character a byte (Fetch: "isomorphic decode").
func latin1(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// toLatin1 is the inverse of latin1.
func toLatin1(s string) string {
	if isASCII(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, c := range s {
		b = append(b, byte(c))
	}
	return string(b)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (r *Runtime) headersClass() *class {
	if r.classes.headers != nil {
		return r.classes.headers
	}
	c := newClass(r, "Headers", 0, func(args []goja.Value) *headers {
		h := &headers{}
		if len(args) > 0 && !goja.IsUndefined(args[0]) {
			r.fillHeaders(h, args[0])
		}
		return h
	})
	r.classes.headers = c
	mutable := func(h *headers) {
		if h.immutable {
			panic(r.vm.NewTypeError("Headers: these headers are immutable; copy them with new Headers(…)"))
		}
	}
	method(c, "append", 2, func(h *headers, call goja.FunctionCall) goja.Value {
		r.need(call.Arguments, 2, "'append' on 'Headers'")
		name := r.headerName(call.Arguments[0])
		value := r.headerValue(name, call.Arguments[1])
		mutable(h)
		h.fields = append(h.fields, wire.Header{Name: name, Value: value})
		return goja.Undefined()
	})
	method(c, "set", 2, func(h *headers, call goja.FunctionCall) goja.Value {
		r.need(call.Arguments, 2, "'set' on 'Headers'")
		name := r.headerName(call.Arguments[0])
		value := r.headerValue(name, call.Arguments[1])
		mutable(h)
		h.set(name, value)
		return goja.Undefined()
	})
	method(c, "delete", 1, func(h *headers, call goja.FunctionCall) goja.Value {
		r.need(call.Arguments, 1, "'delete' on 'Headers'")
		name := r.headerName(call.Arguments[0])
		mutable(h)
		h.delete(name)
		return goja.Undefined()
	})
	method(c, "get", 1, func(h *headers, call goja.FunctionCall) goja.Value {
		r.need(call.Arguments, 1, "'get' on 'Headers'")
		if v, ok := h.get(r.headerName(call.Arguments[0])); ok {
			return r.vm.ToValue(v)
		}
		return goja.Null()
	})
	method(c, "has", 1, func(h *headers, call goja.FunctionCall) goja.Value {
		r.need(call.Arguments, 1, "'has' on 'Headers'")
		return r.vm.ToValue(h.has(r.headerName(call.Arguments[0])))
	})
	method(c, "getSetCookie", 0, func(h *headers, _ goja.FunctionCall) goja.Value {
		var cookies []any
		for _, f := range h.fields {
			if f.Name == "set-cookie" {
				cookies = append(cookies, f.Value)
			}
		}
		return r.vm.NewArray(cookies...)
	})
	iterable(c, func(h *headers) []wire.Header { return h.sorted() })
	return c
}

// iterable adds entries, keys, values, forEach and Symbol.iterator over what
// pairs returns.
func iterable[T any](c *class, pairs func(T) []wire.Header) {
	r := c.r
	iterate := func(name string, item func(wire.Header) any) *goja.Object {
		return method(c, name, 0, func(self T, _ goja.FunctionCall) goja.Value {
			list := pairs(self)
			items := make([]any, len(list))
			for i, f := range list {
				items[i] = item(f)
			}
			return r.iterator(r.vm.NewArray(items...))
		})
	}
	entries := iterate("entries", func(f wire.Header) any { return r.vm.NewArray(f.Name, f.Value) })
	iterate("keys", func(f wire.Header) any { return f.Name })
	iterate("values", func(f wire.Header) any { return f.Value })
	_ = c.proto.DefineDataPropertySymbol(goja.SymIterator, entries, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	method(c, "forEach", 1, func(self T, fc goja.FunctionCall) goja.Value {
		f, ok := goja.AssertFunction(fc.Argument(0))
		if !ok {
			panic(r.vm.NewTypeError("%s.forEach: the callback is not a function", c.name))
		}
		this, that := fc.This, fc.Argument(1)
		for _, p := range pairs(self) {
			call(f, that, r.vm.ToValue(p.Value), r.vm.ToValue(p.Name), this)
		}
		return goja.Undefined()
	})
}

// iterator is a fresh iterator over an array.
func (r *Runtime) iterator(array *goja.Object) goja.Value {
	f, _ := goja.AssertFunction(array.GetSymbol(goja.SymIterator))
	return call(f, array)
}

// pairs reads a sequence of pairs or a record, as the constructors of Headers
// and URLSearchParams take it, and gives each to add.
func (r *Runtime) pairs(v goja.Value, what string, add func(name, value goja.Value)) {
	obj, ok := v.(*goja.Object)
	if !ok {
		panic(r.vm.NewTypeError("%s: the value is neither a sequence of pairs nor an object", what))
	}
	if isNullish(obj.GetSymbol(goja.SymIterator)) {
		for _, k := range obj.Keys() {
			add(r.vm.ToValue(k), obj.Get(k))
		}
		return
	}
	r.vm.ForOf(obj, func(item goja.Value) bool {
		pair, ok := item.(*goja.Object)
		if !ok || isNullish(pair.GetSymbol(goja.SymIterator)) {
			panic(r.vm.NewTypeError("%s: an item of the sequence is not a pair", what))
		}
		var two []goja.Value
		r.vm.ForOf(pair, func(v goja.Value) bool {
			two = append(two, v)
			return len(two) <= 2
		})
		if len(two) != 2 {
			panic(r.vm.NewTypeError("%s: an item of the sequence does not have exactly two values", what))
		}
		add(two[0], two[1])
		return true
	})
}

func (r *Runtime) fillHeaders(h *headers, v goja.Value) {
	if other, ok := stateOf[*headers](v); ok {
		h.fields = append(h.fields, other.fields...)
		return
	}
	r.pairs(v, "Headers", func(name, value goja.Value) {
		n := r.headerName(name)
		h.fields = append(h.fields, wire.Header{Name: n, Value: r.headerValue(n, value)})
	})
}
