package manager_test

import (
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
)

// die gives up the delivery of an event that is due.
func (s *server) die(eventID string) {
	s.t.Helper()
	for _, d := range s.claim(100) {
		o := events.Outcome{Delivery: d, Fate: events.Release, RetryAt: now}
		if d.EventID == eventID {
			o.Fate, o.Reason = events.Dead, cloud.CodeScriptThrew
			o.Error = &cloud.ScriptError{Name: "TypeError", Message: "no", Stack: "at trigger (a.ts:1:2)"}
		}
		if _, err := s.outbox.Settle(s.t.Context(), now, []events.Outcome{o}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// fire fires a trigger of shop and returns the event's id.
func (s *server) fire(trigger string) string {
	s.t.Helper()
	return s.owner("POST", "/apps/shop/triggers/"+trigger+"/fire", `{"payload":{"collection":"c","key":"k"}}`).decode(202)["event_id"].(string)
}

// letters are the ids of shop's dead letters that a query selects.
func (s *server) letters(query string) []string {
	s.t.Helper()
	ids := []string{}
	for _, l := range s.must("GET", "/apps/shop/dead-letters"+query, nil)["items"].([]any) {
		ids = append(ids, l.(map[string]any)["id"].(string))
	}
	return ids
}

func TestAPI_deadLetters(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	kv := s.trigger(`{"script":"a","kind":"kv","retry":{"attempts":1}}`)
	cron := s.trigger(`{"script":"b","kind":"cron","schedule":"@hourly","retry":{"attempts":1}}`)
	const at = "/apps/shop/dead-letters"
	s.owner("GET", at, nil).is(200, `{"items":[]}`)

	s.die(s.fire(kv))
	const listed = `"id":"*","event_id":"*","kind":"kv","op":"test","trigger_id":"*","script":"a","reason":"script_threw","attempts":1,
		"at":"*","died_at":"2026-11-23T12:00:00Z","resolution":null,"note":"","resolved_at":null,"resolved_by":"","depth":0`
	const shown = listed + `,"payload":{"collection":"c","key":"k"},"last_error":{"name":"TypeError","message":"no","stack":"at trigger (a.ts:1:2)"}`
	s.owner("GET", at, nil).is(200, `{"items":[{`+listed+`}]}`)
	first := s.letters("")[0]
	s.owner("GET", at+"/"+first, nil).is(200, `{`+shown+`}`)

	t.Run("resolved", func(t *testing.T) {
		s.owner("POST", at+"/"+first+"/resolve", `{"resolution":"replayed"}`).fails(422, cloud.CodeInvalid, "resolution", "…")
		s.owner("POST", at+"/"+first+"/resolve", map[string]any{"resolution": "ignored", "note": strings.Repeat("x", 1001)}).
			fails(422, cloud.CodeInvalid, "note", "has 1001 bytes; at most 1000 are allowed")
		s.owner("POST", at+"/"+first+"/resolve", `{"resolution":"ignored","note":"a test"}`).empty()
		s.owner("GET", at+"/"+first, nil).is(200, `{`+strings.NewReplacer(`"resolution":null,"note":""`, `"resolution":"ignored","note":"a test"`,
			`"resolved_at":null,"resolved_by":""`, `"resolved_at":"2026-11-23T12:00:00Z","resolved_by":"olga"`).Replace(shown)+`}`)
		s.owner("POST", at+"/"+first+"/resolve", `{"resolution":"handled_by_script"}`).fails(409, cloud.CodeConflict, "", "…")
		s.owner("POST", at+"/"+first+"/replay", nil).fails(409, cloud.CodeConflict, "", "…")
	})
	t.Run("selected", func(t *testing.T) {
		s.die(s.fire(kv))
		s.die(s.fire(cron))
		all := s.letters("")
		if len(all) != 3 || all[2] != first {
			t.Fatalf("dead letters %v", all)
		}
		b := s.must("GET", "/apps/shop/scripts/b", nil)["id"].(string)
		for query, want := range map[string][]string{
			"?waiting=true": all[:2], "?kind=cron": all[:1], "?kind=http": {}, "?trigger=" + kv: all[1:], "?script=b": all[:1], "?script=" + b: all[:1],
			"?limit=1": all[:1], "?before=" + all[0]: all[1:], "?waiting=true&script=a": all[1:2], "?trigger=" + cloud.NewID(): {}, "?script=" + cloud.NewID(): {},
		} {
			if got := s.letters(query); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("%s selects %v, want %v", query, got, want)
			}
		}
		s.owner("GET", at+"?script=c", nil).fails(404, cloud.CodeNotFound, "", `the app has no script "c"`)
		s.owner("GET", at+"?trigger=x", nil).fails(422, cloud.CodeInvalid, "trigger", `"x" is no id of a trigger`)
		s.owner("GET", at+"?before=x", nil).fails(422, cloud.CodeInvalid, "before", `"x" is no id of a dead letter`)
		s.owner("GET", at+"?limit=1001", nil).fails(422, cloud.CodeInvalid, "limit", "…")
	})
	t.Run("replayed", func(t *testing.T) {
		waiting := s.letters("?waiting=true&script=a")
		s.owner("POST", at+"/"+waiting[0]+"/replay", nil).empty()
		if got := s.must("GET", at+"/"+waiting[0], nil); got["resolution"] != "replayed" || got["resolved_by"] != "olga" {
			t.Errorf("the replayed one is %v", got)
		}
		d := s.claim(10)
		if len(d) != 1 || d[0].Attempt != 1 || d[0].TriggerID != kv {
			t.Errorf("delivered again: %+v", d)
		}
		s.owner("POST", at+":replay", `{"script":"a"}`).is(200, `{"replayed":0}`)
		s.owner("POST", at+":replay", nil).is(200, `{"replayed":1}`)
		s.owner("POST", at+":replay", `{"kind":"cron"}`).is(200, `{"replayed":0}`)
		s.owner("POST", at+":replay", `{"waiting":true}`).fails(422, cloud.CodeInvalid, "waiting", "waiting: there is no such field")
		if got := s.letters("?waiting=true"); len(got) != 0 {
			t.Errorf("%v still wait", got)
		}
	})
	t.Run("of nobody", func(t *testing.T) {
		for _, id := range []string{cloud.NewID(), "7"} {
			why := "there is no dead letter " + id
			s.owner("GET", at+"/"+id, nil).fails(404, cloud.CodeNotFound, "", why)
			s.owner("POST", at+"/"+id+"/replay", nil).fails(404, cloud.CodeNotFound, "", why)
			s.owner("POST", at+"/"+id+"/resolve", `{"resolution":"ignored"}`).fails(404, cloud.CodeNotFound, "", why)
		}
		s.owner("GET", "/apps/default/dead-letters/"+first, nil).fails(404, cloud.CodeNotFound, "", "…")
		s.owner("POST", "/apps/default/dead-letters:replay", nil).is(200, `{"replayed":0}`)
	})
}

func TestAPI_deadLettersAccess(t *testing.T) {
	t.Parallel()
	s := triggered(t)
	s.die(s.fire(s.trigger(`{"script":"a","kind":"kv","retry":{"attempts":1}}`)))
	id := s.letters("")[0]
	shop := s.must("GET", "/apps/shop", nil)["id"].(string)
	s.let("editor", cloud.Principal{UserID: cloud.NewID(), Name: "editor", Role: cloud.Member, Apps: map[string]cloud.AppRole{shop: cloud.Editor}})
	for what, a := range map[string]answer{
		"list":       s.as("editor", "GET", "/api/v1/apps/shop/dead-letters", nil),
		"get":        s.as("editor", "GET", "/api/v1/apps/shop/dead-letters/"+id, nil),
		"replay":     s.as("editor", "POST", "/api/v1/apps/shop/dead-letters/"+id+"/replay", nil),
		"resolve":    s.as("editor", "POST", "/api/v1/apps/shop/dead-letters/"+id+"/resolve", `{"resolution":"ignored"}`),
		"replay all": s.as("editor", "POST", "/api/v1/apps/shop/dead-letters:replay", nil),
	} {
		a.what = what
		a.fails(403, cloud.CodeForbidden, "", "editor may not do this (AppManageDeadLetters): it takes the role app_admin in the app")
	}
	if got := s.must("GET", "/apps/shop/dead-letters/"+id, nil)["resolution"]; got != nil {
		t.Errorf("it was settled: %v", got)
	}
}
