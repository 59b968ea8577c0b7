package engine

import (
	"strings"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// answer is the state of the response on its way out.
type answer struct {
	credit int
	rest   []byte // bytes that wait for credit
	source *outgoing
	done   bool     // complete, or given up
	failed *failure // why a stream broke off
}

// blocked tells whether the answer waits for credit.
func (a *answer) blocked() bool { return !a.done && len(a.rest) > 0 && a.credit == 0 }

// outgoing is a streamed body that is being read: from the request's own body,
// or from a ReadableStream.
type outgoing struct {
	source  *incoming
	reader  *goja.Object
	read    goja.Callable
	reading bool
	ended   bool
}

// respond converts what a handler returned and starts to send it.
func (r *Runtime) respond(v goja.Value) error {
	if res, ok := stateOf[*response](v); ok {
		return r.sendResponse(res)
	}
	res := &response{status: 200, headers: &headers{}}
	switch {
	case goja.IsUndefined(v):
		res.status, res.body = 204, nullBody
	case goja.IsString(v):
		res.headers.set("content-type", "text/plain;charset=UTF-8")
		res.body = body{data: []byte(v.String())}
	default:
		text, err := r.jsonAnswer(v)
		if err != nil {
			return err
		}
		res.headers.set("content-type", "application/json")
		res.body = body{data: []byte(text)}
	}
	return r.sendResponse(res)
}

// jsonAnswer is the JSON text of a value that is no Response.
func (r *Runtime) jsonAnswer(v goja.Value) (string, error) {
	const expected = "; return a Response, a string, a JSON value or nothing"
	if obj, ok := v.(*goja.Object); ok {
		if _, isFunction := goja.AssertFunction(obj); isFunction {
			return "", invalidResponse("the handler returned a function%s", expected)
		}
		if _, binary := r.bufferSource(obj); binary {
			return "", invalidResponse("the handler returned binary data%s, for example new Response(data)", expected)
		}
		if r.isStream(obj) {
			return "", invalidResponse("the handler returned a stream%s, for example new Response(stream)", expected)
		}
	}
	var text goja.Value
	if ex := r.vm.Try(func() { text = r.stringify(v) }); ex != nil {
		f := r.thrown(ex.Value(), ex.Stack())
		f.code = cloud.CodeInvalidResponse
		f.err.Message = "the handler returned a value that is not JSON: " + f.err.Message
		return "", f
	}
	if goja.IsUndefined(text) {
		return "", invalidResponse("the handler returned %s%s", r.kindOf(v), expected)
	}
	return text.String(), nil
}

func (r *Runtime) sendResponse(res *response) error {
	if res.status == 0 {
		return invalidResponse("the handler returned Response.error()")
	}
	b := &res.body
	if !b.null && r.bodyUsed(b) || b.stream != nil && r.streamLocked(b.stream) {
		return invalidResponse("the body of the returned Response has already been read")
	}
	head := wire.Response{Status: res.status, Headers: make([]wire.Header, 0, len(res.headers.fields))}
	for _, f := range res.headers.fields {
		if !isHopByHop(f.Name) && (f.Name != "content-length" || r.x.start.Method == "HEAD") {
			head.Headers = append(head.Headers, wire.Header{Name: f.Name, Value: toLatin1(f.Value)})
		}
	}
	if b.source != nil || b.stream != nil {
		head.Length = -1
		r.x.host.Respond(head)
		return r.turn(func() { r.sendStream(b) })
	}
	if limit := r.x.start.ResponseBody; int64(len(b.data)) > limit {
		return invalidResponse("the response's body of %s is larger than the limit of %s; return a ReadableStream for more", byteSize(int64(len(b.data))), byteSize(limit))
	}
	b.used = !b.null
	head.Length = int64(len(b.data))
	r.x.host.Respond(head)
	if r.canceled {
		r.answer.done = true
		return nil
	}
	r.answer.rest = b.data
	r.pump()
	return nil
}

// isHopByHop tells whether a field belongs to the connection, which is not the
// script's (RFC 9110, section 7.6.1).
func isHopByHop(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "trailer", "te":
		return true
	}
	return strings.HasPrefix(name, ":")
}

// pump sends what the credit allows and reads on when all is sent.
func (r *Runtime) pump() {
	a := &r.answer
	for !a.done {
		for len(a.rest) > 0 && a.credit > 0 {
			n := min(len(a.rest), a.credit, wire.MaxChunk)
			r.x.host.Write(a.rest[:n])
			a.rest = a.rest[n:]
			a.credit -= n
		}
		if len(a.rest) > 0 {
			return
		}
		a.rest = nil
		if a.source == nil || a.source.ended {
			a.done = true
			r.x.host.EndResponse()
			return
		}
		if a.source.reading {
			return
		}
		r.readOn(a.source)
	}
}

// sendStream starts to send a streamed body.
func (r *Runtime) sendStream(b *body) {
	b.used = true
	out := &outgoing{source: b.source}
	if b.stream != nil {
		out.reader = call(must1(goja.AssertFunction(b.stream.Get("getReader"))), b.stream).(*goja.Object)
		out.read = must1(goja.AssertFunction(out.reader.Get("read")))
	}
	r.answer.source = out
	if r.canceled {
		r.dropAnswer()
		return
	}
	r.pump()
}

// readOn asks for the next chunk. It may be there at once; otherwise pump runs
// again when it has come.
func (r *Runtime) readOn(out *outgoing) {
	out.reading = true
	if out.source != nil {
		now := true
		out.source.pull(func(chunk []byte, ended bool, err goja.Value) {
			out.reading = false
			r.answer.rest, out.ended = chunk, ended
			if err != nil {
				r.breakOff(err)
			}
			if !now {
				r.pump()
			}
		})
		now = false
		return
	}
	p := call(out.read, out.reader)
	r.then(r.promise(p), func(v goja.Value) {
		out.reading = false
		result := v.(*goja.Object)
		if result.Get("done").ToBoolean() {
			out.ended = true
		} else if ex := r.vm.Try(func() {
			r.answer.rest = append([]byte(nil), r.chunk(result.Get("value"))...)
		}); ex != nil {
			r.breakOff(ex.Value())
			r.cancelReader(out)
		}
		r.pump()
	}, r.breakOff)
}

// breakOff ends the answer without completing it.
func (r *Runtime) breakOff(reason goja.Value) {
	if !r.answer.done {
		r.answer.done = true
		r.answer.failed = r.thrown(reason, nil)
	}
}

// dropAnswer gives up on the answer, since nobody waits for it.
func (r *Runtime) dropAnswer() {
	a := &r.answer
	if a.done {
		return
	}
	if a.rest != nil || a.source != nil {
		a.done = true
	}
	a.rest = nil
	if a.source != nil {
		if a.source.source != nil {
			a.source.source.drop()
		} else {
			r.cancelReader(a.source)
		}
	}
}

func (r *Runtime) cancelReader(out *outgoing) {
	p := call(must1(goja.AssertFunction(out.reader.Get("cancel"))), out.reader)
	r.then(r.promise(p), func(goja.Value) {}, func(goja.Value) {})
}
