package engine

import (
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/executor/wire"
)

// parseQuery reads application/x-www-form-urlencoded (URL, section 5.1).
func parseQuery(s string) []wire.Header {
	var pairs []wire.Header
	for s != "" {
		var part string
		part, s, _ = strings.Cut(s, "&")
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		pairs = append(pairs, header(formDecode(name), formDecode(value)))
	}
	return pairs
}

func formDecode(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return validUTF8([]byte(s))
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b = append(b, ' ')
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return validUTF8(b)
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	default:
		return 255
	}
}

// String is the application/x-www-form-urlencoded serialisation.
func (q *query) String() string {
	var b strings.Builder
	for i, p := range q.pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		formEncode(&b, p.Name)
		b.WriteByte('=')
		formEncode(&b, p.Value)
	}
	return b.String()
}

func formEncode(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case c == ' ':
			b.WriteByte('+')
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '*', c == '-', c == '.', c == '_':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
}

func (q *query) find(name string, value goja.Value) int {
	return slices.IndexFunc(q.pairs, matching(name, value))
}

func matching(name string, value goja.Value) func(wire.Header) bool {
	if value == nil || goja.IsUndefined(value) {
		return func(p wire.Header) bool { return p.Name == name }
	}
	v := value.String()
	return func(p wire.Header) bool { return p.Name == name && p.Value == v }
}

func (r *Runtime) queryClass() *class {
	if r.classes.query != nil {
		return r.classes.query
	}
	c := newClass(r, "URLSearchParams", 0, func(args []goja.Value) *query {
		q := &query{}
		if len(args) == 0 || goja.IsUndefined(args[0]) {
			return q
		}
		if obj, ok := args[0].(*goja.Object); ok {
			r.pairs(obj, "URLSearchParams", func(name, value goja.Value) {
				n := name.String()
				q.pairs = append(q.pairs, header(n, value.String()))
			})
			return q
		}
		q.pairs = parseQuery(strings.TrimPrefix(args[0].String(), "?"))
		return q
	})
	r.classes.query = c
	property(c, "size", func(q *query) goja.Value { return r.vm.ToValue(len(q.pairs)) }, nil)
	method(c, "append", 2, func(q *query, fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 2, "'append' on 'URLSearchParams'")
		q.pairs = append(q.pairs, header(fc.Arguments[0].String(), fc.Arguments[1].String()))
		q.changed()
		return goja.Undefined()
	})
	method(c, "delete", 1, func(q *query, fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'delete' on 'URLSearchParams'")
		q.pairs = slices.DeleteFunc(q.pairs, matching(fc.Arguments[0].String(), fc.Argument(1)))
		q.changed()
		return goja.Undefined()
	})
	method(c, "get", 1, func(q *query, fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'get' on 'URLSearchParams'")
		if i := q.find(fc.Arguments[0].String(), nil); i >= 0 {
			return r.vm.ToValue(q.pairs[i].Value)
		}
		return goja.Null()
	})
	method(c, "getAll", 1, func(q *query, fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'getAll' on 'URLSearchParams'")
		name := fc.Arguments[0].String()
		var all []any
		for _, p := range q.pairs {
			if p.Name == name {
				all = append(all, p.Value)
			}
		}
		return r.vm.NewArray(all...)
	})
	method(c, "has", 1, func(q *query, fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'has' on 'URLSearchParams'")
		return r.vm.ToValue(q.find(fc.Arguments[0].String(), fc.Argument(1)) >= 0)
	})
	method(c, "set", 2, func(q *query, fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 2, "'set' on 'URLSearchParams'")
		name, value := fc.Arguments[0].String(), fc.Arguments[1].String()
		if i := q.find(name, nil); i >= 0 {
			q.pairs[i].Value = value
			rest := slices.DeleteFunc(q.pairs[i+1:], matching(name, nil))
			q.pairs = q.pairs[:i+1+len(rest)]
		} else {
			q.pairs = append(q.pairs, header(name, value))
		}
		q.changed()
		return goja.Undefined()
	})
	method(c, "sort", 0, func(q *query, _ goja.FunctionCall) goja.Value {
		slices.SortStableFunc(q.pairs, func(a, b wire.Header) int {
			return slices.Compare(utf16.Encode([]rune(a.Name)), utf16.Encode([]rune(b.Name)))
		})
		q.changed()
		return goja.Undefined()
	})
	iterable(c, func(q *query) []wire.Header { return q.pairs })
	method(c, "toString", 0, func(q *query, _ goja.FunctionCall) goja.Value { return r.vm.ToValue(q.String()) })
	return c
}
