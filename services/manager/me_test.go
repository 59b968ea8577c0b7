package manager_test

import (
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

func TestAPI_me(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.owner("GET", "/me", nil).is(200, `{"user_id":"*","name":"olga","role":"owner","access":"password","second_factor":false,"session_id":"*","key":null}`)
	expires := now.Add(time.Hour).Format(time.RFC3339)
	key := s.must("POST", "/me/keys", `{"name":"logs","scopes":["log:read"],"app":"default","expires_at":"`+expires+`"}`)["token"].(string)
	s.as(key, "GET", "/api/v1/me", nil).is(200, `{"user_id":"*","name":"olga","role":"owner","access":"password","second_factor":false,"session_id":"",
		"key":{"id":"*","name":"logs","scopes":["log:read"],"app_id":"*","expires_at":"*"}}`)
	key = s.must("POST", "/me/keys", `{"name":"ci","scopes":["script:read"]}`)["token"].(string)
	s.as(key, "GET", "/api/v1/me", nil).is(200, `{"user_id":"*","name":"olga","role":"owner","access":"password","second_factor":false,"session_id":"",
		"key":{"id":"*","name":"ci","scopes":["script:read"],"app_id":"","expires_at":null}}`)
}

func TestAPI_ownPassword(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	here := s.user("mia", cloud.Member)
	other := s.logIn("mia", passwordOf("mia"))
	set := func(current, next string) answer {
		t.Helper()
		return s.as(here, "PUT", "/api/v1/me/password", map[string]any{"current": current, "new_password": next})
	}
	set("a guess at it", "mias own words").fails(403, cloud.CodeForbidden, "", "the current password is wrong")
	set(passwordOf("mia"), "short").fails(422, cloud.CodeInvalid, "new_password", "has 5 characters; …")
	set(passwordOf("mia"), "mias own words").empty()
	s.as(here, "GET", "/api/v1/me", nil).decode(200)
	s.as(other, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
	s.as("", "POST", "/api/v1/sessions", map[string]any{"name": "mia", "password": passwordOf("mia")}).fails(401, cloud.CodeUnauthorized, "", "wrong name or password")
	s.logIn("mia", "mias own words")
}

// Who has nothing but the owner's key can begin to log in, and no key changes a
// password that there is.
func TestAPI_ownPasswordWithAKey(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	key := s.must("POST", "/me/keys", map[string]any{"name": "all", "scopes": cloud.Scopes})["token"].(string)
	s.as(key, "PUT", "/api/v1/me/password", map[string]any{"current": ownerPassword, "new_password": "another of mine"}).
		fails(403, cloud.CodeForbidden, "", "…")
	// An owner of an instance that was made before there were passwords.
	pool := s.pool
	if _, err := pool.Exec(t.Context(), `UPDATE users SET password_hash = NULL`); err != nil {
		t.Fatal(err)
	}
	weak := s.must("POST", "/me/keys", `{"name":"weak","scopes":["app:admin"]}`)["token"].(string)
	s.as(weak, "PUT", "/api/v1/me/password", `{"new_password":"another of mine"}`).fails(403, cloud.CodeForbidden, "", "…")
	s.as(key, "PUT", "/api/v1/me/password", `{"new_password":"another of mine"}`).empty()
	s.logIn("olga", "another of mine")
	s.as(key, "PUT", "/api/v1/me/password", `{"new_password":"a third of mine"}`).fails(403, cloud.CodeForbidden, "", "…")
}

func TestAPI_ownSessions(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	one := s.user("mia", cloud.Member)
	two, three := s.logIn("mia", passwordOf("mia")), s.logIn("mia", passwordOf("mia"))
	list := s.as(one, "GET", "/api/v1/me/sessions", nil)
	items := list.decode(200)["items"].([]any)
	if len(items) != 3 {
		t.Fatalf("sessions = %s", list.body)
	}
	var current, oneOther string
	for _, item := range items {
		session := item.(map[string]any)
		if session["address"] != "127.0.0.1" || session["user_agent"] == "" {
			t.Errorf("session = %v", session)
		}
		if session["current"] == true {
			current = session["id"].(string)
		} else {
			oneOther = session["id"].(string)
		}
	}
	if got := s.as(one, "GET", "/api/v1/me", nil).decode(200)["session_id"]; got != current {
		t.Errorf("session_id = %v, the list says %s", got, current)
	}
	s.as(s.session, "DELETE", "/api/v1/me/sessions/"+current, nil).fails(404, cloud.CodeNotFound, "", "…") // of another user
	s.as(one, "DELETE", "/api/v1/me/sessions/nothing", nil).fails(404, cloud.CodeNotFound, "", "…")
	s.as(one, "DELETE", "/api/v1/me/sessions/"+oneOther, nil).empty()
	s.as(one, "DELETE", "/api/v1/me/sessions/"+oneOther, nil).fails(404, cloud.CodeNotFound, "", "…")
	s.as(one, "POST", "/api/v1/me/sessions:end-others", nil).is(200, `{"ended":1}`)
	for _, token := range []string{two, three} {
		s.as(token, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
	}
	s.as(one, "GET", "/api/v1/me", nil).decode(200)
}

// Who finds a key does not get the account with it.
func TestAPI_whatTakesASession(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	key := s.must("POST", "/me/keys", map[string]any{"name": "all", "scopes": cloud.Scopes})["token"].(string)
	asked := 0
	for id, op := range s.operations() {
		if op.Security == nil || len(op.Security) == 3 {
			continue
		}
		asked++
		a := s.as(key, op.method, op.example(), nil)
		a.what = id
		a.fails(403, cloud.CodeForbidden, "", "an API key may not do this, whatever its scopes: log in with name and password")
	}
	if asked != 7 {
		t.Errorf("%d operations take a session, want 7", asked)
	}
}

func TestAPI_ownKeys(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	shop := s.must("POST", "/apps", `{"slug":"shop"}`)["id"].(string)
	s.must("POST", "/apps", `{"slug":"secret"}`)
	mia := s.user("mia", cloud.Member)
	s.must("PUT", "/apps/shop/members/mia", `{"role":"editor"}`)
	const one = `{"id":"*","name":"ci","scopes":["script:read","script:write"],"app_id":"*","app":"shop","expires_at":null,"last_used_at":null,"created_at":"*"}`
	made := s.as(mia, "POST", "/api/v1/me/keys", `{"name":"ci","scopes":["script:read","script:write"],"app":"shop"}`)
	made.is(201, `{"key":`+one+`,"token":"*"}`)
	token, key := made.decode(201)["token"].(string), made.decode(201)["key"].(map[string]any)
	if !strings.HasPrefix(token, cloud.KeyPrefix) || key["app_id"] != shop {
		t.Errorf("token %q, key %v", token, key)
	}
	s.as(mia, "GET", "/api/v1/me/keys", nil).is(200, `{"items":[`+one+`]}`)
	s.as(token, "GET", "/api/v1/apps/shop/scripts", nil).decode(200)
	if used := s.as(mia, "GET", "/api/v1/me/keys", nil).decode(200)["items"].([]any)[0].(map[string]any)["last_used_at"]; used == nil {
		t.Error("the use was not noted")
	}

	t.Run("bad input", func(t *testing.T) {
		for body, want := range map[string]string{
			`{"name":"","scopes":["log:read"]}`:                                      "name",
			`{"name":"x","scopes":[]}`:                                               "scopes",
			`{"name":"x","scopes":["log:write"]}`:                                    "scopes[0]",
			`{"name":"x","scopes":["instance:admin"],"app":"shop"}`:                  "scopes",
			`{"name":"x","scopes":["log:read"],"app":"secret"}`:                      "app",
			`{"name":"x","scopes":["log:read"],"app":"nothing"}`:                     "app",
			`{"name":"x","scopes":["log:read"],"expires_at":"2020-01-01T00:00:00Z"}`: "expires_at",
			`{"name":"x","scopes":["log:read"],"expires_at":"tomorrow"}`:             "expires_at",
		} {
			a := s.as(mia, "POST", "/api/v1/me/keys", body)
			a.t, a.what = t, body
			a.fails(422, cloud.CodeInvalid, want, "…")
		}
	})
	t.Run("a key makes, sees and ends no more than itself", func(t *testing.T) {
		s.as(token, "POST", "/api/v1/me/keys", `{"name":"x","scopes":["log:read"],"app":"shop"}`).fails(403, cloud.CodeForbidden, "", "…")
		s.as(token, "POST", "/api/v1/me/keys", `{"name":"x","scopes":["script:read"]}`).fails(403, cloud.CodeForbidden, "", "…")
		strong := s.as(mia, "POST", "/api/v1/me/keys", `{"name":"strong","scopes":["script:read","log:read"],"app":"shop"}`).decode(201)["key"].(map[string]any)["id"].(string)
		wide := s.as(mia, "POST", "/api/v1/me/keys", `{"name":"wide","scopes":["script:read"]}`).decode(201)["key"].(map[string]any)["id"].(string)
		weak := s.as(token, "POST", "/api/v1/me/keys", `{"name":"weak","scopes":["script:read"],"app":"shop"}`).decode(201)["key"].(map[string]any)["id"].(string)
		var names []string
		for _, k := range s.as(token, "GET", "/api/v1/me/keys", nil).decode(200)["items"].([]any) {
			names = append(names, k.(map[string]any)["name"].(string))
		}
		if got := strings.Join(names, " "); got != "weak ci" {
			t.Errorf("the key sees %s", got)
		}
		for _, id := range []string{strong, wide, "nothing"} {
			s.as(token, "DELETE", "/api/v1/me/keys/"+id, nil).fails(404, cloud.CodeNotFound, "", `there is no API key with the id "`+id+`"`)
		}
		s.as(token, "DELETE", "/api/v1/me/keys/"+weak, nil).empty()
	})
	t.Run("ending one", func(t *testing.T) {
		s.owner("DELETE", "/me/keys/"+key["id"].(string), nil).fails(404, cloud.CodeNotFound, "", "…") // of another user
		s.as(mia, "DELETE", "/api/v1/me/keys/"+key["id"].(string), nil).empty()
		s.as(token, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
	})
}

// The secrets of accounts are told once, to whom they are for, and never logged.
func TestAPI_secretsStaySecret(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	secrets := map[string]string{"the owner's password": ownerPassword, "the owner's session": s.session}
	s.as("", "POST", "/api/v1/sessions", `{"name":"olga","password":"`+ownerPassword+`","code":7}`).fails(422, cloud.CodeInvalid, "code", "…")
	s.as("", "POST", "/api/v1/sessions", `{"name":"olga","password":"`+ownerPassword+`","nonsense":"`+ownerPassword+`"}`).fails(422, cloud.CodeInvalid, "nonsense", "…")
	s.as("", "POST", "/api/v1/sessions", `{"name":["`+ownerPassword+`"],"password":"x"}`).fails(422, cloud.CodeInvalid, "name", "…")
	made := s.must("POST", "/me/keys", `{"name":"ci","scopes":["script:read"]}`)
	secrets["a key"] = made["token"].(string)
	secrets["a one-time password"] = s.must("POST", "/users", `{"name":"mia"}`)["password"].(string)
	secrets["an invitation"] = s.must("POST", "/users", `{"name":"ben","invite":true}`)["invitation"].(map[string]any)["token"].(string)
	secrets["a secret"] = "tell it to nobody"
	s.owner("PUT", "/apps/default/secrets/API_KEY", map[string]any{"value": secrets["a secret"]}).empty()
	s.owner("PUT", "/apps/default/secrets/9", map[string]any{"value": secrets["a secret"]}).fails(422, cloud.CodeInvalid, "name", "…")
	secrets["a second factor"] = s.must("POST", "/me/totp", map[string]any{"password": ownerPassword})["secret"].(string)
	s.as(secrets["a key"]+"x", "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")

	var told strings.Builder
	for id, op := range s.operations() {
		if op.method == "GET" && id != "tail-executions" {
			path := strings.NewReplacer("/{user}", "/mia", "/{name}", "/API_KEY").Replace(op.path)
			told.Write(s.as("owner", "GET", described{path: path}.example(), nil).body)
		}
	}
	for what, secret := range secrets {
		if strings.Contains(told.String(), secret) {
			t.Errorf("%s can be read", what)
		}
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("%s is in the log", what)
		}
	}
	if !strings.Contains(told.String(), "API_KEY") || !strings.Contains(told.String(), `"mia"`) {
		t.Error("what was read lacks even names")
	}
}
