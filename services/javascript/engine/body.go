package engine

import (
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// body is the body of a Request or Response. At most one of data, source and
// stream holds it; none of them is a null body.
type body struct {
	data   []byte
	source *incoming    // the request's own body, not yet read
	stream *goja.Object // a ReadableStream
	null   bool
	used   bool
}

var nullBody = body{null: true}

// extractBody reads a BodyInit (Fetch, section 5.2). The content type is "" if
// the kind of value has none.
func (r *Runtime) extractBody(v goja.Value) (b body, contentType string) {
	if isNullish(v) {
		return nullBody, ""
	}
	if obj, ok := v.(*goja.Object); ok {
		if data, ok := r.bufferSource(obj); ok {
			return body{data: append([]byte{}, data...)}, ""
		}
		if q, ok := stateOf[*query](obj); ok {
			return body{data: []byte(q.String())}, "application/x-www-form-urlencoded;charset=UTF-8"
		}
		if r.isStream(obj) {
			if r.streamLocked(obj) {
				panic(r.vm.NewTypeError("the body's stream is locked to a reader or disturbed"))
			}
			return body{stream: obj}, ""
		}
	}
	s := v.ToString()
	return body{data: []byte(s.String())}, "text/plain;charset=UTF-8"
}

// bodyUsed tells whether the body was read or is being read.
func (r *Runtime) bodyUsed(b *body) bool {
	return b.used || b.stream != nil && r.streamDisturbed(b.stream)
}

// consume reads the whole body and settles a promise with what convert makes of
// it. convert may throw.
func (r *Runtime) consume(b *body, what string, convert func(*body) goja.Value) goja.Value {
	p, resolve, reject := r.vm.NewPromise()
	if b.null {
		b.data = nil
	} else if r.bodyUsed(b) || b.stream != nil && r.streamLocked(b.stream) {
		_ = reject(r.vm.NewTypeError("%s: the body has already been read", what))
		return r.vm.ToValue(p)
	}
	settle := func() {
		var v goja.Value
		if ex := r.vm.Try(func() { v = convert(b) }); ex != nil {
			must(reject(ex.Value()))
			return
		}
		must(resolve(v))
	}
	b.used = !b.null
	switch {
	case b.source != nil:
		src := b.source
		b.source = nil
		src.collect(func(data []byte, err goja.Value) {
			if err != nil {
				must(reject(err))
				return
			}
			b.data = data
			settle()
		})
	case b.stream != nil:
		r.collectStream(b.stream, func(data []byte, err goja.Value) {
			if err != nil {
				must(reject(err))
				return
			}
			b.data = data
			settle()
		})
	default:
		settle()
	}
	return r.vm.ToValue(p)
}

// must passes on the error of a promise's resolve or reject, which is an
// interrupt.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// bodyMethods adds what Request and Response have in common.
func bodyMethods[T any](c *class, of func(T) *body, contentType func(T) string) {
	r := c.r
	property(c, "bodyUsed", func(self T) goja.Value { return r.vm.ToValue(r.bodyUsed(of(self))) }, nil)
	property(c, "body", func(self T) goja.Value {
		b := of(self)
		if b.null {
			return goja.Null()
		}
		return r.bodyStream(b)
	}, nil)
	add := func(name string, convert func(T, *body) goja.Value) {
		method(c, name, 0, func(self T, _ goja.FunctionCall) goja.Value {
			return r.consume(of(self), c.name+"."+name, func(b *body) goja.Value { return convert(self, b) })
		})
	}
	add("text", func(_ T, b *body) goja.Value { return r.vm.ToValue(decodeUTF8(b.data)) })
	add("json", func(_ T, b *body) goja.Value { return r.parseJSON(strings.TrimPrefix(validUTF8(b.data), "\ufeff")) })
	add("arrayBuffer", func(_ T, b *body) goja.Value { return r.vm.ToValue(r.vm.NewArrayBuffer(append([]byte{}, b.data...))) })
	add("bytes", func(_ T, b *body) goja.Value { return r.uint8Array(append([]byte{}, b.data...)) })
	unsupported := func(name, why string) {
		method(c, name, 0, func(T, goja.FunctionCall) goja.Value {
			p, _, reject := r.vm.NewPromise()
			must(reject(r.vm.NewTypeError("%s.%s: %s", c.name, name, why)))
			return r.vm.ToValue(p)
		})
	}
	unsupported("blob", "PiCloud has no Blob yet; use arrayBuffer() or bytes()")
	unsupported("formData", "PiCloud has no FormData yet; for a urlencoded form use new URLSearchParams(await request.text())")
}

// decodeUTF8 is "UTF-8 decode" of the Encoding standard: without the byte order
// mark, malformed sequences replaced.
func decodeUTF8(b []byte) string {
	return strings.TrimPrefix(validUTF8(b), "\ufeff")
}

func validUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return replaceInvalidUTF8(b)
}

// uint8Array makes a Uint8Array over data.
func (r *Runtime) uint8Array(data []byte) goja.Value {
	o, err := r.vm.New(r.vm.Get("Uint8Array"), r.vm.ToValue(r.vm.NewArrayBuffer(data)))
	if err != nil {
		panic(err)
	}
	return o
}

// bufferSource is the memory of an ArrayBuffer or a view of one; it must be
// copied before JavaScript runs again.
func (r *Runtime) bufferSource(obj *goja.Object) ([]byte, bool) {
	switch obj.ExportType() {
	case typeArrayBuffer:
		buf, ok := obj.Export().(goja.ArrayBuffer)
		return buf.Bytes(), ok
	case nil:
		return nil, false
	}
	if !r.isView(obj) {
		return nil, false
	}
	buf, ok := obj.Get("buffer").Export().(goja.ArrayBuffer)
	if !ok {
		return nil, false
	}
	from, n := int(obj.Get("byteOffset").ToInteger()), int(obj.Get("byteLength").ToInteger())
	data := buf.Bytes()
	if from < 0 || n < 0 || from+n > len(data) {
		return nil, false
	}
	return data[from : from+n], true
}

func (r *Runtime) isView(obj *goja.Object) bool {
	if r.arrayBufferIsView == nil {
		r.arrayBufferIsView, _ = goja.AssertFunction(r.vm.Get("ArrayBuffer").(*goja.Object).Get("isView"))
	}
	return call(r.arrayBufferIsView, goja.Undefined(), obj).ToBoolean()
}
