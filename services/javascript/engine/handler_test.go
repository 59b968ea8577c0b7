package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// handles is a module whose default export has one handler of events.
func handles(name, body string) string {
	return "return {default: {async " + name + "(event, env, ctx) {" + body + "}}}"
}

// eventFor makes a start that of an event.
func eventFor(handler, event string) func(*wire.Start) {
	return func(s *wire.Start) {
		s.Handler, s.Event, s.Method, s.URL, s.Headers = handler, []byte(event), "", "", nil
		s.Depth, s.Attempt, s.EventID = 2, 3, "e1"
	}
}

const (
	kvEvent   = `{"id":"e1","kind":"kv","op":"set","at":1767225600000,"attempt":3,"depth":2,"collection":"c","key":"k","value":{"at":1}}`
	cronEvent = `{"id":"e1","kind":"cron","op":"","at":1767225601000,"attempt":3,"depth":2,"cron":"@hourly","scheduledTime":1767225600000}`
	deadEvent = `{"id":"e1","kind":"dead_letter","op":"","at":1767225600000,"attempt":1,"depth":2,"deadLetterId":"d1","attempts":5,"lastError":{"name":"Error","message":"m"},` +
		`"original":{"id":"e0","kind":"kv","op":"delete","at":1767139200000,"collection":"c","key":"k"}}`
)

func TestRun_Events(t *testing.T) {
	for _, c := range []struct {
		name, code, event string
		want              string // the first console line
	}{
		{"the fields of a kv event", handles("trigger", `console.log(JSON.stringify(event), event.at instanceof Date, event.value.at)`), kvEvent,
			`{"id":"e1","kind":"kv","op":"set","at":"2026-01-01T00:00:00.000Z","attempt":3,"depth":2,"collection":"c","key":"k","value":{"at":1}} true 1`},
		{"a dead letter's original", handles("trigger", `console.log(event.original.at.toISOString(), event.lastError.message, "value" in event.original, event.noRetry)`), deadEvent,
			`2025-12-31T00:00:00.000Z m false undefined`},
		{"a schedule's controller", handles("scheduled", `console.log(JSON.stringify(event), Object.keys(structuredClone(event)).length, event.scheduledTime, event.cron, event.noRetry())`), cronEvent,
			`{"id":"e1","kind":"cron","op":"","at":"2026-01-01T00:00:01.000Z","attempt":3,"depth":2,"cron":"@hourly","scheduledTime":1767225600000} 8 1767225600000 @hourly undefined`},
		{"it is a plain object", handles("trigger", `event.mine = 1; delete event.op; console.log(Object.getPrototypeOf(event) === Object.prototype, event.mine, event.op)`), kvEvent, `true 1 undefined`},
		{"what ctx says", handles("trigger", `console.log(ctx.depth, ctx.attempt, ctx.eventId, JSON.stringify(ctx.params), ctx.principal)`), kvEvent, `2 3 e1 {"id":"7"} null`},
		{"a handler that no kind has yet", handles("queue", `console.log(event.kind)`), `{"kind":"queue"}`, `queue`},
		{"what is returned is awaited and ignored", handles("trigger", `return new Promise(r => setTimeout(r, 2)).then(() => { console.log("done"); return () => {} })`), kvEvent, `done`},
		{"waitUntil is awaited", handles("trigger", `ctx.waitUntil(new Promise(r => setTimeout(r, 2)).then(() => console.log("late")))`), kvEvent, `late`},
		{"this is the default export", `return {default: {word: "hi", trigger() { console.log(this.word) }}}`, kvEvent, `hi`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			handler := "trigger"
			for _, name := range []string{"scheduled", "queue"} {
				if strings.Contains(c.code, "async "+name+"(") {
					handler = name
				}
			}
			h, end, r := run(t, c.code, func(s *wire.Start) {
				eventFor(handler, c.event)(s)
				s.Params = []wire.Header{{Name: "id", Value: "7"}}
			}, nil)
			if end.Code != "" || len(h.lines) != 1 || h.lines[0].Text != c.want {
				t.Errorf("end %+v %+v, lines %q", end, end.Error, h.lines)
			}
			if end.NoRetry != strings.Contains(c.code, "noRetry()") {
				t.Errorf("NoRetry is %v", end.NoRetry)
			}
			if h.head.Status != 0 || h.ended {
				t.Errorf("it answered with %+v", h.head)
			}
			if !r.Reusable() {
				t.Error("the runtime is not reusable")
			}
		})
	}
}

func TestRun_EventFailures(t *testing.T) {
	for _, c := range []struct {
		name, code string
		want       cloud.Code
		message    string
		noRetry    bool
	}{
		{"an exception", handles("trigger", `throw new RangeError("boom")`), cloud.CodeScriptThrew, "boom", false},
		{"an exception for good", `return {default: {trigger(event) { throw new Error("x") }, scheduled(event) { event.noRetry(); throw new Error("no more") }}}`, cloud.CodeScriptThrew, "no more", true},
		{"what was given to waitUntil", handles("trigger", `ctx.waitUntil(Promise.reject(new Error("late")))`), cloud.CodeScriptThrew, "late", false},
		{"of several the first", handles("trigger", `ctx.waitUntil(Promise.reject(new Error("first"))); ctx.waitUntil(Promise.reject(new Error("second")))`), cloud.CodeScriptThrew, "first", false},
		{"a promise that never settles", handles("trigger", `await new Promise(() => {})`), cloud.CodeScriptThrew, "never ends", false},
		{"waitUntil that never settles", handles("trigger", `ctx.waitUntil(new Promise(() => {}))`), cloud.CodeScriptThrew, "never ends", false},
		{"no such method", fetch(`return 1`), cloud.CodeScriptThrew, "no method trigger; write export default { trigger(event, env, ctx) { … } }", false},
		{"a function alone is fetch", `return {default: () => 1}`, cloud.CodeScriptThrew, "no method trigger", false},
		{"no default export", `return {trigger() {}}`, cloud.CodeScriptThrew, "no default export; write export default { trigger(", false},
		{"too long", handles("trigger", `await new Promise(r => setTimeout(r, 1e6))`), cloud.CodeTimeout, "time limit", false},
		{"an endless loop", handles("trigger", `for (;;) {}`), cloud.CodeCPU, "CPU time limit", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, end, _ := run(t, c.code, func(s *wire.Start) {
				eventFor("trigger", kvEvent)(s)
				if c.noRetry {
					s.Handler = "scheduled"
				}
				switch c.want {
				case cloud.CodeTimeout:
					s.Wall = 20 * time.Millisecond
				case cloud.CodeCPU:
					s.CPU = 50 * time.Millisecond
				}
			}, nil)
			if end.Code != string(c.want) || end.Error == nil || !strings.Contains(end.Error.Message, c.message) || end.NoRetry != c.noRetry {
				t.Errorf("end %+v %+v", end, end.Error)
			}
			if h.head.Status != 0 {
				t.Errorf("it answered with %+v", h.head)
			}
		})
	}
}

// A realm is used again: what one event left behind is not the next one's.
func TestRun_EventsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	r := NewRuntime(mustCompile(t, `let kept, settle; return {default: {
		fetch(request, env, ctx) { settle?.(new Error("old")); kept?.noRetry(); ctx.waitUntil(new Promise(r => setTimeout(r, 1)).then(() => console.log("waited"))); return [ctx.attempt, ctx.eventId] },
		scheduled(event, env, ctx) { kept = event; ctx.waitUntil(new Promise((_, reject) => settle = reject)) },
	}}`))
	s := startOf("GET", "http://localhost/")
	eventFor("scheduled", cronEvent)(&s)
	h := &recorder{}
	h.x = NewExecution(s, h)
	if end := r.Run(h.x, nil); end.Error == nil || !strings.Contains(end.Error.Message, "never ends") {
		t.Errorf("the event: %+v", end)
	}
	h = &recorder{}
	h.x = NewExecution(startOf("GET", "http://localhost/"), h)
	if end := r.Run(h.x, nil); end.Code != "" || end.NoRetry || string(h.body) != "[1,null]" || len(h.lines) != 1 || h.lines[0].Text != "waited" {
		t.Errorf("the request: %+v %s %+v", end, h.body, h.lines)
	}
}
