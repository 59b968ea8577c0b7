package manager_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

func execution(appID, scriptID string, status int) cloud.Execution {
	return cloud.Execution{
		ID: cloud.NewID(), AppID: appID, ScriptID: scriptID, ScriptName: "till", Version: 3, Trigger: "http", RequestID: "r1",
		Method: "GET", Path: "/till", Status: status, StartedAt: now, Duration: 1500 * time.Microsecond, CPU: 250 * time.Microsecond, PeakMemory: 4096,
	}
}

func TestAPI_executions(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	app := s.must("GET", "/apps/default", nil)["id"].(string)
	script := s.must("PUT", "/apps/default/scripts/till", map[string]any{"source": endpoint("")})["id"].(string)
	good := execution(app, script, 200)
	good.ID = "01a20a20-0000-7000-8000-000000000001"
	bad := execution(app, script, 500)
	bad.ID = "01a20a20-0000-7000-8000-000000000002"
	bad.StartedAt = now.Add(time.Minute)
	bad.Code = cloud.CodeScriptThrew
	bad.Lines = []cloud.LogLine{{At: now, Level: "warn", Text: "no change\nleft"}}
	bad.Truncated = true
	bad.Error = &cloud.ScriptError{Name: "TypeError", Message: "x is not a function", Stack: "at fetch (till.ts:1:2)"}
	foreign := execution(app, cloud.NewID(), 200)
	foreign.ID = "01a20a20-0000-7000-8000-000000000003"
	foreign.ScriptName = "gone"
	if err := s.records.AppendExecutions(t.Context(), []cloud.Execution{good, bad, foreign}); err != nil {
		t.Fatal(err)
	}
	const (
		goodText = `{"id":"*","script":"till","version":3,"trigger":"http","event_id":null,"attempt":0,"depth":0,"cause_id":null,"request_id":"r1","method":"GET","path":"/till","status":200,"code":"",
			"started_at":"2026-11-23T12:00:00Z","duration_ms":1.5,"cpu_ms":0.25,"peak_memory_bytes":4096,"lines":[],"truncated":false,"error":null}`
		badText = `{"id":"*","script":"till","version":3,"trigger":"http","event_id":null,"attempt":0,"depth":0,"cause_id":null,"request_id":"r1","method":"GET","path":"/till","status":500,"code":"script_threw",
			"started_at":"2026-11-23T12:01:00Z","duration_ms":1.5,"cpu_ms":0.25,"peak_memory_bytes":4096,
			"lines":[{"at":"2026-11-23T12:00:00Z","level":"warn","text":"no change\nleft"}],"truncated":true,
			"error":{"name":"TypeError","message":"x is not a function","stack":"at fetch (till.ts:1:2)"}}`
	)
	goneText := strings.Replace(goodText, `"script":"till"`, `"script":"gone"`, 1)
	const at = "/apps/default/executions"
	s.owner("GET", at, nil).is(200, `{"items":[`+goneText+`,`+badText+`,`+goodText+`]}`)
	s.owner("GET", at+"?script=till", nil).is(200, `{"items":[`+badText+`,`+goodText+`]}`)
	s.owner("GET", at+"?failed=true", nil).is(200, `{"items":[`+badText+`]}`)
	s.owner("GET", at+"?limit=1&before="+foreign.ID, nil).is(200, `{"items":[`+badText+`]}`)
	s.owner("GET", at+"?since=2026-11-23T12:00:30Z", nil).is(200, `{"items":[`+badText+`]}`)
	s.owner("GET", at+"/"+bad.ID, nil).is(200, badText)

	s.owner("GET", at+"/"+cloud.NewID(), nil).fails(404, cloud.CodeNotFound, "", "…")
	s.owner("GET", at+"/7", nil).fails(404, cloud.CodeNotFound, "", `the app has no execution with the id "7"`)
	s.owner("GET", at+"?script=nothing", nil).fails(404, cloud.CodeNotFound, "", `the app has no script "nothing"`)
	s.owner("GET", at+"?before=7", nil).fails(422, cloud.CodeInvalid, "before", `"7" is no id of an execution`)
	s.owner("GET", at+"?since=yesterday", nil).fails(422, cloud.CodeInvalid, "since", "since: …")
	s.must("POST", "/apps", `{"slug":"other"}`)
	s.owner("GET", "/apps/other/executions/"+bad.ID, nil).fails(404, cloud.CodeNotFound, "", "…")
	s.owner("GET", "/apps/other/executions", nil).is(200, `{"items":[]}`)
}

// stream opens the event stream of till and returns its lines.
// find is an answer of /executions/{id} with its list of executions by their ids.
func (s *server) find(token, id string) (answer, []string) {
	s.t.Helper()
	a := s.as(token, "GET", "/api/v1/executions/"+id, nil)
	var ids []string
	if a.status == 200 {
		for _, e := range a.decode(200)["executions"].([]any) {
			ids = append(ids, e.(map[string]any)["id"].(string))
		}
	}
	return a, ids
}

func TestAPI_findExecution(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	app := s.must("GET", "/apps/shop", nil)["id"].(string)
	script := s.must("GET", "/apps/shop/scripts/a", nil)["id"].(string)
	state := func(what, id string, want string, executions ...string) {
		t.Helper()
		a, ids := s.find("owner", id)
		got := a.decode(200)
		delete(got, "executions")
		a.what, a.body = what, []byte(text(t, got))
		a.is(200, want)
		if !slices.Equal(ids, executions) {
			t.Errorf("%s: executions %v, want %v", what, ids, executions)
		}
	}

	good, bad := execution(app, script, 200), execution(app, script, 502)
	if err := s.records.AppendExecutions(t.Context(), []cloud.Execution{good, bad}); err != nil {
		t.Fatal(err)
	}
	state("a request that waited", good.ID, `{"id":"*","app":"shop","status":"succeeded","attempts":1,"next_at":null,"dead_letter":null}`, good.ID)
	state("one that failed", bad.ID, `{"id":"*","app":"shop","status":"failed","attempts":1,"next_at":null,"dead_letter":null}`, bad.ID)

	trigger := s.trigger(`{"script":"a","kind":"kv","retry":{"attempts":2}}`)
	event := s.fire(trigger)
	state("an event that waits", event, `{"id":"*","app":"shop","status":"queued","attempts":0,"next_at":"2026-11-23T12:00:00Z","dead_letter":null}`)
	d := s.claim(1)
	state("one that runs", event, `{"id":"*","app":"shop","status":"running","attempts":1,"next_at":null,"dead_letter":null}`)
	again := execution(app, script, 500)
	again.Trigger, again.EventID, again.Attempt, again.Depth, again.CauseID = "kv", event, 1, 2, good.ID
	if err := s.records.AppendExecutions(t.Context(), []cloud.Execution{again}); err != nil {
		t.Fatal(err)
	}
	settle := func(o events.Outcome) {
		t.Helper()
		if _, err := s.outbox.Settle(t.Context(), now, []events.Outcome{o}); err != nil {
			t.Fatal(err)
		}
	}
	settle(events.Outcome{Delivery: d[0], Fate: events.Retry, RetryAt: now.Add(time.Second), Reason: cloud.CodeScriptThrew})
	retrying := `{"id":"*","app":"shop","status":"retrying","attempts":1,"next_at":"2026-11-23T12:00:01Z","dead_letter":null}`
	state("one that will be tried again", event, retrying, again.ID)
	state("an attempt leads to its event", again.ID, retrying, again.ID)
	if e := s.must("GET", "/apps/shop/executions/"+again.ID, nil); e["trigger"] != "kv" || e["event_id"] != event || e["attempt"] != 1.0 || e["depth"] != 2.0 || e["cause_id"] != good.ID {
		t.Errorf("the attempt is %v", e)
	}

	lost := s.fire(trigger)
	s.die(lost)
	letter := s.letters("")[0]
	state("one that was given up", lost, `{"id":"*","app":"shop","status":"dead","attempts":1,"next_at":null,"dead_letter":"`+letter+`"}`)

	t.Run("for whom", func(t *testing.T) {
		for name, key := range map[string]*cloud.Key{
			"reader": {Scopes: []cloud.Scope{cloud.ScopeLogRead}}, "writer": {Scopes: []cloud.Scope{cloud.ScopeScriptWrite}},
			"elsewhere": {Scopes: cloud.Scopes, AppID: cloud.NewID()},
		} {
			s.let(name, cloud.Principal{UserID: cloud.NewID(), Name: name, Role: cloud.Owner, Key: key})
		}
		s.let("stranger", cloud.Principal{UserID: cloud.NewID(), Name: "stranger", Role: cloud.Member})
		for _, id := range []string{good.ID, event, lost} {
			if a, _ := s.find("reader", id); a.status != 200 {
				t.Errorf("reader: %d %s", a.status, a.body)
			}
			for _, who := range []string{"writer", "elsewhere", "stranger"} {
				a, _ := s.find(who, id)
				a.fails(404, cloud.CodeNotFound, "", `nothing is known of an execution or event "`+id+`", or it is too long ago, or not yours to see`)
			}
		}
		for _, id := range []string{cloud.NewID(), "7"} {
			a, _ := s.find("owner", id)
			a.fails(404, cloud.CodeNotFound, "", `nothing is known of an execution or event "`+id+`", or it is too long ago, or not yours to see`)
		}
	})
}

func (s *server) stream(ctx context.Context) (*http.Response, *bufio.Scanner) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", s.http.URL+"/api/v1/apps/default/executions:tail?script=till", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer owner")
	res, err := s.http.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, bufio.NewScanner(res.Body)
}

func TestAPI_tail(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	app := s.must("GET", "/apps/default", nil)["id"].(string)
	script := s.must("PUT", "/apps/default/scripts/till", map[string]any{"source": endpoint("")})["id"].(string)
	s.owner("GET", "/apps/default/executions:tail?script=nothing", nil).fails(404, cloud.CodeNotFound, "", `the app has no script "nothing"`)

	t.Run("each execution is an event, at once", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, lines := s.stream(ctx)
		defer func() { _ = res.Body.Close() }()
		if got := <-s.tailed; got != [2]string{app, script} {
			t.Errorf("tailed %v", got)
		}
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		for range 2 {
			e := execution(app, script, 200)
			s.events <- e
			var event []string
			for lines.Scan() && lines.Text() != "" {
				event = append(event, lines.Text())
			}
			if len(event) != 3 || event[0] != "event: execution" || event[1] != "id: "+e.ID || !strings.HasPrefix(event[2], `data: {"id":"`+e.ID+`"`) {
				t.Errorf("event = %q", event)
			}
		}
	})
	t.Run("the stream ends when the server stops", func(t *testing.T) {
		res, lines := s.stream(t.Context())
		defer func() { _ = res.Body.Close() }()
		<-s.tailed
		s.manager.Stop()
		s.manager.Stop()
		for lines.Scan() {
			t.Errorf("line %q", lines.Text())
		}
		if err := lines.Err(); err != nil {
			t.Error(err)
		}
	})
}

// A stream does not outlive what it was asked with.
func TestAPI_tailEndsWithItsCredential(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.manager.SetHeartbeat(time.Millisecond)
	mia := s.user("mia", cloud.Member)
	s.must("PUT", "/apps/default/members/mia", `{"role":"viewer"}`)
	key := s.as(mia, "POST", "/api/v1/me/keys", `{"name":"logs","scopes":["log:read"]}`).decode(201)
	for _, test := range []struct {
		name, token string
		end         func()
	}{
		{"a key that is revoked", key["token"].(string), func() {
			s.as(mia, "DELETE", "/api/v1/me/keys/"+key["key"].(map[string]any)["id"].(string), nil).empty()
		}},
		{"a session that ends", s.logIn("mia", passwordOf("mia")), func() { s.must("POST", "/users/mia/reset", nil) }},
		{"a member who is one no more", s.user("ben", cloud.Admin), func() { s.must("PATCH", "/users/ben", `{"role":"member"}`) }},
		{"a user who is no longer active", s.user("kim", cloud.Admin), func() { s.must("PATCH", "/users/kim", `{"active":false}`) }},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.http.URL+"/api/v1/apps/default/executions:tail", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+test.token)
		res, err := s.http.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		<-s.tailed
		if _, err := res.Body.Read(make([]byte, 1)); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %d %v", test.name, res.StatusCode, err)
		}
		test.end()
		if _, err := io.Copy(io.Discard, res.Body); err != nil { // ends, or the test hangs
			t.Errorf("%s: %v", test.name, err)
		}
		_ = res.Body.Close()
	}
}
