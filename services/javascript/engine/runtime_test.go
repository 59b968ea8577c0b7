package engine

import (
	"testing"
	"time"

	"github.com/picloud/picloud/services/executor/wire"
)

// recorder is a Host that keeps what it is given and answers host calls at once.
type recorder struct {
	x       *Execution
	answers func(op string, args string) wire.HostResult
	calls   []string
	lines   []wire.Log
	head    wire.Response
	body    []byte
	ended   bool
	granted int
	writes  int
}

func (h *recorder) Call(call uint32, op string, args []byte) {
	h.calls = append(h.calls, op+string(args))
	if h.answers != nil {
		res := h.answers(op, string(args))
		res.Call = call
		h.x.HostResult(res)
	}
}
func (h *recorder) Log(level, text string) {
	h.lines = append(h.lines, wire.Log{Level: level, Text: text})
}
func (h *recorder) Respond(head wire.Response) { h.head = head }
func (h *recorder) Write(p []byte)             { h.body = append(h.body, p...); h.writes++ }
func (h *recorder) EndResponse()               { h.ended = true }
func (h *recorder) GrantBody(n int)            { h.granted += n }
func (h *recorder) Flush()                     {}

func startOf(method, url string) wire.Start {
	return wire.Start{
		Program: 1, Handler: "fetch", Wall: time.Minute, CPU: time.Minute,
		RequestBody: 1 << 20, ResponseBody: 1 << 20, Log: 4096,
		ExecutionID: "x1", RequestID: "r1", App: "default", Script: "test", Method: method, URL: url,
	}
}

// wrap makes the code of a build from the statements of a module that ends by
// returning its exports.
func wrap(code string) string { return "async function(picloud) {" + code + "}" }

func mustCompile(t testing.TB, code string) *Program {
	t.Helper()
	p, err := Compile("test", wrap(code))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRun(t *testing.T) {
	p := mustCompile(t, `
		const list = picloud.kv.collection("a");
		return {default: {async fetch(request, env, ctx) {
			await list.set("k", {n: 1});
			console.log("hello", request.url);
			return Response.json({method: request.method, v: await list.get("k")}, {status: 201});
		}}}`)
	r := NewRuntime(p)
	for range 2 {
		h := &recorder{answers: func(op, args string) wire.HostResult {
			if op == "kv.get" {
				return wire.HostResult{Value: []byte(`{"n":[1,2,"x"]}`)}
			}
			return wire.HostResult{Value: []byte(`{"version":1}`)}
		}}
		h.x = NewExecution(startOf("GET", "http://localhost/hello"), h)
		end := r.Run(h.x, nil)
		if end.Code != "" || !h.ended || h.head.Status != 201 || string(h.body) != `{"method":"GET","v":{"n":[1,2,"x"]}}` {
			t.Fatalf("end %+v %+v, head %+v, body %s", end, end.Error, h.head, h.body)
		}
	}
}

func BenchmarkFetchTrivial(b *testing.B) {
	p := mustCompile(b, `return {default: {fetch(request) { return new Response("Hello " + request.method) }}}`)
	r := NewRuntime(p)
	s := startOf("GET", "http://localhost/hello")
	s.Headers = []wire.Header{{Name: "accept", Value: "*/*"}, {Name: "user-agent", Value: "bench"}}
	b.ReportAllocs()
	for b.Loop() {
		h := &recorder{}
		h.x = NewExecution(s, h)
		if end := r.Run(h.x, nil); end.Code != "" || !h.ended {
			b.Fatal(end)
		}
	}
}

func BenchmarkNewRuntime(b *testing.B) {
	p := mustCompile(b, `return {default: {fetch(request) { return new Response("Hello " + request.method) }}}`)
	s := startOf("GET", "http://localhost/hello")
	b.ReportAllocs()
	for b.Loop() {
		h := &recorder{}
		h.x = NewExecution(s, h)
		if end := NewRuntime(p).Run(h.x, nil); end.Code != "" || !h.ended {
			b.Fatal(end)
		}
	}
}
