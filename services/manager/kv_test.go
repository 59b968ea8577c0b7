package manager_test

import (
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestAPI_kv(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const at = "/apps/default/kv"
	t.Run("set, get, delete", func(t *testing.T) {
		s.owner("PUT", at+"/guests/ann", `{"value":{"age":7}}`).is(200, `{"key":"ann","value":{"age":7},"version":1,"updated_at":"*"}`)
		s.owner("GET", at+"/guests/ann", nil).is(200, `{"key":"ann","value":{"age":7},"version":1,"updated_at":"*"}`)
		s.owner("PUT", at+"/guests/ann", `{"value":null,"ttl_seconds":90,"if_version":1}`).is(200, `{"key":"ann","value":null,"version":2,"expires_at":"2026-11-23T12:01:30Z","updated_at":"*"}`)
		s.owner("DELETE", at+"/guests/ann", nil).empty()
		s.owner("GET", at+"/guests/ann", nil).fails(404, cloud.CodeNotFound, "", `the collection "guests" has no key "ann"`)
		s.owner("DELETE", at+"/guests/ann", nil).fails(404, cloud.CodeNotFound, "", `the collection "guests" has no key "ann"`)
	})
	t.Run("keys are percent-encoded", func(t *testing.T) {
		for escaped, key := range map[string]string{"a%2Fb": "a/b", "%2E%2E": "..", "%2F": "/", "q%3F%23%25": "q?#%", "gr%C3%BCn": "grün", "a+b": "a+b"} {
			s.owner("PUT", at+"/odd/"+escaped, `{"value":1}`).is(200, `{"key":`+text(t, key)+`,"value":1,"version":1,"updated_at":"*"}`)
			s.owner("GET", at+"/odd/"+escaped, nil).is(200, `{"key":`+text(t, key)+`,"value":1,"version":1,"updated_at":"*"}`)
			s.owner("DELETE", at+"/odd/"+escaped, nil).empty()
		}
	})
	t.Run("lists page through keys and collections", func(t *testing.T) {
		for _, key := range []string{"a", "b", "c"} {
			s.must("PUT", at+"/list/"+key, map[string]any{"value": key})
		}
		s.must("PUT", at+"/other/x", `{"value":1}`)
		s.owner("GET", at, nil).is(200, `{"collections":["list","other"]}`)
		s.owner("GET", at+"?after=list&limit=1", nil).is(200, `{"collections":["other"]}`)
		first := s.must("GET", at+"/list?limit=2&values=true", nil)
		cursor, _ := first["cursor"].(string)
		delete(first, "cursor")
		if got, want := canonical(t, text(t, first)), canonical(t, `{"entries":[{"key":"a","value":"a","version":1,"updated_at":"*"},{"key":"b","value":"b","version":1,"updated_at":"*"}]}`); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		s.owner("GET", at+"/list?cursor="+cursor, nil).is(200, `{"entries":[{"key":"c","version":1,"updated_at":"*"}]}`)
		s.owner("GET", at+"/list?prefix=b", nil).is(200, `{"entries":[{"key":"b","version":1,"updated_at":"*"}]}`)
		s.owner("GET", at+"/nothing", nil).is(200, `{"entries":[]}`)
	})
	t.Run("refused", func(t *testing.T) {
		s.must("PUT", at+"/c/k", `{"value":1}`)
		s.owner("PUT", at+"/c/k", `{"value":2,"if_version":0}`).fails(409, cloud.CodeConflict, "", `the key "k" exists already`)
		s.owner("PUT", at+"/c/k", `{"value":2,"if_version":-1}`).fails(422, cloud.CodeInvalid, "if_version", "-1 is negative…")
		s.owner("PUT", at+"/c/k", `{"value":2,"ttl_seconds":-1}`).fails(422, cloud.CodeInvalid, "ttl_seconds", "-1s is negative")
		s.owner("PUT", at+"/c/k", `{"value":2,"ttl_seconds":1e300}`).fails(422, cloud.CodeInvalid, "ttl_seconds", "1e+300 seconds are over 292 years…")
		s.owner("PUT", at+"/c/k", `{}`).fails(422, cloud.CodeInvalid, "value", "value: is missing")
		s.owner("PUT", at+"/c/k", `{"value":2,"ttl":1}`).fails(422, cloud.CodeInvalid, "ttl", "ttl: there is no such field")
		s.owner("PUT", at+"/c/k", map[string]any{"value": strings.Repeat("x", cloud.MaxKVValue)}).fails(507, cloud.CodeLimit, "value", "the value has 262146 bytes…")
		s.owner("PUT", at+"/c/"+strings.Repeat("k", cloud.MaxKVKey+1), `{"value":2}`).fails(422, cloud.CodeInvalid, "key", "has 513 bytes; at most 512 are allowed")
		s.owner("PUT", at+"/c/%00", `{"value":2}`).fails(422, cloud.CodeInvalid, "key", "holds the character U+0000…")
		s.owner("PUT", at+"/c/%FF", `{"value":2}`).fails(422, cloud.CodeInvalid, "key", "is not valid UTF-8")
		s.owner("GET", at+"/c?cursor=x", nil).fails(422, cloud.CodeInvalid, "cursor", "is not one that…")
		s.owner("PUT", at+"/c/", `{"value":2}`).fails(422, cloud.CodeInvalid, "key", "…")
		s.owner("GET", at+"/c/k", nil).is(200, `{"key":"k","value":1,"version":1,"updated_at":"*"}`)
	})
}
