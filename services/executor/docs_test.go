package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
)

// notedLetters notes what is asked of dead letters.
type notedLetters struct {
	mu    sync.Mutex
	notes []string
}

func (n *notedLetters) note(call cloud.Call, words ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes = append(n.notes, fmt.Sprint(append(words, call.AppID, call.Depth)...))
	return nil
}

func (n *notedLetters) Replay(_ context.Context, call cloud.Call, id string) error {
	return n.note(call, "replay ", id, " ")
}

func (n *notedLetters) Resolve(_ context.Context, call cloud.Call, id, reason string) error {
	return n.note(call, "resolve ", id, ": ", reason, " ")
}

// documented are the scripts in the section of docs/scripts.md about events.
func documented(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/scripts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Events\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var scripts []string
	for _, match := range regexp.MustCompile("(?s)```ts\n(.*?)```").FindAllStringSubmatch(section, -1) {
		scripts = append(scripts, match[1])
	}
	if !found || len(scripts) != 5 {
		t.Fatalf("docs/scripts.md has %d scripts about events, want 5", len(scripts))
	}
	return scripts
}

// TestDocs_events runs the examples of docs/scripts.md.
func TestDocs_events(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	letters := &notedLetters{}
	worker := realWorker(t)
	b := newBench(t, func(c *Config) {
		worker(c)
		c.Services = kv.services().WithDeadLetters(letters)
	})
	go func() {
		for range kv.held {
		}
	}()
	t.Cleanup(func() { close(kv.held) })
	call := cloud.Call{AppID: "app", ByScript: true}
	builder := build.New(build.Config{})
	var plans []*cloud.Plan
	for _, text := range documented(t) {
		built, err := builder.Build(t.Context(), cloud.Source{Name: "script", Language: cloud.TypeScript, Text: text}, nil)
		if err != nil {
			t.Fatal(err)
		}
		plan := b.script("app", built.Code)
		plan.Script.Build = &built
		plans = append(plans, plan)
	}
	scheduled, titles, changes, failures, orders := plans[0], plans[1], plans[2], plans[3], plans[4]
	event := func(handler, fields string) Invocation {
		return Invocation{
			Handler: handler, EventID: "e1", Attempt: 2, Depth: 1,
			Event: json.RawMessage(`{"id":"e1","at":1767225600000,"attempt":2,"depth":1,` + fields + `}`),
		}
	}
	request := asyncOf("POST", "http://h/orders", `{"item":"lamp"}`)
	request.Attempt = 2
	if _, err := kv.Set(t.Context(), call, "posts", "large", json.RawMessage(`{"title":"Large"}`), cloud.KVSet{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		plan            *cloud.Plan
		inv             Invocation
		collection, key string
		want            string // the value then; "" for none
	}{
		{scheduled, event("scheduled", `"kind":"cron","op":"","cron":"@daily","scheduledTime":1767225600000`), "reports", "2026-01-01", `{"visits":0,"cron":"@daily"}`},
		{titles, event("trigger", `"kind":"kv","op":"set","collection":"posts","key":"p","value":{"title":"First"}`), "titles", "p", `"First"`},
		{titles, event("trigger", `"kind":"kv","op":"set","collection":"posts","key":"large","valueOmitted":true`), "titles", "large", `"Large"`},
		{titles, event("trigger", `"kind":"kv","op":"delete","collection":"posts","key":"p"`), "titles", "p", ``},
		{changes, event("trigger", `"kind":"kv","op":"set","collection":"posts","key":"p","value":1`), "changes", "set", `1`},
		{changes, event("trigger", `"kind":"kv","op":"set","collection":"posts","key":"p","value":1`), "changes", "set", `1`}, // once more
		{failures, event("trigger", `"kind":"dead_letter","op":"","deadLetterId":"d1","attempts":5,"lastError":{"name":"Error","message":"broken"},"original":{"id":"e0","kind":"cron","op":"","at":1}`),
			"failures", "d1", `{"what":"cron","why":"broken","tried":5}`},
		{failures, event("trigger", `"kind":"dead_letter","op":"","deadLetterId":"d2","attempts":5,"lastError":null,"original":{"id":"e0","kind":"kv","op":"set","at":1,"collection":"gone","key":"k"}`),
			"failures", "d2", ``},
		{orders, request, "orders", "event", `{"item":"lamp","attempt":2}`},
	} {
		if o := b.deliver(t, c.plan, c.inv); o.Code != "" {
			t.Errorf("%s: %+v %+v", c.inv.Event, o, o.Error)
		}
		entry, _, err := kv.KV.Get(t.Context(), call, c.collection, c.key)
		if string(entry.Value) != c.want || err != nil {
			t.Errorf("%s: %s/%s is %s, %v, want %s", c.inv.Event, c.collection, c.key, entry.Value, err, c.want)
		}
	}
	if len(letters.notes) != 1 || letters.notes[0] != "resolve d2: the entry is gone app1" {
		t.Errorf("asked of dead letters was %q", letters.notes)
	}
}
