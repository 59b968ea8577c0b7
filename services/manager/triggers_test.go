package manager_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/manager"
)

// triggered is an API with the app shop, its endpoints a and b and the module
// lib; the time is now, and goes on with s.clock.
func triggered(t *testing.T) *server {
	t.Helper()
	s := start(t, func(s *server, c *manager.Config) {
		c.Now = func() time.Time { return now.Add(time.Duration(s.clock.Load()) * time.Second) }
	})
	s.must("POST", "/apps", `{"slug":"shop"}`)
	s.must("PUT", "/apps/shop/scripts/a", map[string]any{"source": endpoint("")})
	s.must("PUT", "/apps/shop/scripts/b", map[string]any{"source": endpoint("")})
	s.must("PUT", "/apps/shop/scripts/lib", map[string]any{"kind": "module", "source": "export const x = 1"})
	s.must("PUT", "/apps/default/scripts/home", map[string]any{"source": endpoint("")})
	return s
}

// trigger adds one to shop and returns its id.
func (s *server) trigger(body string) string {
	s.t.Helper()
	return s.must("POST", "/apps/shop/triggers", body)["id"].(string)
}

const defaultRetry = `{"attempts":5,"backoff":"exponential","base_ms":1000,"cap_ms":3600000}`

func TestAPI_triggers(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	const at = "/apps/shop/triggers"
	s.owner("GET", at, nil).is(200, `{"items":[]}`)

	kv := `{"id":"*","script":"a","kind":"kv","collection":"orders","key":"2026-*","ops":["set"],"enabled":true,"retry":` + defaultRetry + `,"user":"olga","next_at":null,"created_at":"*","updated_at":"*"}`
	added := s.owner("POST", at, `{"script":"a","kind":"kv","collection":"orders","key":"2026-*","ops":["set"]}`)
	added.is(201, kv)
	one := added.decode(201)["id"].(string)
	s.owner("GET", at+"/"+one, nil).is(200, kv)

	cron := `{"id":"*","script":"b","kind":"cron","schedule":"0 7 * * *","time_zone":"Europe/Berlin","enabled":true,
		"retry":{"attempts":2,"backoff":"linear","base_ms":500,"cap_ms":60000},"user":"olga","next_at":"2026-11-24T06:00:00Z","created_at":"*","updated_at":"*"}`
	added = s.owner("POST", at, `{"script":"b","kind":"cron","schedule":"0 7 * * *","time_zone":"Europe/Berlin","retry":{"attempts":2,"backoff":"linear","base_ms":500,"cap_ms":60000}}`)
	added.is(201, cron)
	two := added.decode(201)["id"].(string)

	dead := `{"id":"*","script":"b","kind":"dead_letter","enabled":false,"retry":` + strings.Replace(defaultRetry, "5", "1", 1) + `,"user":"olga","next_at":null,"created_at":"*","updated_at":"*"}`
	s.owner("POST", at, `{"script":"b","kind":"dead_letter","enabled":false}`).is(201, dead)
	s.owner("GET", at, nil).is(200, `{"items":[`+kv+`,`+cron+`,`+dead+`]}`)

	t.Run("a change leaves the rest", func(t *testing.T) {
		changed := strings.Replace(strings.Replace(kv, `"key":"2026-*","ops":["set"],`, `"key":"x",`, 1), `"attempts":5`, `"attempts":7`, 1)
		s.owner("PATCH", at+"/"+one, `{"key":"x","ops":[],"retry":{"attempts":7}}`).is(200, changed)
		s.owner("PATCH", at+"/"+one, `{}`).is(200, changed)
		s.owner("PATCH", at+"/"+one, `{"script":"b","enabled":false}`).is(200,
			strings.Replace(strings.Replace(changed, `"script":"a"`, `"script":"b"`, 1), `"enabled":true`, `"enabled":false`, 1))
	})
	t.Run("a schedule", func(t *testing.T) {
		s.owner("PATCH", at+"/"+two, `{"enabled":false}`).is(200, strings.NewReplacer(`"enabled":true`, `"enabled":false`, `"2026-11-24T06:00:00Z"`, `null`).Replace(cron))
		s.owner("PATCH", at+"/"+two, `{"enabled":true}`).is(200, cron)
		s.owner("PATCH", at+"/"+two, `{"schedule":"@hourly","time_zone":""}`).is(200, strings.NewReplacer(
			`"schedule":"0 7 * * *","time_zone":"Europe/Berlin"`, `"schedule":"@hourly"`, "2026-11-24T06:00:00Z", "2026-11-23T13:00:00Z").Replace(cron))
	})
	t.Run("removal", func(t *testing.T) {
		s.owner("DELETE", at+"/"+one, nil).empty()
		for _, id := range []string{one, cloud.NewID(), "7"} {
			gone := fmt.Sprintf("the app has no trigger %q", id)
			s.owner("GET", at+"/"+id, nil).fails(404, cloud.CodeNotFound, "", gone)
			s.owner("PATCH", at+"/"+id, `{}`).fails(404, cloud.CodeNotFound, "", gone)
			s.owner("DELETE", at+"/"+id, nil).fails(404, cloud.CodeNotFound, "", gone)
			s.owner("POST", at+"/"+id+"/fire", nil).fails(404, cloud.CodeNotFound, "", gone)
		}
		s.owner("GET", "/apps/default/triggers/"+two, nil).fails(404, cloud.CodeNotFound, "", "…")
	})
	t.Run("with the script", func(t *testing.T) {
		s.owner("PUT", "/apps/shop/scripts/b", map[string]any{"kind": "module", "source": "export const x = 1"}).
			fails(422, cloud.CodeInvalid, "kind", `"b" cannot become a module while a trigger of the kind cron runs it; delete the trigger `+two+` first`)
		s.owner("DELETE", "/apps/shop/scripts/b", nil).empty()
		s.owner("GET", at, nil).is(200, `{"items":[]}`)
	})
}

// A run that has come and was not fired yet is not lost by a change of something
// else, and not made up for by a change of the schedule.
func TestAPI_triggersWhoseRunIsDue(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	id := s.trigger(`{"script":"a","kind":"cron","schedule":"@every 1h"}`)
	change := func(body, next string) {
		t.Helper()
		if got := s.must("PATCH", "/apps/shop/triggers/"+id, body)["next_at"]; got != next {
			t.Errorf("after %s the next run is %v, want %s", body, got, next)
		}
	}
	s.clock.Store(2*3600 + 60)
	change(`{"retry":{"attempts":2}}`, "2026-11-23T13:00:00Z")
	change(`{"schedule":"@every 1h","enabled":true}`, "2026-11-23T13:00:00Z")
	change(`{"schedule":"@every 2h"}`, "2026-11-23T16:01:00Z")
	s.must("PATCH", "/apps/shop/triggers/"+id, `{"enabled":false}`)
	s.clock.Store(24 * 3600)
	change(`{"enabled":true}`, "2026-11-24T14:00:00Z")
}

func TestAPI_triggersRefused(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	id := s.trigger(`{"script":"a","kind":"kv"}`)
	for _, test := range []struct{ body, field, detail string }{
		{`{"kind":"kv"}`, "script", `script: is missing`},
		{`{"script":"a"}`, "kind", `kind: is missing`},
		{`{"script":"c","kind":"kv"}`, "script", `the app has no script "c"`},
		{`{"script":"lib","kind":"kv"}`, "script", `"lib" is a module, which others import; only an endpoint can have triggers`},
		{`{"script":"a","kind":"http"}`, "kind", `"http" is none of cron, dead_letter, kv`},
		{`{"script":"a","kind":"kv","schedule":"@hourly"}`, "schedule", `only the kind cron has one`},
		{`{"script":"a","kind":"kv","ops":["get"]}`, "ops", `"get" is no operation of the kind kv; it has set, delete`},
		{`{"script":"a","kind":"cron"}`, "schedule", `…`},
		{`{"script":"a","kind":"cron","schedule":"@hourly","time_zone":"Mars"}`, "time_zone", `"Mars" is no time zone that is known here, such as Europe/Berlin`},
		{`{"script":"a","kind":"kv","retry":{"attempts":0}}`, "retry.attempts", `retry.attempts: expected number >= 1`},
		{`{"script":"a","kind":"kv","retry":{"attempts":21}}`, "retry.attempts", `retry.attempts: expected number <= 20`},
		{`{"script":"a","kind":"kv","retry":{"backoff":"fibonacci"}}`, "retry.backoff", `…`},
		{`{"script":"a","kind":"kv","retry":{"base_ms":2000,"cap_ms":1000}}`, "retry.base_ms", `…`},
		{`{"script":"a","kind":"kv","user":"mia"}`, "user", `user: there is no such field`},
	} {
		s.owner("POST", "/apps/shop/triggers", test.body).fails(422, cloud.CodeInvalid, test.field, test.detail)
	}
	s.owner("PATCH", "/apps/shop/triggers/"+id, `{"kind":"cron"}`).fails(422, cloud.CodeInvalid, "kind", "kind: there is no such field")
	s.owner("PATCH", "/apps/shop/triggers/"+id, `{"script":"lib"}`).fails(422, cloud.CodeInvalid, "script", "…")
	s.owner("PATCH", "/apps/shop/triggers/"+id, `{"schedule":"@hourly"}`).fails(422, cloud.CodeInvalid, "schedule", "only the kind cron has one")
	if got := s.must("GET", "/apps/shop/triggers", nil)["items"].([]any); len(got) != 1 {
		t.Errorf("%d triggers, want 1", len(got))
	}
}

func TestAPI_triggersQuota(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *server, c *manager.Config) { c.Quotas.Triggers = 2 })
	s.must("PUT", "/apps/default/scripts/a", map[string]any{"source": endpoint("")})
	for range 2 {
		s.must("POST", "/apps/default/triggers", `{"script":"a","kind":"kv"}`)
	}
	s.owner("POST", "/apps/default/triggers", `{"script":"a","kind":"kv"}`).fails(507, cloud.CodeLimit, "", "the app has 2 triggers, the most it may have")
}

// Whose a trigger is: that of who registered it, with their key's scopes, until
// somebody else changes it.
func TestAPI_triggersRunAsTheirUsers(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	once := s.must("POST", "/users", `{"name":"mia"}`)["password"].(string)
	s.must("PUT", "/apps/shop/members/mia", `{"role":"app_admin"}`)
	mia := s.as("", "POST", "/api/v1/sessions", map[string]any{"name": "mia", "password": once, "new_password": passwordOf("mia")}).decode(201)["token"].(string)
	key := s.as(mia, "POST", "/api/v1/me/keys", `{"name":"ci","scopes":["app:admin","script:read"]}`).decode(201)["token"].(string)
	stored := func(id string) (user string, scopes []cloud.Scope) {
		t.Helper()
		app := s.must("GET", "/apps/shop", nil)["id"].(string)
		tr, err := s.manager.Trigger(t.Context(), app, id)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(tr.Scopes)
		return tr.UserName, tr.Scopes
	}
	check := func(what, id, user string, scopes []cloud.Scope) {
		t.Helper()
		if gotUser, got := stored(id); gotUser != user || !reflect.DeepEqual(got, scopes) {
			t.Errorf("%s: runs as %s with %v, want %s with %v", what, gotUser, got, user, scopes)
		}
	}
	keyed := []cloud.Scope{cloud.ScopeAppAdmin, cloud.ScopeScriptRead}

	id := s.as(key, "POST", "/api/v1/apps/shop/triggers", `{"script":"a","kind":"kv"}`).decode(201)["id"].(string)
	check("registered with a key", id, "mia", keyed)
	s.owner("POST", "/apps/shop/triggers/"+id+"/fire", nil).decode(202)
	check("fired by another", id, "mia", keyed)
	s.must("PATCH", "/apps/shop/triggers/"+id, `{"retry":{"attempts":1}}`)
	check("changed by another, in a session", id, "olga", nil)
	s.as(key, "PATCH", "/api/v1/apps/shop/triggers/"+id, `{"enabled":false}`).decode(200)
	check("changed with a key", id, "mia", keyed)
	s.owner("DELETE", "/users/mia", nil).empty()
	check("the user is gone", id, "", keyed)
	if got := s.must("GET", "/apps/shop/triggers/"+id, nil)["user"]; got != "" {
		t.Errorf("the user is %v", got)
	}
}

func TestAPI_triggersAccess(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	id := s.trigger(`{"script":"a","kind":"kv"}`)
	home := s.must("POST", "/apps/default/triggers", `{"script":"home","kind":"kv"}`)["id"].(string)
	shop := s.must("GET", "/apps/shop", nil)["id"].(string)
	own := s.must("GET", "/apps/default", nil)["id"].(string)
	for _, role := range []cloud.AppRole{cloud.Viewer, cloud.Editor, cloud.AppAdminRole} {
		s.let(string(role), cloud.Principal{UserID: cloud.NewID(), Name: string(role), Role: cloud.Member, Apps: map[string]cloud.AppRole{shop: role, own: role}})
	}
	s.let("deployer", cloud.Principal{UserID: cloud.NewID(), Name: "deployer", Role: cloud.Owner, Key: &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeScriptWrite, cloud.ScopeScriptRead}}})
	for _, test := range []struct {
		who, app, id string
		reads        bool
		why          string // of the refusal to change
	}{
		{"viewer", "shop", id, true, "viewer may not do this (AppManageTriggers): it takes the role app_admin in the app"},
		{"editor", "shop", id, true, "editor may not do this (AppManageTriggers): it takes the role app_admin in the app"},
		{"deployer", "shop", id, true, "deployer may not do this (AppManageTriggers): the API key lacks the scope app:admin"},
		{"app_admin", "default", home, true, `what runs in the app "default" shares the dashboard's origin…`},
	} {
		at := "/api/v1/apps/" + test.app + "/triggers"
		s.as(test.who, "GET", at, nil).decode(200)
		s.as(test.who, "GET", at+"/"+test.id, nil).decode(200)
		s.as(test.who, "POST", at, `{"script":"a","kind":"kv"}`).fails(403, cloud.CodeForbidden, "", test.why)
		s.as(test.who, "PATCH", at+"/"+test.id, `{"enabled":false}`).fails(403, cloud.CodeForbidden, "", test.why)
		s.as(test.who, "DELETE", at+"/"+test.id, nil).fails(403, cloud.CodeForbidden, "", test.why)
		s.as(test.who, "POST", at+"/"+test.id+"/fire", nil).fails(403, cloud.CodeForbidden, "", test.why)
	}
}

func TestAPI_fire(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	sample := s.trigger(`{"script":"a","kind":"kv","collection":"orders","retry":{"attempts":3}}`)
	off := s.trigger(`{"script":"b","kind":"cron","schedule":"@hourly","enabled":false}`)
	first := s.owner("POST", "/apps/shop/triggers/"+sample+"/fire", `{"payload":{"collection":"orders","key":"7","value":null}}`).decode(202)["event_id"].(string)
	second := s.owner("POST", "/apps/shop/triggers/"+off+"/fire", nil).decode(202)["event_id"].(string)
	claimed := s.claim(2)
	byEvent := map[string]cloud.Delivery{}
	for _, d := range claimed {
		byEvent[d.EventID] = d
	}
	if d := byEvent[first]; d.TriggerID != sample || d.Kind != cloud.EventKV || d.Op != "test" || d.Retry.Attempts != 3 || !sameJSON(t, d.Payload, `{"collection":"orders","key":"7","value":null}`) {
		t.Errorf("fired %+v with %s", d, d.Payload)
	}
	if d := byEvent[second]; d.TriggerID != off || d.Kind != cloud.EventCron || !sameJSON(t, d.Payload, fmt.Sprintf(`{"cron":"@hourly","scheduledTime":%d}`, now.UnixMilli())) {
		t.Errorf("fired %+v with %s", d, d.Payload)
	}
	at := "/apps/shop/triggers/" + sample + "/fire"
	s.owner("POST", at, `{"payload":[1]}`).fails(422, cloud.CodeInvalid, "payload", "is no JSON object")
	s.owner("POST", at, `{"payload":null}`).fails(422, cloud.CodeInvalid, "payload", "is no JSON object")
	s.owner("POST", at, map[string]any{"payload": map[string]any{"x": strings.Repeat("x", cloud.MaxEventPayload)}}).fails(507, cloud.CodeLimit, "", "…")
	if d := s.claim(10); len(d) != 0 {
		t.Errorf("refused payloads were fired: %+v", d)
	}
}

// claim leases at most n deliveries that are due at now.
func (s *server) claim(n int) []cloud.Delivery {
	s.t.Helper()
	d, err := s.outbox.Claim(s.t.Context(), events.Claim{Now: now, Until: now.Add(time.Minute), Limit: n, PerApp: n})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func sameJSON(t *testing.T, a json.RawMessage, b string) bool {
	t.Helper()
	var x, y map[string]any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%v: %s", err, a)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return maps.EqualFunc(x, y, func(a, b any) bool { return reflect.DeepEqual(a, b) })
}

// A server that delivers no events says so.
func TestAPI_withoutEvents(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *server, c *manager.Config) { c.CheckTrigger, c.Events = nil, nil })
	s.must("PUT", "/apps/default/scripts/a", map[string]any{"source": endpoint("")})
	const why = "this server delivers no events"
	s.owner("GET", "/apps/default/triggers", nil).is(200, `{"items":[]}`)
	s.owner("POST", "/apps/default/triggers", `{"script":"a","kind":"kv"}`).fails(503, cloud.CodeUnavailable, "", why)
	s.owner("GET", "/apps/default/dead-letters", nil).fails(503, cloud.CodeUnavailable, "", why)
	s.owner("GET", "/apps/default/dead-letters/"+cloud.NewID(), nil).fails(503, cloud.CodeUnavailable, "", why)
	s.owner("POST", "/apps/default/dead-letters/"+cloud.NewID()+"/replay", nil).fails(503, cloud.CodeUnavailable, "", why)
	s.owner("POST", "/apps/default/dead-letters/"+cloud.NewID()+"/resolve", `{"resolution":"ignored"}`).fails(503, cloud.CodeUnavailable, "", why)
	s.owner("POST", "/apps/default/dead-letters:replay", nil).fails(503, cloud.CodeUnavailable, "", why)
	s.owner("GET", "/executions/"+cloud.NewID(), nil).fails(404, cloud.CodeNotFound, "", "…")
}
