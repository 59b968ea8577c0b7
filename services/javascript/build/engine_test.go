package build_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/javascript/bundle"
	"github.com/picloud/picloud/services/javascript/engine"
)

// host answers an execution from kv in memory: values by collection and key.
type host struct {
	x    *engine.Execution
	kv   map[string]json.RawMessage
	head wire.Response
	body strings.Builder
}

func (h *host) Call(call uint32, op string, args []byte) {
	var a []json.RawMessage
	if err := json.Unmarshal(args, &a); err != nil {
		panic(err)
	}
	at := func(i int) string { return string(a[0]) + string(a[i]) }
	res := wire.HostResult{Call: call}
	switch op {
	case "kv.get":
		res.Value = h.kv[at(1)]
	case "kv.entry":
		if v, ok := h.kv[at(1)]; ok {
			res.Value = fmt.Appendf(nil, `{"value":%s,"version":1}`, v)
		}
	case "kv.set":
		h.kv[at(1)] = a[2]
		res.Value = []byte(`{"version":1}`)
	case "kv.increment":
		h.kv[at(1)] = json.RawMessage("1")
		res.Value = []byte("1")
	case "kv.list":
		var page struct {
			Keys   []json.RawMessage `json:"keys"`
			Values []json.RawMessage `json:"values"`
		}
		for _, k := range slices.Sorted(maps.Keys(h.kv)) {
			if key, ok := strings.CutPrefix(k, string(a[0])); ok {
				page.Keys, page.Values = append(page.Keys, json.RawMessage(key)), append(page.Values, h.kv[k])
			}
		}
		res.Value, _ = json.Marshal(page)
	default:
		res.Code, res.Message = string(cloud.CodeUnavailable), op
	}
	h.x.HostResult(res)
}

func (h *host) Log(string, string)         {}
func (h *host) Respond(head wire.Response) { h.head = head }
func (h *host) Write(p []byte)             { h.body.Write(p) }
func (h *host) EndResponse()               {}
func (h *host) GrantBody(int)              {}
func (h *host) Flush()                     {}

// served is a build on the worker's engine.
type served struct {
	build   cloud.Build
	runtime *engine.Runtime
	kv      map[string]json.RawMessage
}

func serve(t *testing.T, src cloud.Source) *served {
	t.Helper()
	b := mustBuild(t, src, nil)
	program, err := engine.Compile(src.Name, b.Code)
	if err != nil {
		t.Fatal(err)
	}
	return &served{b, engine.NewRuntime(program), map[string]json.RawMessage{}}
}

// ask runs one request and returns "STATUS body", or the failure.
func (s *served) ask(method, path, body string, params ...wire.Header) string {
	h := &host{kv: s.kv}
	h.x = engine.NewExecution(wire.Start{
		Program: 1, Handler: "fetch", Wall: 10 * time.Second, CPU: 10 * time.Second,
		RequestBody: 1 << 20, ResponseBody: 1 << 20, Log: 4096, ExecutionID: "x", RequestID: "r", App: "default",
		Method: method, URL: "http://localhost" + path, BodyLength: int64(len(body)), Params: params,
		Headers: []wire.Header{{Name: "content-type", Value: "application/json"}},
	}, h)
	if body != "" {
		h.x.Body([]byte(body))
		h.x.BodyEnd()
	}
	end := s.runtime.Run(h.x, nil)
	if end.Code != "" {
		failure := end.Code
		if end.Error != nil {
			failure += " " + end.Error.Name + ": " + end.Error.Message + "\n" + build.MapStack(&s.build, end.Error.Stack)
		}
		return failure
	}
	return strings.TrimSpace(fmt.Sprint(h.head.Status, " ", h.body.String()))
}

func expect(t *testing.T, what, got, prefix, part string) {
	t.Helper()
	if !strings.HasPrefix(got, prefix) || !strings.Contains(got, part) {
		t.Errorf("%s: %q, want %q … %q", what, got, prefix, part)
	}
}

// What Build makes runs on the engine of the worker.
func TestBuild_OnTheEngine(t *testing.T) {
	t.Parallel()
	example := func(t *testing.T, file string) *served {
		t.Helper()
		path := filepath.Join(examples, file)
		if folder, base := filepath.Split(file); folder != "" {
			path = filepath.Join(installed(t, filepath.Clean(folder)), base)
		}
		src, _, err := bundle.File(path, bundle.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return serve(t, src)
	}
	t.Run("hello", func(t *testing.T) {
		t.Parallel()
		expect(t, "GET", example(t, "hello.ts").ask("GET", "/hello", ""), "200", `{"message":"Hello from PiCloud!"}`)
	})
	t.Run("guestbook", func(t *testing.T) {
		t.Parallel()
		s := example(t, "guestbook.ts")
		expect(t, "POST", s.ask("POST", "/guestbook", `{"name": " Ada ", "text": "Hi"}`), "201", `"name":"Ada","text":"Hi"`)
		expect(t, "GET", s.ask("GET", "/guestbook", ""), "200", `"name":"Ada"`)
		expect(t, "bad", s.ask("POST", "/guestbook", `{"name": ""}`), "422", "name must be")
		expect(t, "worse", s.ask("POST", "/guestbook", `null`), "422", "name must be")
		expect(t, "worst", s.ask("POST", "/guestbook", `{`), "400", "not JSON")
		expect(t, "PUT", s.ask("PUT", "/guestbook", ""), "405", "")
	})
	t.Run("shortener", func(t *testing.T) {
		t.Parallel()
		s := example(t, "shortener.ts")
		made := s.ask("POST", "/shortener", `{"url": "https://example.com/x"}`)
		expect(t, "POST", made, "201", `"short":"http://localhost/shortener/`)
		_, rest, _ := strings.Cut(made, `"slug":"`)
		slug, _, _ := strings.Cut(rest, `"`)
		expect(t, "GET", s.ask("GET", "/shortener/"+slug, ""), "302", "")
		expect(t, "statistics", s.ask("GET", "/shortener/"+slug+"+", ""), "200", `"visits":1`)
		expect(t, "bad", s.ask("POST", "/shortener", `{"url": "javascript:1"}`), "422", "only http")
		expect(t, "none", s.ask("GET", "/shortener/none", ""), "404", "no link")
	})
	t.Run("api", func(t *testing.T) {
		t.Parallel()
		s := example(t, "api.ts")
		made := s.ask("POST", "/items", `{"title": "Milk"}`)
		expect(t, "POST", made, "201", `"title":"Milk","done":false`)
		_, rest, _ := strings.Cut(made, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		param := wire.Header{Name: "id", Value: id}
		expect(t, "PATCH", s.ask("PATCH", "/items/"+id, `{"done": true}`, param), "200", `"title":"Milk","done":true`)
		expect(t, "GET", s.ask("GET", "/items/"+id, "", param), "200", `"done":true`)
		expect(t, "list", s.ask("GET", "/items", ""), "200", `{"items":[{"id":"`+id)
		expect(t, "bad", s.ask("POST", "/items", `{"title": "Milk", "x": 1}`), "422", "x is no field")
		expect(t, "none", s.ask("GET", "/items/none", "", wire.Header{Name: "id", Value: "none"}), "404", "no item")
	})
	t.Run("stream", func(t *testing.T) {
		t.Parallel()
		expect(t, "GET", example(t, "stream.ts").ask("GET", "/stream?lines=3&delay=0", ""), "200", "line 1 of 3\nline 2 of 3\nline 3 of 3")
	})
	t.Run("hono", func(t *testing.T) {
		t.Parallel()
		s := example(t, "hono/index.ts")
		made := s.ask("POST", "/notes", `{"title": " Tea ", "tags": ["küche"]}`)
		expect(t, "POST", made, "201", `"title":"Tea","text":"","tags":["küche"]`)
		expect(t, "list", s.ask("GET", "/notes", ""), "200", `"title":"Tea"`)
		expect(t, "bad", s.ask("POST", "/notes", `{"title": "Tea", "tags": ["a b"]}`), "422", `"field":"tags.0","message":"may hold letters, digits and -"`)
		expect(t, "none", s.ask("GET", "/notes/none", ""), "404", "nothing is at /notes/none")
	})
	t.Run("itty", func(t *testing.T) {
		t.Parallel()
		s := example(t, "itty/index.ts")
		expect(t, "POST", s.ask("POST", "/todos", `{"title": "Plants"}`), "201", `{"id":1,"title":"Plants","done":false}`)
		expect(t, "done", s.ask("POST", "/todos/1/done", ""), "200", `"done":true`)
		expect(t, "GET", s.ask("GET", "/todos", ""), "200", `[{"id":1,"title":"Plants","done":true}]`)
		expect(t, "none", s.ask("GET", "/todos/7", ""), "404", "there is no todo 7")
	})
	t.Run("regular expressions", func(t *testing.T) {
		t.Parallel()
		s := serve(t, source("main", cloud.JavaScript, `export default () => [/^\p{L}+$/u.test("äж"), /^[\p{L}--[a-z]]$/v.test("a"), "aé1".replace(/\P{L}/gu, "_"), /a/y.sticky]`))
		expect(t, "GET", s.ask("GET", "/", ""), "200", `[true,false,"aé_",true]`)
	})
	t.Run("a thrown error", func(t *testing.T) {
		t.Parallel()
		s := serve(t, source("main", cloud.TypeScript, "type T = 1;\nclass A { get = 1; set = () => {\n  throw new RangeError('é') } }\nexport default function fetch() {\n  new A().set() }"))
		expect(t, "GET", s.ask("GET", "/", ""), "script_threw RangeError: é\nat set (main.ts:3:9)\nat fetch (main.ts:5:11)", "")
	})
}
