package engine

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs one execution of a handler's module on a fresh realm. tune may change
// the start, prepare may post messages before the run.
func run(t *testing.T, code string, tune func(*wire.Start), prepare func(*recorder)) (*recorder, wire.End, *Runtime) {
	t.Helper()
	s := startOf("GET", "http://localhost/test?q=1")
	if tune != nil {
		tune(&s)
	}
	h := &recorder{}
	h.x = NewExecution(s, h)
	if prepare != nil {
		prepare(h)
	}
	r := NewRuntime(mustCompile(t, code))
	return h, r.Run(h.x, nil), r
}

func fetch(body string) string {
	return "return {default: {async fetch(request, env, ctx) {" + body + "}}}"
}

func TestRun_Results(t *testing.T) {
	for _, c := range []struct {
		name, code  string
		status      int
		contentType string
		body        string
	}{
		{"a Response as it is", fetch(`return new Response("x", {status: 418, headers: {"x-a": "1"}})`), 418, "text/plain;charset=UTF-8", "x"},
		{"a string is text", fetch(`return "ü"`), 200, "text/plain;charset=UTF-8", "ü"},
		{"an object is JSON", fetch(`return {a: [1, null]}`), 200, "application/json", `{"a":[1,null]}`},
		{"null is JSON", fetch(`return null`), 200, "application/json", `null`},
		{"a number is JSON", fetch(`return 0`), 200, "application/json", `0`},
		{"a boolean is JSON", fetch(`return false`), 200, "application/json", `false`},
		{"nothing is 204", fetch(``), 204, "", ""},
		{"a default-exported function is fetch", `return {default: (request) => request.method}`, 200, "text/plain;charset=UTF-8", "GET"},
		{"this is the default export", `return {default: {word: "hi", fetch() { return this.word }}}`, 200, "text/plain;charset=UTF-8", "hi"},
		{"a thenable is awaited", `return {default: {fetch: () => ({then: (f) => f("late")})}}`, 200, "text/plain;charset=UTF-8", "late"},
		{"top-level await", `await new Promise(r => setTimeout(r, 1)); return {default: () => "up"}`, 200, "text/plain;charset=UTF-8", "up"},
		{"a stream", fetch(`let n = 0; return new Response(new ReadableStream({pull(c) { if (n === 3) c.close(); else c.enqueue("part" + n++ + " ") }}))`), 200, "", "part0 part1 part2 "},
		{"ctx tells of the execution", fetch(`return [ctx.executionId, ctx.requestId, ctx.app, ctx.script, ctx.depth, ctx.params, ctx.passThroughOnException()]`), 200, "application/json", `["x1","r1","default","test",0,{"id":"7"},null]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, end, r := run(t, c.code, func(s *wire.Start) { s.Params = []wire.Header{{Name: "id", Value: "7"}} }, nil)
			if end.Code != "" || !h.ended {
				t.Fatalf("end %+v %+v", end, end.Error)
			}
			contentType := ""
			for _, f := range h.head.Headers {
				if f.Name == "content-type" {
					contentType = f.Value
				}
			}
			if h.head.Status != c.status || contentType != c.contentType || string(h.body) != c.body {
				t.Errorf("got %d %q %q", h.head.Status, contentType, h.body)
			}
			if !r.Reusable() {
				t.Error("the runtime is not reusable")
			}
		})
	}
}

func TestRun_Failures(t *testing.T) {
	for _, c := range []struct {
		name, code string
		want       cloud.Code
		message    string
		reusable   bool
	}{
		{"a function", fetch(`return () => {}`), cloud.CodeInvalidResponse, "returned a function", true},
		{"binary data", fetch(`return new Uint8Array(3)`), cloud.CodeInvalidResponse, "binary data", true},
		{"a bigint", fetch(`return 1n`), cloud.CodeInvalidResponse, "BigInt", true},
		{"a symbol", fetch(`return Symbol("x")`), cloud.CodeInvalidResponse, "a symbol", true},
		{"a circle", fetch(`const o = {}; o.o = o; return o`), cloud.CodeInvalidResponse, "not JSON", true},
		{"Response.error()", fetch(`return Response.error()`), cloud.CodeInvalidResponse, "Response.error()", true},
		{"a used body", fetch(`const r = new Response("x"); await r.text(); return r`), cloud.CodeInvalidResponse, "already been read", true},
		{"a body over the limit", fetch(`return "x".repeat(2e6)`), cloud.CodeInvalidResponse, "limit of 1 MiB", true},
		{"a promise that never settles", fetch(`await new Promise(() => {})`), cloud.CodeInvalidResponse, "never settle", true},
		{"an exception", fetch(`throw new RangeError("boom")`), cloud.CodeScriptThrew, "boom", true},
		{"a thrown string", fetch(`throw "oops"`), cloud.CodeScriptThrew, "uncaught 'oops'", true},
		{"no default export", `return {}`, cloud.CodeScriptThrew, "no default export", true},
		{"no fetch", `return {default: {queue() {}}}`, cloud.CodeScriptThrew, "no method fetch", true},
		{"an exception while loading", `throw new Error("early")`, cloud.CodeScriptThrew, "early", false},
		{"endless recursion", fetch(`function f() { return f() + 1 } f()`), cloud.CodeScriptThrew, "Maximum call stack size exceeded", false},
		{"an endless loop", fetch(`while (true) {}`), cloud.CodeCPU, "CPU time limit", false},
		{"a loop that swallows", fetch(`for (;;) { try { while (true) {} } catch {} finally { while (true) {} } }`), cloud.CodeCPU, "CPU time limit", false},
		{"a loop in a microtask", fetch(`Promise.resolve().then(() => { for (;;); }); await null`), cloud.CodeCPU, "CPU time limit", false},
		{"endless microtasks", fetch(`const f = () => Promise.resolve().then(f); await f()`), cloud.CodeCPU, "CPU time limit", false},
		{"a loop in a timer", fetch(`await new Promise(() => setTimeout(() => { for (;;); }, 1))`), cloud.CodeCPU, "CPU time limit", false},
		{"waiting too long", fetch(`await new Promise(r => setTimeout(r, 1e6))`), cloud.CodeTimeout, "time limit", false},
		{"a stream that breaks", fetch(`return new Response(new ReadableStream({pull(c) { c.error(new Error("cut")) }}))`), cloud.CodeScriptThrew, "cut", true},
		{"a stream of objects", fetch(`return new Response(new ReadableStream({start(c) { c.enqueue({}); c.close() }}))`), cloud.CodeScriptThrew, "must be a Uint8Array", true},
		{"a stream that never ends", fetch(`return new Response(new ReadableStream({}))`), cloud.CodeScriptThrew, "never ends", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, end, r := run(t, c.code, func(s *wire.Start) {
				switch c.want {
				case cloud.CodeTimeout:
					s.Wall = 20 * time.Millisecond
				case cloud.CodeCPU:
					s.CPU = 50 * time.Millisecond
				}
			}, nil)
			if end.Code != string(c.want) || end.Error == nil || !strings.Contains(end.Error.Message, c.message) {
				t.Fatalf("end %s %+v, want %s with %q", end.Code, end.Error, c.want, c.message)
			}
			if h.ended {
				t.Error("the response is complete")
			}
			if r.Reusable() != c.reusable {
				t.Errorf("reusable is %v", r.Reusable())
			}
		})
	}
}

func TestRun_Stack(t *testing.T) {
	t.Parallel()
	_, end, _ := run(t, "\nfunction inner() { throw Object.assign(new TypeError('bad'), {code: 'E_BAD'}) }\nreturn {default: async function outer() {\n  await null; inner() }}", nil, nil)
	want := &cloud.ScriptError{Name: "TypeError", Message: "bad", Code: "E_BAD", Stack: end.Error.Stack}
	if *end.Error != *want || !strings.HasPrefix(end.Error.Stack, "at inner (test:2:40)\nat outer (test:4:20)") {
		t.Errorf("got %+v", end.Error)
	}
}

func TestRun_HostErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code cloud.Code
		body string
		want cloud.Code
	}{
		{cloud.CodeUnavailable, `return await kv.get("k")`, cloud.CodeUnavailable},
		{cloud.CodeForbidden, `return await kv.get("k")`, cloud.CodeScriptThrew},
		{cloud.CodeInvalid, `try { await kv.get("k") } catch (e) { return [e.name, e.code, e.message] }`, ""},
		{cloud.CodeConflict, `return kv.set("k", 1, {ifVersion: 3}).catch(e => [e.name, e.code, e.message])`, ""},
	} {
		h, end, _ := run(t, `const kv = picloud.kv.collection("c"); `+fetch(c.body), nil, func(h *recorder) {
			h.answers = func(op, args string) wire.HostResult {
				return wire.HostResult{Code: string(c.code), Message: "because"}
			}
		})
		if end.Code != string(c.want) {
			t.Errorf("%s: ended with %q %+v, want %q", c.code, end.Code, end.Error, c.want)
		}
		if c.want == "" {
			name := "Error"
			if c.code == cloud.CodeInvalid {
				name = "TypeError"
			}
			if want := `["` + name + `","` + string(c.code) + `","because"]`; string(h.body) != want {
				t.Errorf("got %s, want %s", h.body, want)
			}
		} else if end.Error.Code != string(c.code) || !strings.Contains(end.Error.Stack, "at fetch (test:") {
			t.Errorf("error %+v", end.Error)
		}
	}
}

func TestModule_Calls(t *testing.T) {
	t.Parallel()
	h, end, _ := run(t, `const c = picloud.kv.collection("notes"), d = picloud.deadLetters, s = picloud.secrets; `+fetch(`
		await c.get("k"); await c.entry("k"); await c.has("k"); await c.delete("k\u0001\"ü");
		await c.set("k", {a: undefined, b: [new Date(0)]});
		await c.set("k", null, {ttl: 1.5, ifVersion: 0});
		await c.increment("n"); await c.increment("n", -2.5);
		await c.getMany(["a", "b"]); await c.getMany([]);
		await c.list(); await c.list({prefix: "p", limit: 5, cursor: "x", values: true});
		await d.replay("1"); await d.resolve("1", "done");
		await s.get("S"); await s.set("S", "a\"ü"); await s.delete("S"); await s.list();`), nil, func(h *recorder) {
		h.answers = func(string, string) wire.HostResult { return wire.HostResult{} }
	})
	if end.Code != "" {
		t.Fatalf("end %+v %+v", end, end.Error)
	}
	want := []string{
		`kv.get["notes","k"]`, `kv.entry["notes","k"]`, `kv.has["notes","k"]`, `kv.delete["notes","k\u0001\"ü"]`,
		`kv.set["notes","k",{"b":["1970-01-01T00:00:00.000Z"]},{}]`,
		`kv.set["notes","k",null,{"ttl_ms":1500,"if_version":0}]`,
		`kv.increment["notes","n",1]`, `kv.increment["notes","n",-2.5]`,
		`kv.getMany["notes",["a","b"]]`, `kv.getMany["notes",[]]`,
		`kv.list["notes",{}]`, `kv.list["notes",{"prefix":"p","cursor":"x","limit":5,"values":true}]`,
		`deadLetters.replay["1"]`, `deadLetters.resolve["1","done"]`,
		`secrets.get["S"]`, `secrets.set["S","a\"ü"]`, `secrets.delete["S"]`, `secrets.list[]`,
	}
	if got := strings.Join(h.calls, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestModule_Misuse(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		`picloud.kv.collection("")`:        "kv.collection: name is empty",
		`picloud.kv.collection(1)`:         "kv.collection: name must be a string, not the number 1",
		`c.get()`:                          "kv.get: key must be a string, not undefined",
		`c.get("")`:                        "kv.get: key is empty",
		`c.set("k")`:                       "kv.set: value must be a JSON value, not undefined; use delete to remove the key",
		`c.set("k", () => {})`:             "kv.set: value must be a JSON value, not a function; use delete to remove the key",
		`c.set("k", 1, 2)`:                 "kv.set: options must be an object, not the number 2",
		`c.set("k", 1, {tll: 2})`:          "kv.set: options.tll is unknown",
		`c.set("k", 1, {ttl: "2"})`:        "kv.set: options.ttl must be a number, not a string",
		`c.set("k", 1, {ttl: 0})`:          "kv.set: options.ttl must be a number of seconds above 0, not 0",
		`c.set("k", 1, {ifVersion: 1.5})`:  "kv.set: options.ifVersion must be a whole number, not 1.5",
		`c.increment("k", NaN)`:            "kv.increment: by must be a finite number, not NaN",
		`c.getMany("a")`:                   "kv.getMany: keys must be an array of strings, not a string",
		`c.getMany(["a", 2])`:              "kv.getMany: keys[1] must be a string, not the number 2",
		`c.list({limit: 5000})`:            "kv.list: options.limit must be between 1 and 1000, not 5000",
		`c.list({prefix: 1})`:              "kv.list: options.prefix must be a string, not the number 1",
		`picloud.deadLetters.resolve("1")`: "deadLetters.resolve: reason must be a string, not undefined",
		`picloud.deadLetters.replay({})`:   "deadLetters.replay: id must be a string, not an object",
		`picloud.secrets.get()`:            "secrets.get: name must be a string, not undefined",
		`picloud.secrets.delete("")`:       "secrets.delete: name is empty",
		`picloud.secrets.set("S")`:         "secrets.set: value must be a string",
		`picloud.secrets.set("S", 123456)`: "secrets.set: value must be a string",
		`new c.constructor()`:              "Illegal constructor: use kv.collection(name)",
		`c.get.call({}, "k")`:              "Illegal invocation: this is not a KVCollection",
	} {
		h, end, _ := run(t, `const c = picloud.kv.collection("c"); `+fetch(`
			try { const p = `+code+`; if (!(p instanceof Promise)) return "no promise"; await p } catch (e) { return e.name + ": " + e.message }`), nil, nil)
		if end.Code != "" || string(h.body) != "TypeError: "+want || len(h.calls) > 0 {
			t.Errorf("%s: %q, %v, calls %v", code, h.body, end.Error, h.calls)
		}
	}
}

func TestRequestBody(t *testing.T) {
	t.Parallel()
	post := func(length int64) func(*wire.Start) {
		return func(s *wire.Start) { s.Method, s.BodyLength, s.RequestBody = "POST", length, 20 }
	}
	chunks := func(parts ...string) func(*recorder) {
		return func(h *recorder) {
			for _, p := range parts {
				h.x.Body([]byte(p))
			}
			h.x.BodyEnd()
		}
	}
	for _, c := range []struct {
		name, body string
		tune       func(*wire.Start)
		prepare    func(*recorder)
		want       string
		code       cloud.Code
	}{
		{"text", `return await request.text()`, post(-1), chunks("a", "bc"), "abc", ""},
		{"json", `return await request.json()`, post(7), chunks(`{"a"`, `:1}`), `{"a":1}`, ""},
		{"stream", `let s = ""; for (const r = request.body.getReader();;) { const {done, value} = await r.read(); if (done) return s; s += value.length }`, post(-1), chunks("a", "bc"), "12", ""},
		{"passed through", `return new Response(request.body)`, post(-1), chunks("a", "bc"), "abc", ""},
		{"passed through unread", `return new Response(new Request("http://h/", {method: "POST", body: request.clone().body}).body)`, post(-1), chunks("a", "bc"), "abc", ""},
		{"large streams pass", `return new Response(request.body)`, post(-1), chunks(strings.Repeat("x", 50)), strings.Repeat("x", 50), ""},
		{"too large", `return await request.text()`, post(-1), chunks(strings.Repeat("x", 21)), "", cloud.CodeTooLarge},
		{"announced too large", `return await request.text()`, post(21), nil, "", cloud.CodeTooLarge},
		{"too large, caught", `return request.text().catch(e => e.code)`, post(21), nil, "body_too_large", ""},
		{"broken", `return request.text().catch(e => e.message)`, post(-1), func(h *recorder) { h.x.Body([]byte("a")); h.x.BodyError("cut") }, "the request's body broke off: cut", ""},
		{"read twice", `await request.text(); return request.text().catch(e => e.name)`, post(-1), chunks("a"), "TypeError", ""},
		{"none", `return [request.body, await request.text()]`, nil, nil, `[null,""]`, ""},
		{"not read", `return "ok"`, post(-1), chunks("a"), "ok", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, end, _ := run(t, fetch(c.body), c.tune, c.prepare)
			if end.Code != string(c.code) || string(h.body) != c.want {
				t.Errorf("end %s %+v, body %q", end.Code, end.Error, h.body)
			}
		})
	}
}

func TestRequestBody_Credit(t *testing.T) {
	t.Parallel()
	h, end, _ := run(t, fetch(`return new Response(request.body)`), func(s *wire.Start) { s.Method, s.BodyLength = "POST", -1 }, func(h *recorder) {
		h.x.Body(make([]byte, 1000))
		h.x.Body(make([]byte, 24))
		h.x.BodyEnd()
	})
	if end.Code != "" || h.granted != 1024 || len(h.body) != 1024 {
		t.Errorf("granted %d, body %d, end %+v", h.granted, len(h.body), end.Error)
	}
}

// creditor grants more response body when asked to flush.
type creditor struct {
	recorder
	grant int
	most  int
	sent  int
}

func (h *creditor) Write(p []byte) {
	h.recorder.Write(p)
	h.sent += len(p)
	h.most = max(h.most, len(p))
}
func (h *creditor) Flush() { h.x.Credit(h.grant) }

func TestResponseBody_Credit(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"buffered": `return new Response(new Uint8Array(600000))`,
		"streamed": `let n = 0; return new Response(new ReadableStream({pull(c) { if (n++ === 6) c.close(); else c.enqueue(new Uint8Array(100000)) }}))`,
	} {
		s := startOf("GET", "http://localhost/")
		h := &creditor{grant: 5000}
		h.x = NewExecution(s, h)
		end := NewRuntime(mustCompile(t, fetch(body))).Run(h.x, nil)
		if end.Code != "" || len(h.body) != 600000 || h.most > wire.MaxChunk || !h.ended {
			t.Errorf("%s: body %d, longest chunk %d, end %+v", name, len(h.body), h.most, end.Error)
		}
	}
}

func TestWaitUntil(t *testing.T) {
	t.Parallel()
	h, end, _ := run(t, fetch(`
		ctx.waitUntil(new Promise(r => setTimeout(r, 2)).then(() => console.log("after")));
		ctx.waitUntil(Promise.reject(new Error("lost")));
		setTimeout(() => console.log("never"), 1e5);
		return "now"`), nil, nil)
	if end.Code != "" || string(h.body) != "now" || len(h.lines) != 2 {
		t.Fatalf("end %+v, body %s, lines %+v", end, h.body, h.lines)
	}
	if l := h.lines[0]; l.Level != "error" || !strings.HasPrefix(l.Text, "Uncaught (in waitUntil) Error: lost") {
		t.Errorf("line %+v", l)
	}
	if h.lines[1] != (wire.Log{Level: "info", Text: "after"}) {
		t.Errorf("line %+v", h.lines[1])
	}
}

func TestRun_NothingIsLeft(t *testing.T) {
	t.Parallel()
	r := NewRuntime(mustCompile(t, fetch(`setInterval(() => console.log("tick"), 1); return "x"`)))
	for range 2 {
		h := &recorder{}
		h.x = NewExecution(startOf("GET", "http://localhost/"), h)
		if end := r.Run(h.x, nil); end.Code != "" || len(h.lines) > 0 {
			t.Errorf("end %+v, lines %+v", end, h.lines)
		}
	}
	if r.timers.any() || len(r.calls) > 0 {
		t.Error("something is pending after the run")
	}
}

func TestRejections(t *testing.T) {
	t.Parallel()
	h, _, _ := run(t, fetch(`
		Promise.reject(new TypeError("nobody"));
		const p = Promise.reject(1); p.catch(() => {});
		setTimeout(() => { throw "in a timer" }, 0);
		queueMicrotask(() => { throw "in a microtask" });
		await new Promise(r => setTimeout(r, 5)); return 1`), nil, nil)
	var got []string
	for _, l := range h.lines {
		first, _, _ := strings.Cut(l.Text, "\n")
		got = append(got, l.Level+" "+first)
	}
	want := "error Uncaught 'in a microtask'\nerror Uncaught (in promise) TypeError: nobody\nerror Uncaught 'in a timer'"
	if strings.Join(got, "\n") != want {
		t.Errorf("got %q", got)
	}
}

func TestLogLimit(t *testing.T) {
	t.Parallel()
	h, end, _ := run(t, fetch(`for (let i = 0; i < 100; i++) console.log("0123456789")`), func(s *wire.Start) { s.Log = 25 }, nil)
	want := []wire.Log{{Level: "info", Text: "0123456789"}, {Level: "info", Text: "0123456789"}, {Level: "info", Text: "01234… [log limit of 25 bytes reached]"}}
	if !end.Truncated || len(h.lines) != 3 || h.lines[2] != want[2] {
		t.Errorf("end %+v, lines %+v", end, h.lines)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ code, line string }{
		"request.signal": {`await new Promise(r => request.signal.addEventListener("abort", r)); console.log("gone"); return ""`, "gone"},
		"the stream":     {`let id; return new Response(new ReadableStream({start(c) { id = setInterval(() => c.enqueue("x"), 1) }, cancel() { clearInterval(id); console.log("canceled") }}))`, "canceled"},
	} {
		h, end, _ := run(t, fetch(c.code), nil, func(h *recorder) { h.x.Cancel() })
		if end.Code != "" || len(h.lines) != 1 || h.lines[0].Text != c.line {
			t.Errorf("%s: end %+v %+v, lines %+v", name, end, end.Error, h.lines)
		}
	}
}
