package engine

import (
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// replaceInvalidUTF8 decodes as the Encoding standard says: each maximal part of
// a malformed sequence becomes one U+FFFD.
func replaceInvalidUTF8(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			size = malformed(b)
		}
		out.WriteRune(r)
		b = b[size:]
	}
	return out.String()
}

// malformed is how many bytes of b, which begins with a malformed sequence, make
// one replacement character: the longest part that a valid sequence could begin
// with, at least one byte.
func malformed(b []byte) int {
	need, low, high := 0, byte(0x80), byte(0xbf)
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		need = 1
	case c >= 0xe0 && c <= 0xef:
		need = 2
		if c == 0xe0 {
			low = 0xa0
		}
		if c == 0xed {
			high = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		need = 3
		if c == 0xf0 {
			low = 0x90
		}
		if c == 0xf4 {
			high = 0x8f
		}
	}
	n := 1
	for ; n <= need && n < len(b) && b[n] >= low && b[n] <= high; n++ {
		low, high = 0x80, 0xbf
	}
	return n
}

// textDecoder is the state of a TextDecoder.
type textDecoder struct {
	encoding  string // "utf-8", "utf-16le" or "windows-1252"
	fatal     bool
	ignoreBOM bool
	rest      []byte // bytes of a character that is not complete, while streaming
	begun     bool   // the place of a byte order mark has passed
}

// encodingOf finds an encoding by its label (Encoding, section 4.2).
func encodingOf(label string) string {
	switch strings.ToLower(strings.Trim(label, "\t\n\f\r ")) {
	case "utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8":
		return "utf-8"
	case "utf-16", "utf-16le", "unicode", "ucs-2", "iso-10646-ucs-2", "csunicode", "unicodefeff":
		return "utf-16le"
	case "ascii", "us-ascii", "latin1", "l1", "iso-8859-1", "iso8859-1", "iso88591", "iso_8859-1", "iso_8859-1:1987",
		"ansi_x3.4-1968", "cp1252", "cp819", "csisolatin1", "ibm819", "iso-ir-100", "windows-1252", "x-cp1252":
		return "windows-1252"
	}
	return ""
}

// windows1252 is what the bytes 0x80 to 0x9f mean.
var windows1252 = [32]rune{
	0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f,
	0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
}

// decode decodes more bytes; ok is false if they are malformed and d is fatal.
func (d *textDecoder) decode(p []byte, stream bool) (s string, ok bool) {
	if len(d.rest) > 0 {
		p = append(d.rest, p...)
		d.rest = nil
	}
	ok = true
	switch d.encoding {
	case "windows-1252":
		var b strings.Builder
		for _, c := range p {
			if c >= 0x80 && c <= 0x9f {
				b.WriteRune(windows1252[c-0x80])
			} else {
				b.WriteRune(rune(c))
			}
		}
		return b.String(), true
	case "utf-16le":
		s, ok = d.decodeUTF16(p, stream)
	default:
		if stream {
			if n := incomplete(p); n > 0 {
				d.rest = append([]byte(nil), p[len(p)-n:]...)
				p = p[:len(p)-n]
			}
		}
		if d.fatal && !utf8.Valid(p) {
			ok = false
		}
		s = validUTF8(p)
	}
	if !d.begun && !d.ignoreBOM {
		s = strings.TrimPrefix(s, "\ufeff")
	}
	d.begun = stream && (d.begun || len(p) > 0)
	if !stream || !ok {
		d.rest, d.begun = nil, false
	}
	return s, ok
}

func (d *textDecoder) decodeUTF16(p []byte, stream bool) (s string, ok bool) {
	ok = true
	units := make([]uint16, 0, len(p)/2+1)
	for i := 0; i+1 < len(p); i += 2 {
		units = append(units, uint16(p[i])|uint16(p[i+1])<<8)
	}
	odd := len(p)%2 == 1
	if stream {
		n := 0
		if odd {
			n = 1
		}
		if k := len(units); k > 0 && units[k-1]&0xfc00 == 0xd800 {
			units, n = units[:k-1], n+2
		}
		d.rest = append([]byte(nil), p[len(p)-n:]...)
	} else if odd {
		ok = !d.fatal
		units = append(units, 0xfffd)
	}
	runes := utf16.Decode(units)
	if d.fatal {
		encoded := utf16.Encode(runes)
		if !slices.Equal(encoded, units) {
			ok = false
		}
	}
	return string(runes), ok
}

// incomplete is how many bytes at the end of p begin a UTF-8 sequence that goes
// on after them.
func incomplete(p []byte) int {
	for n := 1; n <= 3 && n <= len(p); n++ {
		c := p[len(p)-n]
		if c&0xc0 == 0x80 {
			continue
		}
		need := 1
		switch {
		case c >= 0xf0 && c <= 0xf4:
			need = 4
		case c >= 0xe0 && c < 0xf0:
			need = 3
		case c >= 0xc2 && c < 0xe0:
			need = 2
		}
		if need > n && malformed(p[len(p)-n:]) == n {
			return n
		}
		return 0
	}
	return 0
}

func (r *Runtime) decoderClass() *class {
	if r.classes.decoder != nil {
		return r.classes.decoder
	}
	c := newClass(r, "TextDecoder", 0, func(args []goja.Value) *textDecoder {
		d := &textDecoder{encoding: "utf-8"}
		if len(args) > 0 && !goja.IsUndefined(args[0]) {
			label := args[0].String()
			if d.encoding = encodingOf(label); d.encoding == "" {
				panic(r.rangeError("TextDecoder: the encoding %q is not supported; utf-8, utf-16le and latin1 are", label))
			}
		}
		if len(args) > 1 {
			if o, ok := args[1].(*goja.Object); ok {
				d.fatal = truthy(o.Get("fatal"))
				d.ignoreBOM = truthy(o.Get("ignoreBOM"))
			}
		}
		return d
	})
	r.classes.decoder = c
	property(c, "encoding", func(d *textDecoder) goja.Value { return r.vm.ToValue(d.encoding) }, nil)
	property(c, "fatal", func(d *textDecoder) goja.Value { return r.vm.ToValue(d.fatal) }, nil)
	property(c, "ignoreBOM", func(d *textDecoder) goja.Value { return r.vm.ToValue(d.ignoreBOM) }, nil)
	method(c, "decode", 0, func(d *textDecoder, fc goja.FunctionCall) goja.Value {
		var data []byte
		if v := fc.Argument(0); !goja.IsUndefined(v) {
			obj, _ := v.(*goja.Object)
			ok := false
			if obj != nil {
				data, ok = r.bufferSource(obj)
			}
			if !ok {
				panic(r.vm.NewTypeError("TextDecoder.decode: the input must be an ArrayBuffer or a view of one, not %s", r.kindOf(v)))
			}
		}
		stream := false
		if o, ok := fc.Argument(1).(*goja.Object); ok {
			stream = truthy(o.Get("stream"))
		}
		s, ok := d.decode(data, stream)
		if !ok {
			e := r.vm.NewTypeError("The encoded data was not valid for encoding %s", d.encoding)
			_ = e.Set("code", "ERR_ENCODING_INVALID_ENCODED_DATA")
			panic(e)
		}
		return r.vm.ToValue(s)
	})
	return c
}

func truthy(v goja.Value) bool { return v != nil && v.ToBoolean() }

type textEncoder struct{}

func (r *Runtime) encoderClass() *class {
	if r.classes.encoder != nil {
		return r.classes.encoder
	}
	c := newClass(r, "TextEncoder", 0, func([]goja.Value) textEncoder { return textEncoder{} })
	r.classes.encoder = c
	property(c, "encoding", func(textEncoder) goja.Value { return r.vm.ToValue("utf-8") }, nil)
	method(c, "encode", 0, func(_ textEncoder, fc goja.FunctionCall) goja.Value {
		if v := fc.Argument(0); !goja.IsUndefined(v) {
			return r.uint8Array([]byte(v.String()))
		}
		return r.uint8Array([]byte{})
	})
	method(c, "encodeInto", 2, func(_ textEncoder, fc goja.FunctionCall) goja.Value {
		obj, _ := fc.Argument(1).(*goja.Object)
		if obj == nil {
			panic(r.vm.NewTypeError("TextEncoder.encodeInto: the destination must be a Uint8Array"))
		}
		s := fc.Argument(0).String()
		into, ok := r.bufferSource(obj)
		if !ok {
			panic(r.vm.NewTypeError("TextEncoder.encodeInto: the destination must be a Uint8Array"))
		}
		read, written := 0, 0
		for _, c := range s {
			size := utf8.RuneLen(c)
			if written+size > len(into) {
				break
			}
			written += utf8.EncodeRune(into[written:], c)
			read += utf16.RuneLen(c)
		}
		o := r.vm.NewObject()
		_ = o.Set("read", read)
		_ = o.Set("written", written)
		return o
	})
	return c
}
