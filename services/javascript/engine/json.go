package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// maxDepth bounds the nesting of JSON that is read or written.
const maxDepth = 5000

// parseJSON builds the value of a JSON text. It throws a SyntaxError where
// JSON.parse would, and a RangeError for nesting beyond maxDepth.
func (r *Runtime) parseJSON(text string) goja.Value {
	p := jsonParser{r: r, s: text}
	p.space()
	v := p.value(0)
	p.space()
	if p.i < len(p.s) {
		p.fail()
	}
	return v
}

type jsonParser struct {
	r *Runtime
	s string
	i int
	// items collects the elements of the arrays that are open.
	items []any
}

func (p *jsonParser) fail() {
	var message string
	if p.i >= len(p.s) {
		message = "Unexpected end of JSON input"
	} else {
		c, _ := utf8.DecodeRuneInString(p.s[p.i:])
		message = fmt.Sprintf("Unexpected token '%c' in JSON at position %d", c, p.i)
	}
	panic(p.r.newError("SyntaxError", "", message))
}

func (p *jsonParser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *jsonParser) value(depth int) goja.Value {
	if depth > maxDepth {
		panic(p.r.rangeError("JSON nested deeper than %d levels", maxDepth))
	}
	if p.i >= len(p.s) {
		p.fail()
	}
	switch c := p.s[p.i]; c {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		return p.string()
	case 't':
		p.word("true")
		return p.r.vm.ToValue(true)
	case 'f':
		p.word("false")
		return p.r.vm.ToValue(false)
	case 'n':
		p.word("null")
		return goja.Null()
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return p.number()
		}
		p.fail()
		return nil
	}
}

func (p *jsonParser) word(w string) {
	for i := range len(w) {
		if p.i >= len(p.s) || p.s[p.i] != w[i] {
			p.fail()
		}
		p.i++
	}
}

func (p *jsonParser) expect(c byte) {
	if p.i >= len(p.s) || p.s[p.i] != c {
		p.fail()
	}
	p.i++
}

func (p *jsonParser) object(depth int) goja.Value {
	p.i++
	o := p.r.vm.NewObject()
	p.space()
	if p.i < len(p.s) && p.s[p.i] == '}' {
		p.i++
		return o
	}
	for {
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			p.fail()
		}
		key := p.rawString()
		p.space()
		p.expect(':')
		p.space()
		v := p.value(depth + 1)
		if key == "__proto__" {
			_ = o.DefineDataProperty(key, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
		} else {
			_ = o.Set(key, v)
		}
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			p.space()
			continue
		}
		p.expect('}')
		return o
	}
}

func (p *jsonParser) array(depth int) goja.Value {
	p.i++
	p.space()
	if p.i < len(p.s) && p.s[p.i] == ']' {
		p.i++
		return p.r.vm.NewArray()
	}
	base := len(p.items)
	for {
		p.items = append(p.items, p.value(depth+1))
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			p.space()
			continue
		}
		p.expect(']')
		a := p.r.vm.NewArray(p.items[base:]...)
		clear(p.items[base:])
		p.items = p.items[:base]
		return a
	}
}

func (p *jsonParser) number() goja.Value {
	start := p.i
	if p.s[p.i] == '-' {
		p.i++
	}
	digits := func() {
		from := p.i
		for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
			p.i++
		}
		if p.i == from {
			p.fail()
		}
	}
	if p.i < len(p.s) && p.s[p.i] == '0' {
		p.i++
	} else {
		digits()
	}
	whole := true
	if p.i < len(p.s) && p.s[p.i] == '.' {
		whole = false
		p.i++
		digits()
	}
	if p.i < len(p.s) && p.s[p.i]|0x20 == 'e' {
		whole = false
		p.i++
		if p.i < len(p.s) && (p.s[p.i] == '+' || p.s[p.i] == '-') {
			p.i++
		}
		digits()
	}
	text := p.s[start:p.i]
	if whole && len(text) <= 15 && text != "-0" {
		n, _ := strconv.ParseInt(text, 10, 64)
		return p.r.vm.ToValue(n)
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range: ±Inf, as in JSON.parse
	if f == 0 && math.Signbit(f) {
		return p.r.vm.ToValue(math.Copysign(0, -1))
	}
	return p.r.vm.ToValue(f)
}

// plain scans a string without escapes and returns it; ok is false, and nothing
// consumed, if it has some.
func (p *jsonParser) plain() (s string, ok bool) {
	for j := p.i + 1; j < len(p.s); j++ {
		switch c := p.s[j]; {
		case c == '"':
			s = p.s[p.i+1 : j]
			p.i = j + 1
			return s, true
		case c == '\\':
			return "", false
		case c < 0x20:
			p.i = j
			p.fail()
		}
	}
	p.i = len(p.s)
	p.fail()
	return "", false
}

func (p *jsonParser) string() goja.Value {
	if s, ok := p.plain(); ok {
		return p.r.vm.ToValue(s)
	}
	units := p.escaped()
	return goja.StringFromUTF16(units)
}

// rawString reads an object key.
func (p *jsonParser) rawString() string {
	if s, ok := p.plain(); ok {
		return s
	}
	return string(utf16.Decode(p.escaped()))
}

// escaped reads a string with escapes as UTF-16, which may hold lone surrogates.
func (p *jsonParser) escaped() []uint16 {
	var out []uint16
	p.i++
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return out
		case c < 0x20:
			p.fail()
		case c == '\\':
			out = append(out, p.escape())
		case c < utf8.RuneSelf:
			out = append(out, uint16(c))
			p.i++
		default:
			rn, size := utf8.DecodeRuneInString(p.s[p.i:])
			out = utf16.AppendRune(out, rn)
			p.i += size
		}
	}
	p.fail()
	return nil
}

func (p *jsonParser) escape() uint16 {
	p.i++
	if p.i >= len(p.s) {
		p.fail()
	}
	c := p.s[p.i]
	if k := strings.IndexByte(`"\/bfnrt`, c); k >= 0 {
		p.i++
		return uint16("\"\\/\b\f\n\r\t"[k])
	}
	if c != 'u' {
		p.fail()
	}
	var n uint16
	for range 4 {
		p.i++
		if p.i >= len(p.s) || unhex(p.s[p.i]) > 15 {
			p.fail()
		}
		n = n<<4 | uint16(unhex(p.s[p.i]))
	}
	p.i++
	return n
}

// stringify is JSON.stringify of one value; undefined if it has no JSON form.
func (r *Runtime) stringify(v goja.Value) goja.Value {
	return call(r.jsonStringify, goja.Undefined(), v)
}

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
