package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/services/cloud"
)

var kvInvocation = Invocation{
	Handler: "trigger", Event: json.RawMessage(`{"id":"event","kind":"kv"}`),
	Trigger: "kv", EventID: "event", CauseID: "cause", Depth: 3, Attempt: 2,
}

// asyncOf is a request to an async route.
func asyncOf(method, url, body string) Invocation {
	return Invocation{
		Handler: "fetch", Trigger: "async", EventID: "event", Attempt: 1,
		Request: &cloud.StoredRequest{Method: method, URL: url, Body: []byte(body)},
	}
}

// deliver runs an event that nothing cuts off.
func (b *bench) deliver(t *testing.T, plan *cloud.Plan, inv Invocation) Outcome {
	t.Helper()
	o, err := b.Run(t.Context(), t.Context(), plan, inv)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestExecutor_Run(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	b := newBench(t, func(c *Config) { c.Services = kv.services() })

	t.Run("runs a handler, which is told what for", func(t *testing.T) {
		plan := b.script("app", "attempt")
		plan.Params = map[string]string{"id": "7"}
		o := b.deliver(t, plan, kvInvocation)
		if !cloud.IsID(o.ExecutionID) || o != (Outcome{ExecutionID: o.ExecutionID}) {
			t.Errorf("got %+v", o)
		}
	})

	t.Run("makes host calls as deep as the event", func(t *testing.T) {
		plan := b.script("app", `calls kv.get ["c","k"]`)
		o := b.deliver(t, plan, kvInvocation)
		want := cloud.Call{AppID: "app", ByScript: true, ExecutionID: o.ExecutionID, RequestID: "event", Depth: 3}
		if len(kv.calls) != 1 || kv.calls[0] != want {
			t.Errorf("got %+v, want %+v", kv.calls, want)
		}
	})

	for name, c := range map[string]struct {
		code string
		inv  Invocation
		want Outcome
	}{
		"an exception":           {"throw RangeError", kvInvocation, Outcome{Code: cloud.CodeScriptThrew, Error: scriptError("RangeError", "")}},
		"an exception for good":  {"no-more", kvInvocation, Outcome{Code: cloud.CodeScriptThrew, Error: scriptError("E", ""), NoRetry: true}},
		"a limit":                {"end cpu_exceeded", kvInvocation, Outcome{Code: cloud.CodeCPU, Error: failed(cloud.Errorf(cloud.CodeCPU, "the script used more CPU time than its limit allows")).Error}},
		"a worker that dies":     {"exit", kvInvocation, Outcome{Code: cloud.CodeWorkerDied, Error: failed(deadWith(false)).Error}},
		"one without memory":     {"oom", kvInvocation, Outcome{Code: cloud.CodeMemory, Error: failed(deadWith(true)).Error}},
		"an answer to an event":  {"say hello", kvInvocation, Outcome{Code: cloud.CodeWorkerDied, Error: failed(deadWith(false)).Error}},
		"an answer":              {"say hello", asyncOf("GET", "http://h/", ""), Outcome{Status: 200}},
		"a redirect":             {"status 303", asyncOf("GET", "http://h/", ""), Outcome{Status: 303}},
		"a client's error":       {"status 404", asyncOf("GET", "http://h/", ""), Outcome{Status: 404}},
		"a server's error":       {"status 503", asyncOf("GET", "http://h/", ""), Outcome{Status: 503, Code: cloud.CodeScriptThrew, Error: &cloud.ScriptError{Name: "Error", Message: "the handler answered with status 503"}}},
		"no answer":              {"end", asyncOf("GET", "http://h/", ""), Outcome{Code: cloud.CodeInvalidResponse, Error: failed(cloud.Errorf(cloud.CodeInvalidResponse, "the script ended without a response")).Error}},
		"what is no answer":      {"status 600", asyncOf("GET", "http://h/", ""), Outcome{Code: cloud.CodeInvalidResponse, Error: failed(cloud.Errorf(cloud.CodeInvalidResponse, "the script's response has the status 600; 200 to 599 are possible")).Error}},
		"an answer that streams": {"pour 20", asyncOf("GET", "http://h/", ""), Outcome{Status: 200}},
		"a body":                 {"count", asyncOf("POST", "http://h/", strings.Repeat("x", maxSmallBody)), Outcome{Status: 200}},
		"a body that streams":    {"echo", asyncOf("POST", "http://h/", strings.Repeat("x", 2*cloud.MaxEventPayload)), Outcome{Status: 200}},
		"a body that nobody reads": {"say hello", asyncOf("POST", "http://h/", strings.Repeat("x", 2*cloud.MaxEventPayload)),
			Outcome{Status: 200}},
		"a request that is missing": {"say hello", Invocation{Handler: "fetch"}, failed(cloud.Errorf(cloud.CodeInternal, "no script was chosen for this event"))},
	} {
		t.Run(name, func(t *testing.T) {
			got := b.deliver(t, b.script("app-"+strings.ReplaceAll(name, " ", "-"), c.code), c.inv)
			got.ExecutionID = ""
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v %+v, want %+v %+v", got, got.Error, c.want, c.want.Error)
			}
		})
	}

	t.Run("a failure after the answer counts", func(t *testing.T) {
		release := sync.OnceFunc(func() { close(kv.release) })
		defer release()
		done := make(chan Outcome)
		plan := b.script("app", "later")
		go func() {
			o, _ := b.Run(t.Context(), t.Context(), plan, asyncOf("GET", "http://h/", ""))
			done <- o
		}()
		<-kv.held // the answer is out
		select {
		case o := <-done:
			t.Errorf("it did not wait: %+v", o)
		default:
		}
		release()
		if o := <-done; o.Code != cloud.CodeScriptThrew || o.Status != 200 || o.Error == nil || o.Error.Name != "LateError" {
			t.Errorf("got %+v", o)
		}
	})
}

func TestExecutor_Run_request(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	inv := asyncOf("PUT", "https://shop.example/items/7?q=1", "body")
	inv.Request.Params = map[string]string{"id": "7"}
	inv.Request.Header = http.Header{
		"Authorization": {"Bearer pic_x", "Bearer theirs"}, "Cookie": {"a=1; picloud_session=pis_x"}, "Connection": {"x-private"}, "X-Private": {"1"},
		"X-Picloud-App": {"other"}, "Content-Length": {"9"},
	}
	plan := b.script("app", "tell-start")
	if o := b.deliver(t, plan, inv); o.Code != "" {
		t.Errorf("got %+v", o)
	}
	records := b.records(t)
	want := "PUT https://shop.example/items/7?q=1 4 [{authorization Bearer theirs} {content-length 4} {cookie a=1} {host shop.example}] [{id 7}] event"
	if len(records) != 1 || len(records[0].Lines) != 1 || records[0].Lines[0].Text != want {
		t.Errorf("got  %+v\nwant %s", records, want)
	}
}

func TestExecutor_Run_records(t *testing.T) {
	t.Parallel()
	maps := 0
	b := newBench(t, func(c *Config) {
		c.MapStack = func(_ *cloud.Build, stack string) string {
			maps++
			return strings.ReplaceAll(stack, "<build>", "guestbook.ts")
		}
	})
	plan := b.script("app", "throw TypeError")
	o := b.deliver(t, plan, kvInvocation)
	b.deliver(t, b.script("app", "status 503"), asyncOf("POST", "http://h/path?secret=1", "x"))
	b.deliver(t, b.script("app", "attempt"), kvInvocation)
	records := b.records(t)
	if len(records) != 3 {
		t.Fatalf("%d records", len(records))
	}
	thrown := cloud.ScriptError{Name: "TypeError", Message: "broken", Stack: "at fetch (guestbook.ts:1:2)"}
	if o.ExecutionID != records[0].ID || o.Error == nil || *o.Error != thrown || maps != 1 {
		t.Errorf("the outcome is %+v %+v, mapped %d times", o, o.Error, maps)
	}
	for i := range records {
		r := &records[i]
		if !cloud.IsID(r.ID) || r.StartedAt.IsZero() || r.Duration <= 0 {
			t.Errorf("got %+v", r)
		}
		r.ID, r.StartedAt, r.Duration = "", time.Time{}, 0
		for j := range r.Lines {
			r.Lines[j].At = time.Time{}
		}
	}
	want := []cloud.Execution{{
		AppID: "app", ScriptID: plan.Script.ID, ScriptName: "script", Version: 1, Trigger: "kv",
		EventID: "event", CauseID: "cause", Depth: 3, Attempt: 2, RequestID: "event",
		Code: cloud.CodeScriptThrew, CPU: time.Millisecond, Error: &thrown,
		Lines: []cloud.LogLine{{Level: "warn", Text: "about to\uFFFD throw"}},
	}, {
		AppID: "app", ScriptID: records[1].ScriptID, ScriptName: "script", Version: 1, Trigger: "async",
		EventID: "event", Attempt: 1, RequestID: "event", Method: "POST", Path: "/path", Status: 503,
	}, {
		AppID: "app", ScriptID: records[2].ScriptID, ScriptName: "script", Version: 1, Trigger: "kv",
		EventID: "event", CauseID: "cause", Depth: 3, Attempt: 2, RequestID: "event",
		Lines: []cloud.LogLine{{Level: "info", Text: `trigger event 2 3 {"id":"event","kind":"kv"} "" event []`}},
	}}
	if !reflect.DeepEqual(records, want) {
		t.Errorf("got  %+v\nwant %+v", records, want)
	}
}

func TestExecutor_Run_notRun(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()

	notRun := func(t *testing.T, b *bench, begin, ctx context.Context, cause error) {
		t.Helper()
		o, err := b.Run(begin, ctx, b.script("app", "say hello"), kvInvocation)
		if !errors.Is(err, ErrNotRun) || cause != nil && !errors.Is(err, cause) || o != (Outcome{}) {
			t.Errorf("got %+v, %v", o, err)
		}
		if !b.Idle() {
			t.Error("it keeps its place")
		}
		if records := b.records(t); len(records) != 0 {
			t.Errorf("recorded was %+v", records)
		}
	}
	t.Run("when nothing begins any more", func(t *testing.T) {
		b := newBench(t, nil)
		notRun(t, b, over, t.Context(), context.Canceled)
	})
	t.Run("when its time is over", func(t *testing.T) {
		b := newBench(t, nil)
		notRun(t, b, t.Context(), over, context.Canceled)
	})
	t.Run("after the stop", func(t *testing.T) {
		b := newBench(t, nil)
		b.Stop(t.Context())
		notRun(t, b, t.Context(), t.Context(), errStopping)
		if n := b.Stats().Refused; n != 0 {
			t.Errorf("%d requests were refused", n)
		}
	})
	t.Run("when no worker can be started", func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Worker = "/bin/false" })
		notRun(t, b, t.Context(), t.Context(), nil)
	})
	t.Run("while it waits", func(t *testing.T) {
		kv := newWatchedKV()
		b := newBench(t, func(c *Config) { c.Services, c.Capacity = kv.services(), 1 })
		begin, cancel := context.WithCancel(t.Context())
		running := make(chan error)
		holds := b.script("app", `calls kv.get ["hold","key"]`)
		go func() {
			_, err := b.Run(begin, t.Context(), holds, kvInvocation)
			running <- err
		}()
		<-kv.held
		waiting := make(chan error)
		go func() {
			_, err := b.Run(begin, t.Context(), holds, kvInvocation)
			waiting <- err
		}()
		for b.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		cancel()
		if err := <-waiting; !errors.Is(err, ErrNotRun) {
			t.Errorf("what waited: %v", err)
		}
		close(kv.release)
		if err := <-running; err != nil {
			t.Errorf("what ran: %v", err)
		}
	})
}

// TestExecutor_Run_cut ends the time of executions that run.
func TestExecutor_Run_cut(t *testing.T) {
	t.Parallel()
	cutOff := failed(errCut)
	for name, c := range map[string]struct {
		code string
		want Outcome
		dies bool
	}{
		"a script that is interrupted":      {"cancelled timeout", cutOff, false},
		"one that ends well all the same":   {"cancelled", Outcome{}, false},
		"one that fails for another reason": {"cancelled cpu_exceeded", Outcome{Code: cloud.CodeCPU}, false},
		"a worker that does not listen":     {`calls kv.get ["hold","key"]`, cutOff, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kv := newWatchedKV()
			b := newBench(t, func(c *Config) { c.Services = kv.services() })
			plan := b.script("app", c.code)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan Outcome)
			go func() {
				o, err := b.Run(t.Context(), ctx, plan, kvInvocation)
				if err != nil {
					t.Error(err)
				}
				done <- o
			}()
			<-kv.held
			cancel()
			got := <-done
			if got.Code != c.want.Code || c.want.Error != nil && !reflect.DeepEqual(got.Error, c.want.Error) {
				t.Errorf("got %+v %+v", got, got.Error)
			}
			if died := b.Stats().WorkerDeaths > 0; died != c.dies {
				t.Errorf("the worker died: %v", died)
			}
			if records := b.records(t); len(records) != 1 || records[0].Code != c.want.Code {
				t.Errorf("recorded was %+v", records)
			}
		})
	}
}

// TestExecutor_Run_repeat has the worker die before it sees an execution.
func TestExecutor_Run_repeat(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		b := newBench(t, nil)
		plan := b.script("app", "second")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			o, err := b.Run(t.Context(), ctx, plan, kvInvocation)
			if o.Code != "" {
				t.Errorf("got %+v", o)
			}
			done <- err
		}()
		var w *worker
		var e *execution
		for e == nil {
			runtime.Gosched()
			b.pool.mu.Lock()
			for w = range b.pool.live {
				w.mu.Lock()
				for _, e = range w.executions {
				}
				w.mu.Unlock()
			}
			b.pool.mu.Unlock()
		}
		w.mu.Lock()
		delete(w.executions, e.id)
		w.mu.Unlock()
		e.mu.Lock()
		e.repeat = true
		e.mu.Unlock()
		if cut {
			cancel()
		}
		e.wake()
		err := <-done
		if cut != errors.Is(err, ErrNotRun) {
			t.Errorf("cut off: %v, got %v", cut, err)
		}
		cancel()
	}
}

// TestExecutor_Run_besideRequests fills the events' part of the gate: requests of
// the same app are answered all the same.
func TestExecutor_Run_besideRequests(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	b := newBench(t, func(c *Config) { c.Services, c.Capacity, c.QueueWait = kv.services(), 4, time.Minute })
	holds := b.script("app", `calls kv.get ["hold","key"]`)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if o, err := b.Run(t.Context(), t.Context(), holds, kvInvocation); err != nil || o.Code != "" {
				t.Errorf("got %+v, %v", o, err)
			}
		})
	}
	<-kv.held // one of one app, since three quarters of two are one
	for b.Stats().Waiting != 19 {
		runtime.Gosched()
	}
	for range 10 {
		if got := b.get(t, b.script("app", "say hello")); got.body != "hello" {
			t.Errorf("got %+v", got)
		}
	}
	if o := b.deliver(t, b.script("other", "attempt"), kvInvocation); o.Code != "" {
		t.Errorf("another app's event: %+v", o)
	}
	if s := b.Stats(); s.Running != 1 || s.Waiting != 19 {
		t.Errorf("got %+v", s)
	}
	go func() {
		for range kv.held {
		}
	}()
	close(kv.release)
	all.Wait()
	close(kv.held)
}

// TestEngine_events runs handlers of events on the worker that users run.
func TestEngine_events(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	close(kv.release)
	worker := realWorker(t)
	b := newBench(t, func(c *Config) {
		worker(c)
		c.Services = kv.services()
	})
	module := func(handlers string) string {
		return "(async function(picloud){const {kv} = picloud; return {default:{" + handlers + "}}})"
	}
	event := func(handler, fields string) Invocation {
		return Invocation{
			Handler: handler, Trigger: "kv", EventID: "e1", Depth: 2, Attempt: 3,
			Event: json.RawMessage(`{"id":"e1","at":1767225600000,"attempt":3,"depth":2,` + fields + `}`),
		}
	}
	kvSet := event("trigger", `"kind":"kv","op":"set","collection":"c","key":"k","value":{"n":1}`)
	cron := event("scheduled", `"kind":"cron","op":"","cron":"@daily","scheduledTime":1767225600000`)
	post := asyncOf("POST", "http://h/items/7", strings.Repeat("x", 200<<10))
	post.Request.Params = map[string]string{"id": "7"}
	for _, c := range []struct {
		name, code string
		inv        Invocation
		limits     cloud.Limits
		want       Outcome
		message    string // of the error, a part
	}{
		{"a trigger", module(`async trigger(event, env, ctx) {
			const k = kv.collection("c");
			await k.set("seen", [event.id, event.kind, event.op, event.at.toISOString(), event.attempt, event.depth, event.collection, event.key, event.value.n, ctx.depth, ctx.attempt, ctx.eventId, ctx.requestId]);
			return "ignored"
		}`), kvSet, cloud.Limits{}, Outcome{}, ""},
		{"a schedule", module(`scheduled(event, env, ctx) { ctx.waitUntil(kv.collection("c").set("ran", [event.cron, event.scheduledTime])) }`), cron, cloud.Limits{}, Outcome{}, ""},
		{"a throw", module(`trigger() { throw new RangeError("broken") }`), kvSet, cloud.Limits{}, Outcome{Code: cloud.CodeScriptThrew}, "broken"},
		{"noRetry", module(`scheduled(event) { event.noRetry(); throw new Error("never") }`), cron, cloud.Limits{}, Outcome{Code: cloud.CodeScriptThrew, NoRetry: true}, "never"},
		{"no handler", handler(`return 1`), kvSet, cloud.Limits{}, Outcome{Code: cloud.CodeScriptThrew}, "no method trigger"},
		{"time", module(`async trigger() { await new Promise(r => setTimeout(r, 1e6)) }`), kvSet, cloud.Limits{Wall: 20 * time.Millisecond}, Outcome{Code: cloud.CodeTimeout}, "time limit of 20ms"},
		{"CPU", module(`trigger() { for (;;) {} }`), kvSet, cloud.Limits{CPU: 20 * time.Millisecond, Wall: time.Minute}, Outcome{Code: cloud.CodeCPU}, "CPU time limit"},
		{"memory", module(`trigger() { const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1)) }`), kvSet, cloud.Limits{}, Outcome{Code: cloud.CodeMemory}, "memory"},
		{"a request", handler(`const text = await request.text(); ctx.waitUntil(new Promise(r => setTimeout(r, 1)));
			return Response.json([text.length, ctx.params.id, ctx.eventId], {status: 201})`), post, cloud.Limits{}, Outcome{Status: 201}, ""},
		{"a request whose body is passed on", handler(`return new Response(request.body)`), post, cloud.Limits{}, Outcome{Status: 200}, ""},
		{"a request, with a failure", handler(`return new Response("", {status: 500})`), post, cloud.Limits{}, Outcome{Status: 500, Code: cloud.CodeScriptThrew}, "the handler answered with status 500"},
		{"a request that throws", handler(`throw new Error("async")`), post, cloud.Limits{}, Outcome{Code: cloud.CodeScriptThrew}, "async"},
		{"an answer without end", handler(`return new Response(new ReadableStream({pull(c) { c.enqueue(new Uint8Array(65536)) }}))`), post,
			cloud.Limits{CPU: 100 * time.Millisecond}, Outcome{Status: 200, Code: cloud.CodeCPU}, "CPU"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := b.script("app", c.code)
			plan.Script.Limits = c.limits.Or(cloud.DefaultLimits)
			got := b.deliver(t, plan, c.inv)
			if got.Code != c.want.Code || got.Status != c.want.Status || got.NoRetry != c.want.NoRetry ||
				(got.Error == nil) != (c.message == "") || got.Error != nil && !strings.Contains(got.Error.Message, c.message) {
				t.Errorf("got %+v %+v", got, got.Error)
			}
		})
	}
	call := cloud.Call{AppID: "app", ByScript: true}
	for key, want := range map[string]string{
		"seen": `["e1","kv","set","2026-01-01T00:00:00.000Z",3,2,"c","k",1,2,3,"e1","e1"]`,
		"ran":  `["@daily",1767225600000]`,
	} {
		if entry, _, err := kv.KV.Get(t.Context(), call, "c", key); string(entry.Value) != want || err != nil {
			t.Errorf("%s is %s, %v", key, entry.Value, err)
		}
	}

	t.Run("a worker that is killed", func(t *testing.T) {
		plan := b.script("killed", module(`async trigger() { await kv.collection("c").delete("k"); for (;;) await new Promise(r => setTimeout(r, 5)) }`))
		done := make(chan Outcome)
		go func() { done <- b.deliver(t, plan, kvSet) }()
		<-kv.held
		b.pool.mu.Lock()
		for w := range b.pool.live {
			if w.appID == "killed" {
				_ = unix.Kill(w.proc.cmd.Process.Pid, unix.SIGKILL)
			}
		}
		b.pool.mu.Unlock()
		if o := <-done; o.Code != cloud.CodeWorkerDied || o.Error == nil {
			t.Errorf("got %+v", o)
		}
		if o := b.deliver(t, b.script("killed", module(`trigger() {}`)), kvSet); o.Code != "" {
			t.Errorf("the next one: %+v", o)
		}
	})

	for name, body := range map[string]string{
		"that waits":                        `for (;;) await new Promise(r => setTimeout(r, 5))`,
		"in a loop":                         `for (;;) {}`,
		"that cannot be interrupted at all": `new Array(2 ** 32 - 1).fill(0).sort()`,
	} {
		t.Run("a script cut off "+name, func(t *testing.T) {
			plan := b.script("cut", module(`async trigger() { await kv.collection("c").delete("k"); `+body+` }`))
			plan.Script.Limits.CPU, plan.Script.Limits.Wall = time.Minute, time.Minute
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan Outcome)
			go func() {
				o, err := b.Run(t.Context(), ctx, plan, kvSet)
				if err != nil {
					t.Error(err)
				}
				done <- o
			}()
			<-kv.held
			cancel()
			if o := <-done; o.Code == "" {
				t.Errorf("got %+v", o)
			}
		})
	}
}

// TestEngine_eventBurst runs many events at once: what it holds meanwhile is
// bounded by the gate, and each runs once.
func TestEngine_eventBurst(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	worker := realWorker(t)
	b := newBench(t, func(c *Config) {
		worker(c)
		c.Services = kv.services()
	})
	const n = 2000
	plans := make([]*cloud.Plan, 2)
	for i := range plans {
		plans[i] = b.script(fmt.Sprint("app", i), "(async function(picloud){return {default:{async trigger(event){await picloud.kv.collection('c').increment('n')}}}})")
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if o, err := b.Run(t.Context(), t.Context(), plans[i%2], kvInvocation); err != nil || o.Code != "" {
				t.Errorf("got %+v %v, %v", o, o.Error, err)
			}
			if s := b.Stats(); s.Running > 16 {
				t.Errorf("%d run at once", s.Running)
			}
		})
	}
	all.Wait()
	for _, plan := range plans {
		entry, _, err := kv.KV.Get(t.Context(), cloud.Call{AppID: plan.App.ID, ByScript: true}, "c", "n")
		if string(entry.Value) != fmt.Sprint(n/2) || err != nil {
			t.Errorf("%s ran %s times, %v", plan.App.ID, entry.Value, err)
		}
	}
}
