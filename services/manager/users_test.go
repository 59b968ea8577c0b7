package manager_test

import (
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestAPI_users(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	user := func(name, role, access string, active bool) string {
		return `{"id":"*","name":"` + name + `","role":"` + role + `","active":` + text(t, active) + `,"access":"` + access + `","second_factor":false,"created_at":"*","last_login_at":null}`
	}
	olga := strings.Replace(user("olga", "owner", "password", true), `"last_login_at":null`, `"last_login_at":"*"`, 1)

	s.owner("POST", "/users", `{"name":"mia"}`).is(201, `{"user":`+user("mia", "member", "one_time", true)+`,"password":"*","expires_at":"*"}`)
	s.owner("POST", "/users", `{"name":"ben","role":"admin","invite":true}`).decode(201)
	s.owner("POST", "/users", `{"name":"Mia"}`).fails(409, cloud.CodeConflict, "name", "…")
	s.owner("POST", "/users", `{"name":"no spaces"}`).fails(422, cloud.CodeInvalid, "name", "…")
	s.owner("POST", "/users", `{"name":"x","role":"king"}`).fails(422, cloud.CodeInvalid, "role", "…")
	s.owner("GET", "/users", nil).is(200, `{"items":[`+user("ben", "admin", "invited", true)+`,`+user("mia", "member", "one_time", true)+`,`+olga+`]}`)

	t.Run("by name and by id", func(t *testing.T) {
		s.owner("GET", "/users/MIA", nil).is(200, user("mia", "member", "one_time", true))
		id := s.must("GET", "/users/mia", nil)["id"].(string)
		s.owner("GET", "/users/"+id, nil).is(200, user("mia", "member", "one_time", true))
		for _, ref := range []string{"nobody", cloud.NewID(), "%00", "a%2Fb", strings.Repeat("x", 2000)} {
			s.owner("GET", "/users/"+ref, nil).fails(404, cloud.CodeNotFound, "", "there is no user …")
			s.owner("DELETE", "/users/"+ref+"/keys/"+id, nil).fails(404, cloud.CodeNotFound, "", "there is no user …")
		}
	})
	t.Run("changing", func(t *testing.T) {
		s.owner("PATCH", "/users/mia", `{"name":"maria","role":"admin"}`).is(200, user("maria", "admin", "one_time", true))
		s.owner("PATCH", "/users/maria", `{"name":"mia","role":"member","active":false}`).is(200, user("mia", "member", "one_time", false))
		s.owner("PATCH", "/users/mia", `{"name":"ben"}`).fails(409, cloud.CodeConflict, "name", "…")
		s.owner("PATCH", "/users/olga", `{"role":"member"}`).fails(422, cloud.CodeLastOwner, "", "this is the last active owner; make somebody else an owner first")
		s.owner("PATCH", "/users/olga", `{"active":false}`).fails(422, cloud.CodeLastOwner, "", "…")
		s.owner("DELETE", "/users/olga", nil).fails(422, cloud.CodeLastOwner, "", "…")
		s.owner("PATCH", "/users/mia", `{"active":true}`).is(200, user("mia", "member", "one_time", true))
	})
	t.Run("a new way in", func(t *testing.T) {
		before := s.user("kim", cloud.Member)
		s.owner("POST", "/users/kim/reset", nil).is(200, `{"password":"*","expires_at":"*"}`)
		s.as(before, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
		a := s.must("POST", "/users/kim/reset", `{"invite":true}`)
		if invitation := a["invitation"].(map[string]any); !strings.HasSuffix(invitation["url"].(string), "/admin/invitation#"+invitation["token"].(string)) || a["password"] != nil {
			t.Errorf("reset = %v", a)
		}
	})
	t.Run("sessions and keys of others", func(t *testing.T) {
		token := s.user("lee", cloud.Member)
		key := s.as(token, "POST", "/api/v1/me/keys", `{"name":"ci","scopes":["script:read"]}`).decode(201)
		list := s.must("GET", "/users/lee/sessions", nil)["items"].([]any)
		if len(list) != 1 || list[0].(map[string]any)["current"] != false {
			t.Fatalf("sessions = %v", list)
		}
		s.owner("GET", "/users/lee/keys", nil).is(200, `{"items":[{"id":"*","name":"ci","scopes":["script:read"],"app_id":"","app":"","expires_at":null,"last_used_at":null,"created_at":"*"}]}`)
		session := list[0].(map[string]any)["id"].(string)
		s.owner("DELETE", "/users/mia/sessions/"+session, nil).fails(404, cloud.CodeNotFound, "", "…")
		s.owner("DELETE", "/users/lee/sessions/"+session, nil).empty()
		s.as(token, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
		s.owner("DELETE", "/users/lee/keys/"+key["key"].(map[string]any)["id"].(string), nil).empty()
		s.as(key["token"].(string), "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
	})
	t.Run("deleting and deactivating end what a user has", func(t *testing.T) {
		token := s.user("max", cloud.Admin)
		key := s.as(token, "POST", "/api/v1/me/keys", `{"name":"ci","scopes":["script:read"]}`).decode(201)["token"].(string)
		s.must("PATCH", "/users/max", `{"active":false}`)
		s.as(token, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
		s.as(key, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
		s.must("PATCH", "/users/max", `{"active":true}`)
		s.as(key, "GET", "/api/v1/me", nil).decode(200)
		s.owner("DELETE", "/users/max", nil).empty()
		s.as(key, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
	})
}

func TestAPI_whoManagesUsers(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	admin, member := s.user("ada", cloud.Admin), s.user("mia", cloud.Member)
	key := s.as(admin, "POST", "/api/v1/me/keys", `{"name":"ci","scopes":["app:admin"]}`).decode(201)["token"].(string)

	s.as(member, "GET", "/api/v1/users", nil).fails(403, cloud.CodeForbidden, "", "mia may not do this (InstanceManageUsers): it takes the instance role admin")
	s.as(member, "GET", "/api/v1/users/nobody", nil).fails(403, cloud.CodeForbidden, "", "…")
	s.as(member, "GET", "/api/v1/audit", nil).fails(403, cloud.CodeForbidden, "", "…")
	s.as(key, "GET", "/api/v1/users", nil).fails(403, cloud.CodeForbidden, "", "ada may not do this (InstanceManageUsers): the API key lacks the scope instance:admin")

	t.Run("an admin manages all but owners", func(t *testing.T) {
		s.as(admin, "POST", "/api/v1/users", `{"name":"kim"}`).decode(201)
		s.as(admin, "POST", "/api/v1/users", `{"name":"boss","role":"owner"}`).fails(403, cloud.CodeForbidden, "", "…")
		s.as(admin, "PATCH", "/api/v1/users/kim", `{"role":"owner"}`).fails(403, cloud.CodeForbidden, "", "…")
		s.as(admin, "PATCH", "/api/v1/users/ada", `{"role":"owner"}`).fails(403, cloud.CodeForbidden, "", "…")
		s.as(admin, "PATCH", "/api/v1/users/olga", `{"name":"olaf"}`).fails(403, cloud.CodeForbidden, "", "…")
		s.as(admin, "POST", "/api/v1/users/olga/reset", nil).fails(403, cloud.CodeForbidden, "", "…")
		s.as(admin, "DELETE", "/api/v1/users/olga", nil).fails(403, cloud.CodeForbidden, "", "…")
		owned := s.must("POST", "/me/keys", `{"name":"mine","scopes":["log:read"]}`)["key"].(map[string]any)["id"].(string)
		session := s.must("GET", "/me", nil)["session_id"].(string)
		const only = "olga is an owner, and only owners change owners"
		s.as(admin, "DELETE", "/api/v1/users/olga/keys/"+owned, nil).fails(403, cloud.CodeForbidden, "", only)
		s.as(admin, "DELETE", "/api/v1/users/olga/sessions/"+session, nil).fails(403, cloud.CodeForbidden, "", only)
		s.owner("GET", "/me", nil).decode(200)
	})
	t.Run("a change of role acts on the next request", func(t *testing.T) {
		s.must("PATCH", "/users/mia", `{"role":"admin"}`)
		s.as(member, "GET", "/api/v1/users", nil).decode(200)
		s.must("PATCH", "/users/mia", `{"role":"member"}`)
		s.as(member, "GET", "/api/v1/users", nil).fails(403, cloud.CodeForbidden, "", "…")
	})
}
