package caddycloud_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

const shop = "/api/v1/apps/default"

// until asks again and again until the answer is yes.
func (s *server) until(what string, yes func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if yes() {
			return
		}
	}
	log := readFile(s.t, s.log)
	s.t.Fatalf("after 30 s, still not: %s\nlog of the server:\n%s", what, log)
}

// trigger registers one and returns its id.
func (s *server) trigger(body string) string {
	s.t.Helper()
	return decode[struct{ ID string }](s, s.must(http.StatusCreated, http.MethodPost, shop+"/triggers", body)).ID
}

func (s *server) put(collection, key, value string) {
	s.t.Helper()
	s.must(http.StatusOK, http.MethodPut, shop+"/kv/"+collection+"/"+key, `{"value":`+value+`}`)
}

// entries are a collection's values by key; none while the database is away.
func (s *server) entries(collection string) map[string]json.RawMessage {
	s.t.Helper()
	status, answer := s.do(http.MethodGet, shop+"/kv/"+collection+"?values=true&limit=1000", "")
	if status == http.StatusNotFound || status == http.StatusServiceUnavailable {
		return nil
	}
	if status != http.StatusOK {
		s.t.Fatal(status, answer)
	}
	all := map[string]json.RawMessage{}
	for _, e := range decode[struct {
		Entries []struct {
			Key   string
			Value json.RawMessage
		}
	}](s, answer).Entries {
		all[e.Key] = e.Value
	}
	return all
}

// quiet waits until the outbox holds nothing.
func (s *server) quiet() {
	s.t.Helper()
	s.until("the outbox is empty", func() bool { return s.count("outbox") == 0 })
}

func (s *server) count(table string) (n int) {
	s.t.Helper()
	if err := s.pool.QueryRow(s.t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// fired is an event as a handler got it, and what its ctx said.
type fired struct {
	ID, Kind, Op, Collection, Key string
	Value                         json.RawMessage
	At                            time.Time
	Attempt, Depth                int
	Ctx                           struct {
		Depth, Attempt  int
		EventID, Caller string
	}
}

// recorder is a script that keeps the events that it gets in the collection seen.
const recorder = `import { kv } from "picloud";
const seen = kv.collection("seen");
const told = ({ depth, attempt, eventId, principal }) => ({ depth, attempt, eventId, caller: principal?.name ?? "" });
export default {
	trigger: (event, env, ctx) => seen.set(event.key ?? event.id, { ...event, ctx: told(ctx) }),
	scheduled: (event, env, ctx) => seen.set(String(event.scheduledTime), { ...event, ctx: told(ctx) }),
	async fetch(request, env, ctx) {
		const text = await request.text();
		const got = { method: request.method, url: request.url, headers: Object.fromEntries(request.headers), body: text.length + " times " + text[0], params: ctx.params, ctx: told(ctx) };
		await seen.set(ctx.eventId ?? "none", got);
		return new Response("nobody reads this", { status: 201 });
	},
};`

func TestEvents_KV(t *testing.T) {
	s := start(t)
	s.deploy("recorder", recorder)
	s.deploy("writer", `import { kv } from "picloud";
export default async () => { await kv.collection("orders-eu").set("by-script", 1); };`)
	s.trigger(`{"script":"recorder","kind":"kv","collection":"orders-*","ops":["set"]}`)

	s.put("other", "ignored", `1`)
	s.put("orders-eu", "by-api", `{"total":7}`)
	s.must(http.StatusNoContent, http.MethodDelete, shop+"/kv/orders-eu/by-api", "")
	s.must(http.StatusNoContent, http.MethodGet, "/writer", "")
	s.until("both writes are handled", func() bool { return len(s.entries("seen")) >= 2 })
	s.quiet()

	seen := s.entries("seen")
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, []string{"by-api", "by-script"}) {
		t.Fatalf("handled %q", got)
	}
	got := decode[fired](s, string(seen["by-api"]))
	if !cloud.IsID(got.ID) || got.Kind != "kv" || got.Op != "set" || got.Collection != "orders-eu" || string(got.Value) != `{"total":7}` ||
		time.Since(got.At).Abs() > time.Minute || got.Attempt != 1 || got.Depth != 1 {
		t.Errorf("got %+v", got)
	}
	if c := got.Ctx; c.Depth != 1 || c.Attempt != 1 || c.EventID != got.ID || c.Caller == "" {
		t.Errorf("its ctx: %+v", c)
	}
	// The execution says which event it was for, and which execution caused that.
	var cause string
	for _, e := range s.executions("writer") {
		cause = e.ID
	}
	for _, e := range s.executions("recorder") {
		if e.Trigger != "kv" || e.Attempt != 1 || e.Depth != 1 || e.EventID == "" || e.CauseID != "" && e.CauseID != cause {
			t.Errorf("got %+v", e)
		}
	}
}

type execution struct {
	ID, Trigger, Code string
	Status            int
	EventID           string `json:"event_id"`
	CauseID           string `json:"cause_id"`
	Attempt, Depth    int
}

func (s *server) executions(script string) []execution {
	s.t.Helper()
	return decode[struct{ Items []execution }](s, s.must(http.StatusOK, http.MethodGet, shop+"/executions?script="+script, "")).Items
}

func TestEvents_Cron(t *testing.T) {
	s := start(t)
	s.deploy("recorder", recorder)
	id := s.trigger(`{"script":"recorder","kind":"cron","schedule":"@every 1s"}`)
	s.until("it has run three times", func() bool { return len(s.entries("seen")) >= 3 })
	before := decode[struct {
		NextAt time.Time `json:"next_at"`
	}](s, s.must(http.StatusOK, http.MethodGet, shop+"/triggers/"+id, "")).NextAt
	if wait := time.Until(before); wait.Abs() > 10*time.Second {
		t.Errorf("the next run is at %v", before)
	}
	s.must(http.StatusOK, http.MethodPatch, shop+"/triggers/"+id, `{"enabled":false}`)
	s.quiet()
	for at, text := range s.entries("seen") {
		got := decode[struct {
			fired
			Cron          string
			ScheduledTime int64
		}](s, string(text))
		if got.Kind != "cron" || got.Cron != "@every 1s" || fmt.Sprint(got.ScheduledTime) != at || got.Depth != 0 {
			t.Errorf("got %+v", got)
		}
	}
}

// outcome is the answer about an event.
type outcome struct {
	Status     string
	Attempts   int
	Executions []execution
	DeadLetter string `json:"dead_letter"`
}

func (s *server) outcome(id string) outcome {
	s.t.Helper()
	return decode[outcome](s, s.must(http.StatusOK, http.MethodGet, "/api/v1/executions/"+id, ""))
}

func TestEvents_AsyncRoute(t *testing.T) {
	s := start(t)
	s.deploy("recorder", recorder)
	s.must(http.StatusCreated, http.MethodPost, shop+"/routes", `{"script":"recorder","path":"/jobs/:name","mode":"async"}`)

	body := strings.Repeat("é", cloud.MaxEventPayload/2)
	answer := decode[struct {
		ExecutionID string    `json:"execution_id"`
		AcceptedAt  time.Time `json:"accepted_at"`
	}](s, s.must(http.StatusAccepted, http.MethodPut, "/jobs/x?q=1", body))
	if time.Since(answer.AcceptedAt).Abs() > time.Minute {
		t.Errorf("accepted at %v", answer.AcceptedAt)
	}
	s.until("it has run", func() bool { return s.outcome(answer.ExecutionID).Status == "succeeded" })
	got := s.outcome(answer.ExecutionID)
	if got.Attempts != 1 || len(got.Executions) != 1 || got.Executions[0].Trigger != "async" || got.Executions[0].Status != 201 {
		t.Errorf("got %+v", got)
	}
	var request struct {
		Method, URL, Body string
		Params, Headers   map[string]string
		Ctx               struct{ EventID, Caller string }
	}
	if err := json.Unmarshal(s.entries("seen")[answer.ExecutionID], &request); err != nil {
		t.Fatal(err)
	}
	if request.Method != http.MethodPut || request.URL != s.url+"/jobs/x?q=1" || request.Body != fmt.Sprint(cloud.MaxEventPayload/2, " times é") || request.Params["name"] != "x" ||
		request.Headers["content-type"] != "application/json" || request.Ctx.EventID != answer.ExecutionID || request.Ctx.Caller == "" {
		t.Errorf("the script got %+v", request)
	}
	if _, has := request.Headers["authorization"]; has {
		t.Error("the caller's key reached the script")
	}
	if status, text := s.do(http.MethodPut, "/jobs/x", body+"é"); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: %d %s", status, text)
	}
	if n := s.count("outbox"); n != 0 {
		t.Errorf("%d deliveries are left", n)
	}
}

// TestEvents_AsyncRouteByBoundKey shows that a key for one app gives a script of
// another no rights, whether it is run at once or later.
func TestEvents_AsyncRouteByBoundKey(t *testing.T) {
	s := start(t)
	s.deploy("writer", `import { kv } from "picloud";
export default { async fetch(request, env, ctx) {
	try {
		await kv.collection("seen").set(ctx.caller?.name ?? "x", 1);
	} catch (e) {
		throw new Error("refused: " + e.code);
	}
	return new Response("done");
} };`)
	s.must(http.StatusCreated, http.MethodPost, shop+"/routes", `{"script":"writer","path":"/job","mode":"async"}`)
	var owner, here string
	if err := s.pool.QueryRow(t.Context(), `SELECT users.id::text, apps.id::text FROM users, apps WHERE role = 'owner' AND slug = 'default'`).Scan(&owner, &here); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ bound, want string }{{here, "succeeded"}, {s.otherApp(), "retrying"}} {
		key := s.userKey(owner, test.bound, "NULL", cloud.Scopes...)
		id := decode[struct {
			ExecutionID string `json:"execution_id"`
		}](s, s.by(key, http.StatusAccepted, http.MethodPost, "/job", "")).ExecutionID
		s.until("it has run", func() bool {
			state := s.outcome(id).Status
			return state != "queued" && state != "running"
		})
		if got := s.outcome(id); got.Status != test.want {
			t.Errorf("by a key bound to %s: %+v, want %s", test.bound, got, test.want)
		}
	}
}

// TestEvents_DeadLetter follows an event from its failures to its end: tried as
// often as its trigger says, given up, told to a handler, and replayed by it.
func TestEvents_DeadLetter(t *testing.T) {
	s := start(t)
	s.deploy("fragile", `import { kv } from "picloud";
export default { async trigger(event) {
	await kv.collection("tried").increment(event.id);
	if (!(await kv.collection("switch").get("mended"))) throw new RangeError("out of order");
	await kv.collection("seen").set(event.key, event.id);
} };`)
	s.deploy("undertaker", `import { kv, deadLetters } from "picloud";
export default { async trigger(event) {
	await kv.collection("told").set(event.deadLetterId, event);
	if (event.original.key === "replayed") {
		await kv.collection("switch").set("mended", true);
		await deadLetters.replay(event.deadLetterId);
	}
	if (event.original.key === "refused") throw new Error("not even this");
} };`)
	s.trigger(`{"script":"fragile","kind":"kv","collection":"orders","retry":{"attempts":3,"backoff":"constant","base_ms":100}}`)
	s.trigger(`{"script":"undertaker","kind":"dead_letter"}`)

	type letter struct {
		ID, Kind, Script, Reason, Resolution string
		Attempts                             int
		EventID                              string `json:"event_id"`
		ResolvedBy                           string `json:"resolved_by"`
	}
	letters := func() (all map[string]letter) {
		all = map[string]letter{}
		for _, l := range decode[struct{ Items []letter }](s, s.must(http.StatusOK, http.MethodGet, shop+"/dead-letters", "")).Items {
			full := decode[struct {
				Payload struct{ Key string }
			}](s, s.must(http.StatusOK, http.MethodGet, shop+"/dead-letters/"+l.ID, ""))
			all[full.Payload.Key] = l
		}
		return all
	}

	s.put("orders", "handled", `1`)
	s.put("orders", "refused", `2`)
	s.until("two are settled by handlers", func() bool {
		all := letters()
		return all["handled"].Resolution == "handled_by_script" && all["refused"].Resolution == "handler_failed"
	})
	handled := letters()["handled"]
	if handled.Kind != "kv" || handled.Script != "fragile" || handled.Reason != "script_threw" || handled.Attempts != 3 {
		t.Errorf("got %+v", handled)
	}
	told := decode[struct {
		Original  struct{ ID, Kind, Collection, Key string }
		Attempts  int
		LastError struct{ Name, Message, Stack string }
	}](s, string(s.entries("told")[handled.ID]))
	if told.Original.Key != "handled" || told.Original.ID != handled.EventID || told.Original.Collection != "orders" || told.Attempts != 3 ||
		told.LastError.Name != "RangeError" || told.LastError.Message != "out of order" || !strings.Contains(told.LastError.Stack, "fragile.js:4:") {
		t.Errorf("the handler was told %+v", told)
	}
	if got := s.outcome(handled.EventID); got.Status != "dead" || got.Attempts != 3 || len(got.Executions) != 3 || got.DeadLetter != handled.ID {
		t.Errorf("got %+v", got)
	}

	s.put("orders", "replayed", `3`)
	s.until("the third is delivered by its replay", func() bool { return s.entries("seen")["replayed"] != nil })
	s.quiet()
	if got := letters()["replayed"]; got.Resolution != "replayed" || got.ResolvedBy == "" {
		t.Errorf("got %+v", got)
	}
	if got := string(s.entries("tried")[letters()["replayed"].EventID]); got != "4" {
		t.Errorf("it was tried %s times, want 3 and 1", got)
	}

	// What is settled stays so; what its handler failed at may be replayed by hand.
	s.must(http.StatusConflict, http.MethodPost, shop+"/dead-letters/"+handled.ID+"/replay", "")
	s.must(http.StatusNoContent, http.MethodPost, shop+"/dead-letters/"+letters()["refused"].ID+"/replay", "")
	s.until("the second is delivered", func() bool { return s.entries("seen")["refused"] != nil })
}

// TestEvents_ReplayLoop shows that what always fails, and a handler that always
// replays it, come to an end.
func TestEvents_ReplayLoop(t *testing.T) {
	s := start(t)
	s.deploy("broken", `export default { trigger() { throw new Error("always"); } };`)
	s.deploy("optimist", `import { deadLetters } from "picloud";
export default { async trigger(event) { await deadLetters.replay(event.deadLetterId); } };`)
	s.trigger(`{"script":"broken","kind":"kv","collection":"orders","retry":{"attempts":1}}`)
	s.trigger(`{"script":"optimist","kind":"dead_letter","retry":{"attempts":1}}`)
	s.put("orders", "x", `1`)
	s.until("the last replay is refused", func() bool { return s.count("dead_letters WHERE resolution = 'handler_failed'") == 1 })
	s.quiet()
	// It is at depth 1, 3, 5 and 7, and its handler at depth 2, 4, 6 and 8.
	if n := s.count("dead_letters"); n != 4 {
		t.Errorf("%d dead letters, want 4", n)
	}
	s.until("it is in the log", func() bool { return strings.Contains(readFile(t, s.log), "a replay was refused") })
}

// TestEvents_Depth lets a script cause itself.
func TestEvents_Depth(t *testing.T) {
	s := start(t)
	s.deploy("chain", `import { kv } from "picloud";
const links = kv.collection("links");
export default { async trigger(event, env, ctx) { await links.set(String(Number(event.key) + 1), ctx.depth); } };`)
	s.trigger(`{"script":"chain","kind":"kv","collection":"links"}`)
	s.put("links", "0", `0`)
	s.until("the chain has its last link", func() bool { return s.entries("links")["8"] != nil })
	s.quiet()
	want := map[string]json.RawMessage{}
	for i := range cloud.MaxDepth + 1 {
		want[fmt.Sprint(i)] = json.RawMessage(fmt.Sprint(i))
	}
	if got := s.entries("links"); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := s.count("dead_letters"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	s.until("it is in the log", func() bool {
		return strings.Contains(readFile(t, s.log), "too many events have caused one another")
	})
}

// TestEvents_WithoutTheirUser shows that nothing runs in the name of a user who is
// inactive or gone: what changes causes nothing, and what is under way ends.
func TestEvents_WithoutTheirUser(t *testing.T) {
	for leave, path := range map[string]func(s *server, id string){
		"inactive": func(s *server, id string) {
			s.must(http.StatusOK, http.MethodPatch, "/api/v1/users/"+id, `{"active":false}`)
		},
		"deleted": func(s *server, id string) { s.must(http.StatusNoContent, http.MethodDelete, "/api/v1/users/"+id, "") },
	} {
		t.Run(leave, func(t *testing.T) {
			s := start(t)
			bob := s.user("bob", cloud.Admin, "correct horse battery")
			s.must(http.StatusOK, http.MethodPut, shop+"/members/bob", `{"role":"app_admin"}`)
			s.deploy("recorder", recorder)
			s.deploy("late", `export default { trigger() { throw new Error("not yet"); } };`)
			s.by(bob.session, http.StatusCreated, http.MethodPost, shop+"/triggers", `{"script":"recorder","kind":"kv","collection":"orders"}`)
			s.by(bob.session, http.StatusCreated, http.MethodPost, shop+"/triggers",
				`{"script":"late","kind":"kv","collection":"orders","retry":{"base_ms":3600000}}`)
			s.put("orders", "before", `1`)
			s.until("the one is handled", func() bool { return s.entries("seen")["before"] != nil })
			if got := decode[fired](s, string(s.entries("seen")["before"])); got.Ctx.Caller != "bob" {
				t.Errorf("it ran in the name of %q", got.Ctx.Caller)
			}
			s.until("the other waits for its second attempt", func() bool { return s.count("outbox WHERE attempt = 1 AND due_at > now()") == 1 })

			path(s, bob.id)
			s.put("orders", "after", `2`)
			s.sql(`UPDATE outbox SET due_at = now()`)
			s.deploy("waker", recorder)
			s.trigger(`{"script":"waker","kind":"kv","collection":"wake"}`)
			s.put("wake", "up", `1`)
			s.quiet()
			if s.entries("seen")["after"] != nil {
				t.Error("it ran for a user who is " + leave)
			}
			got := decode[struct {
				Items []struct{ Script, Reason string }
			}](s, s.must(http.StatusOK, http.MethodGet, shop+"/dead-letters", ""))
			if len(got.Items) != 1 || got.Items[0].Script != "late" || got.Items[0].Reason != string(cloud.CodeForbidden) {
				t.Errorf("dead letters: %+v", got.Items)
			}
		})
	}
}
