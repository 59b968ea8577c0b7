package caddycloud_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
)

// TestPrincipals shows, on the whole way of a request, what a script may do and
// what its answer tells, by who calls it.
func TestPrincipals(t *testing.T) {
	s := start(t)
	if status, answer := s.do(http.MethodPost, "/api/v1/apps", `{"slug":"shop"}`); status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	s.deploy("write", `import { kv } from "picloud";
export default async () => {
	const c = kv.collection("c");
	const attempt = async (f) => { try { await f(); return "done"; } catch (e) { return e.code; } };
	return [await attempt(() => c.get("k")), await attempt(() => c.set("k", 1))].join(" ");
};`)
	s.deploy("throw", `export default () => { throw new Error("the secret"); };`)
	s.deploy("credentials", `export default (request) => request.headers.get("authorization") ?? "none";`)

	owner := readFile(t, s.token)
	reader := s.key("", cloud.ScopeScriptRead)
	writer := s.key("", cloud.ScopeScriptRead, cloud.ScopeScriptWrite)
	logs := s.key("", cloud.ScopeLogRead)
	elsewhere := s.key("shop", cloud.Scopes...)

	for _, tt := range []struct {
		caller, token    string
		data             string // what becomes of a get and a set
		thrown           bool   // whether the answer says what was thrown
		byID, allowedLog int    // statuses
	}{
		{"a stranger", "", "done done", false, 401, 401},
		{"one with a key that is not valid", accounts.MintKey(), "done done", false, 401, 401},
		{"the owner", owner, "done done", true, 200, 200},
		{"a key that may read", reader, "done forbidden", false, 403, 403},
		{"a key that may read and write", writer, "done done", false, 200, 403},
		{"a key that may read logs", logs, "forbidden forbidden", true, 403, 200},
		{"a key of another app", elsewhere, "forbidden forbidden", false, 404, 404},
	} {
		if _, got, _ := s.as(tt.token, "/write"); got != tt.data {
			t.Errorf("%s: data calls of a script: %s, want %s", tt.caller, got, tt.data)
		}
		status, got, _ := s.as(tt.token, "/throw")
		if thrown := strings.Contains(got, "the secret"); thrown != tt.thrown || status != http.StatusInternalServerError || strings.Contains(got, `"stack"`) != tt.thrown {
			t.Errorf("%s: a script that throws: %d %s", tt.caller, status, got)
		}
		status, got, header := s.as(tt.token, "/api/v1/execute/"+s.script("credentials"))
		if status != tt.byID || status == http.StatusOK && (got != "none" || header.Get("Content-Security-Policy") != "sandbox") {
			t.Errorf("%s: a script by its id: %d %s %v, want %d", tt.caller, status, got, header, tt.byID)
		}
		if status, got, _ = s.as(tt.token, "/api/v1/apps/default/executions"); status != tt.allowedLog {
			t.Errorf("%s: the log: %d %s, want %d", tt.caller, status, got, tt.allowedLog)
		}
	}
}

// key stores an API key of the owner with some scopes, and bound to the app if
// slug is not empty.
func (s *server) key(slug string, scopes ...cloud.Scope) string {
	s.t.Helper()
	token := accounts.MintKey()
	hash := accounts.HashToken(token)
	tag, err := cloudtest.Pool(s.t, s.database).Exec(s.t.Context(), `
		INSERT INTO api_keys (id, user_id, name, hash, scopes, app_id)
		SELECT $1, id, 'test', $2, $3, (SELECT id FROM apps WHERE slug = $4) FROM users WHERE role = 'owner'`,
		cloud.NewID(), hash[:], scopes, slug)
	if err != nil || tag.RowsAffected() != 1 {
		s.t.Fatal(tag, err)
	}
	return token
}

// as asks with a key, or without any.
func (s *server) as(token, path string) (int, string, http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

// script is the id of a script of the default app.
func (s *server) script(name string) string {
	s.t.Helper()
	var script struct{ ID string }
	if _, answer := s.do(http.MethodGet, "/api/v1/apps/default/scripts/"+name, ""); json.Unmarshal([]byte(answer), &script) != nil || script.ID == "" {
		s.t.Fatal(answer)
	}
	return script.ID
}
