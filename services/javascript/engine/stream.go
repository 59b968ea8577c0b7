package engine

import (
	_ "embed"

	"github.com/dop251/goja"
)

//go:embed streams.js
var streamsSource string

var streamsProgram = ownScript("streams.js", streamsSource)

// streamFunctions is what streams.js evaluates to.
type streamFunctions struct {
	object                        *goja.Object
	is, disturbed, create, gather goja.Callable
}

// loadStreams evaluates streams.js when the first stream is needed.
func (r *Runtime) loadStreams() *streamFunctions {
	if r.streams != nil {
		return r.streams
	}
	v, err := r.vm.RunProgram(streamsProgram())
	if err != nil {
		panic(err)
	}
	s := &streamFunctions{object: v.(*goja.Object)}
	for name, f := range map[string]*goja.Callable{
		"isStream": &s.is, "disturbed": &s.disturbed, "create": &s.create, "collect": &s.gather,
	} {
		*f, _ = goja.AssertFunction(s.object.Get(name))
	}
	r.streams = s
	return s
}

// isStream tells whether obj is a ReadableStream.
func (r *Runtime) isStream(obj *goja.Object) bool {
	return r.streams != nil && call(r.streams.is, goja.Undefined(), obj).ToBoolean()
}

func (r *Runtime) streamLocked(s *goja.Object) bool { return s.Get("locked").ToBoolean() }

func (r *Runtime) streamDisturbed(s *goja.Object) bool {
	return call(r.streams.disturbed, goja.Undefined(), s).ToBoolean()
}

// bodyStream is the body as a ReadableStream, which it is from then on.
func (r *Runtime) bodyStream(b *body) *goja.Object {
	if b.stream != nil {
		return b.stream
	}
	s := r.loadStreams()
	pull := r.pullData(b.data)
	cancel := func(goja.FunctionCall) goja.Value { return goja.Undefined() }
	if src := b.source; src != nil {
		pull = r.pullSource(src)
		cancel = func(goja.FunctionCall) goja.Value {
			src.drop()
			return goja.Undefined()
		}
	}
	v := call(s.create, goja.Undefined(), r.vm.ToValue(pull), r.vm.ToValue(cancel))
	b.stream, b.source, b.data = v.(*goja.Object), nil, nil
	if b.used {
		reader := call(must1(goja.AssertFunction(b.stream.Get("getReader"))), b.stream).(*goja.Object)
		call(must1(goja.AssertFunction(reader.Get("cancel"))), reader)
	}
	return b.stream
}

func must1(f goja.Callable, ok bool) goja.Callable {
	if !ok {
		panic("the engine's own script lacks a function")
	}
	return f
}

// pullData yields data as one chunk, and then the end.
func (r *Runtime) pullData(data []byte) func(goja.FunctionCall) goja.Value {
	return func(fc goja.FunctionCall) goja.Value {
		if len(data) > 0 {
			chunk := append([]byte{}, data...)
			data = nil
			return call(must1(goja.AssertFunction(fc.Argument(0))), goja.Undefined(), r.uint8Array(chunk))
		}
		return call(must1(goja.AssertFunction(fc.Argument(1))), goja.Undefined())
	}
}

// pullSource yields the request's body as it comes.
func (r *Runtime) pullSource(src *incoming) func(goja.FunctionCall) goja.Value {
	return func(fc goja.FunctionCall) goja.Value {
		enqueue := must1(goja.AssertFunction(fc.Argument(0)))
		end := must1(goja.AssertFunction(fc.Argument(1)))
		fail := must1(goja.AssertFunction(fc.Argument(2)))
		src.pull(func(chunk []byte, ended bool, err goja.Value) {
			switch {
			case err != nil:
				call(fail, goja.Undefined(), err)
			case ended:
				call(end, goja.Undefined())
			default:
				call(enqueue, goja.Undefined(), r.uint8Array(chunk))
			}
		})
		return goja.Undefined()
	}
}

// collectStream reads all of a stream of bytes or strings and calls done once.
func (r *Runtime) collectStream(stream *goja.Object, done func(data []byte, err goja.Value)) {
	var data []byte
	limit := int64(-1)
	if r.x != nil {
		limit = max(r.x.start.RequestBody, r.x.start.ResponseBody)
	}
	add := func(fc goja.FunctionCall) goja.Value {
		data = append(data, r.chunk(fc.Argument(0))...)
		if limit >= 0 && int64(len(data)) > limit {
			panic(r.tooLarge(limit))
		}
		return goja.Undefined()
	}
	call(r.loadStreams().gather, goja.Undefined(), stream,
		r.vm.ToValue(add),
		r.vm.ToValue(func(goja.FunctionCall) goja.Value { done(data, nil); return goja.Undefined() }),
		r.vm.ToValue(func(fc goja.FunctionCall) goja.Value { done(nil, fc.Argument(0)); return goja.Undefined() }))
}

// chunk is the bytes of a chunk of a body's stream. Strings count as UTF-8.
func (r *Runtime) chunk(v goja.Value) []byte {
	if obj, ok := v.(*goja.Object); ok {
		if data, ok := r.bufferSource(obj); ok {
			return data
		}
	}
	if s, ok := v.(goja.String); ok {
		return []byte(s.String())
	}
	panic(r.vm.NewTypeError("a chunk of a body's stream must be a Uint8Array, not %s", r.kindOf(v)))
}

// cloneBody splits a body in two: b goes on with one, the other is returned.
func (r *Runtime) cloneBody(b *body, what string) body {
	if b.null {
		return nullBody
	}
	if r.bodyUsed(b) || b.stream != nil && r.streamLocked(b.stream) {
		panic(r.vm.NewTypeError("%s.clone: the body has already been read", what))
	}
	if b.source == nil && b.stream == nil {
		return body{data: b.data}
	}
	stream := r.bodyStream(b)
	pair := call(must1(goja.AssertFunction(stream.Get("tee"))), stream).(*goja.Object)
	b.stream = pair.Get("0").(*goja.Object)
	return body{stream: pair.Get("1").(*goja.Object)}
}
