package manager_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pquerna/otp/totp"

	"github.com/picloud/picloud/services/cloud"
)

// newest is the newest entry of the audit log, without id and time.
func (s *server) newest() map[string]any {
	s.t.Helper()
	items := s.must("GET", "/audit?limit=1", nil)["items"].([]any)
	if len(items) == 0 {
		return nil
	}
	entry := items[0].(map[string]any)
	if !cloud.IsID(entry["id"].(string)) || entry["at"] == "" {
		s.t.Errorf("entry %v lacks id or time", entry)
	}
	delete(entry, "id")
	delete(entry, "at")
	return entry
}

// Every operation of the API that changes the control plane is here, and leaves
// its entry.
func TestAPI_audit(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	recorded := map[string]bool{}
	var olga string
	ask := func(action, path string, body any, want map[string]any) map[string]any {
		t.Helper()
		method, path, _ := strings.Cut(path, " ")
		token := s.session
		if own, ok := want["token"]; ok {
			token = own.(string)
			delete(want, "token")
		}
		a := s.as(token, method, "/api/v1"+path, body)
		var out map[string]any
		switch a.status {
		case 200, 201:
			out = a.decode(a.status)
		default:
			a.empty()
		}
		if action == "claim" {
			s.session = out["token"].(string)
			p, err := s.accounts.Authenticate(t.Context(), s.session)
			if err != nil {
				t.Fatal(err)
			}
			s.let("owner", *p)
			olga = p.UserID
			want["user_id"] = olga
		}
		recorded[action] = true
		whole := map[string]any{"user_id": olga, "user": "olga", "via": "session", "address": "127.0.0.1", "action": action, "app_id": "", "app": "", "target": ""}
		maps.Copy(whole, want)
		got := s.newest()
		if whole["app_id"] == nil { // a new app's
			whole["app_id"], whole["app"] = out["id"], out["slug"]
		}
		if !maps.Equal(got, whole) {
			t.Errorf("%s:\n got %v\nwant %v", action, got, whole)
		}
		return out
	}
	type m = map[string]any

	ask("claim", "POST /claim", m{"name": "olga", "password": ownerPassword}, m{"token": "", "via": "claim", "target": "users/olga"})
	shop := s.must("POST", "/apps", `{"slug":"shop"}`)["id"].(string)
	in := func(target string) m { return m{"app_id": shop, "app": "shop", "target": target} }

	ask("create-app", "POST /apps", m{"slug": "gone", "name": "Going"}, m{"app_id": nil, "target": "apps/gone name=Going"})
	ask("update-app", "PATCH /apps/shop", m{"name": "The Shop"}, in(`name="The Shop"`))
	ask("update-app", "PATCH /apps/shop", m{"slug": "shop2", "name": "Shop"}, in("slug=shop2 name=Shop"))
	ask("update-app", "PATCH /apps/shop", m{"slug": "shop"}, m{"app_id": shop, "app": "shop2", "target": "slug=shop"})
	ask("add-domain", "POST /apps/shop/domains", m{"host": "a.example.com"}, in("domains/a.example.com"))
	ask("delete-domain", "DELETE /apps/shop/domains/a.example.com", nil, in("domains/a.example.com"))
	ask("save-script", "PUT /apps/shop/scripts/hello", m{"source": endpoint("")}, in("scripts/hello version=1"))
	s.must("PUT", "/apps/shop/scripts/hello", m{"source": endpoint("2")})
	ask("rollback-script", "POST /apps/shop/scripts/hello/rollback", m{"version": 1}, in("scripts/hello version=3 from=1"))
	ask("deploy", "POST /apps/shop/deploy", m{"scripts": []any{m{"name": "a", "source": endpoint("")}, m{"name": "b", "source": endpoint("")}}}, in("scripts/a version=1, scripts/b version=1, routes/ANY /a, routes/ANY /a/*, routes/ANY /b, routes/ANY /b/*"))
	byID := s.must("GET", "/apps/shop/scripts/b", nil)["id"].(string)
	ask("delete-script", "DELETE /apps/shop/scripts/"+byID, nil, in("scripts/b"))
	route := ask("add-route", "POST /apps/shop/routes", m{"script": "hello", "method": "GET", "path": "/x", "mode": "async"}, in("routes/GET /x script=hello mode=async"))["id"].(string)
	ask("delete-route", "DELETE /apps/shop/routes/"+route, nil, in("routes/GET /x"))
	trigger := ask("add-trigger", "POST /apps/shop/triggers", m{"script": "hello", "kind": "kv", "collection": "orders", "ops": []string{"set", "delete"}}, in("triggers/kv hello collection=orders ops=set,delete"))["id"].(string)
	ask("update-trigger", "PATCH /apps/shop/triggers/"+trigger, m{"enabled": false, "key": "a b", "retry": m{"attempts": 2}}, in(`triggers/kv hello enabled=false key="a b" attempts=2`))
	ask("add-trigger", "POST /apps/shop/triggers", m{"script": "hello", "kind": "cron", "schedule": "0 7 * * *", "enabled": false}, in(`triggers/cron hello schedule="0 7 * * *" enabled=false`))
	ask("delete-trigger", "DELETE /apps/shop/triggers/"+trigger, nil, in("triggers/kv hello"))
	ask("set-variable", "PUT /apps/shop/variables/COLOUR", m{"value": "red"}, in("variables/COLOUR"))
	ask("delete-variable", "DELETE /apps/shop/variables/COLOUR", nil, in("variables/COLOUR"))
	ask("set-secret", "PUT /apps/shop/secrets/TOKEN", m{"value": "hush"}, in("secrets/TOKEN"))
	ask("delete-secret", "DELETE /apps/shop/secrets/TOKEN", nil, in("secrets/TOKEN"))

	once := ask("create-user", "POST /users", m{"name": "mia"}, m{"target": "users/mia role=member"})["password"].(string)
	mia := s.must("GET", "/users/mia", nil)["id"].(string)
	ask("update-user", "PATCH /users/"+mia, m{"role": "admin", "active": true}, m{"target": "users/mia role=admin active=true"})
	miaToken := ask("log-in", "POST /sessions", m{"name": "Mia", "password": once, "new_password": passwordOf("mia")}, m{"token": "", "user_id": mia, "user": "mia", "via": "log-in"})["token"].(string)
	byMia := func(target string) m { return m{"token": miaToken, "user_id": mia, "user": "mia", "target": target} }
	ask("set-member", "PUT /apps/shop/members/mia", m{"role": "app_admin"}, in("members/mia role=app_admin"))
	ask("remove-member", "DELETE /apps/shop/members/mia", nil, in("members/mia"))

	ask("set-password", "PUT /me/password", m{"current": passwordOf("mia"), "new_password": "mias own words"}, byMia(""))
	totpSecret := ask("begin-totp", "POST /me/totp", m{"password": "mias own words"}, byMia(""))["secret"].(string)
	code, err := totp.GenerateCode(totpSecret, now)
	if err != nil {
		t.Fatal(err)
	}
	ask("confirm-totp", "POST /me/totp:confirm", m{"code": code}, byMia(""))
	ask("disable-totp", "POST /me/totp:disable", m{"password": "mias own words"}, byMia(""))
	made := ask("create-own-api-key", "POST /me/keys", m{"name": "ci", "scopes": cloud.Scopes}, byMia("keys/ci scopes=script:read,script:write,route:write,domain:manage,log:read,app:admin,instance:admin"))
	key, id := made["token"].(string), made["key"].(m)["id"].(string)
	ask("create-app", "POST /apps", m{"slug": "keyed"}, m{"token": key, "user_id": mia, "user": "mia", "via": "key ci", "app_id": nil, "target": "apps/keyed"})
	ask("delete-api-key", "DELETE /users/mia/keys/"+id, nil, m{"target": "users/mia/keys/ci"})
	id = s.as(miaToken, "POST", "/api/v1/me/keys", m{"name": "cd", "scopes": cloud.Scopes}).decode(201)["key"].(m)["id"].(string)
	ask("delete-own-api-key", "DELETE /me/keys/"+id, nil, byMia("keys/cd"))
	ask("create-own-api-key", "POST /me/keys", m{"name": "app=none", "scopes": []string{"log:read", "script:read"}, "app": shop, "expires_at": "2030-01-02T03:04:05+01:00"},
		byMia(`keys/"app=none" scopes=log:read,script:read app=shop expires_at=2030-01-02T02:04:05Z`))

	session := func(token string) string {
		return s.as(token, "GET", "/api/v1/me", nil).decode(200)["session_id"].(string)
	}
	other := session(s.logIn("mia", "mias own words"))
	ask("end-own-session", "DELETE /me/sessions/"+other, nil, byMia("sessions/"+other))
	s.logIn("mia", "mias own words")
	ask("end-other-sessions", "POST /me/sessions:end-others", nil, byMia(""))
	other = session(s.logIn("mia", "mias own words"))
	ask("end-session", "DELETE /users/mia/sessions/"+other, nil, m{"target": "users/mia/sessions/" + other})
	ask("log-out", "DELETE /sessions/current", nil, byMia(""))
	invitation := ask("reset-user", "POST /users/mia/reset", m{"invite": true}, m{"target": "users/mia invite=true"})["invitation"].(m)["token"].(string)
	ask("accept-invitation", "POST /invitations:accept", m{"token": invitation, "password": passwordOf("mia")}, m{"token": "", "user_id": mia, "user": "mia", "via": "invitation"})
	ask("delete-user", "DELETE /users/mia", nil, m{"target": "users/mia"})
	ask("delete-app", "DELETE /apps/shop", nil, in(""))

	unaudited := []string{"check-route", "set-key", "delete-key", "fire-trigger", "replay-dead-letter", "replay-dead-letters", "resolve-dead-letter"}
	for id, op := range s.operations() {
		if changes := op.method != "GET" && !slices.Contains(unaudited, id); changes != recorded[id] {
			t.Errorf("%s %s (%s): changes %v, seen in the audit log %v", op.method, op.path, id, changes, recorded[id])
		}
	}

	t.Run("filters", func(t *testing.T) {
		actions := func(query string) string {
			t.Helper()
			var out []string
			for _, e := range s.must("GET", "/audit?"+query, nil)["items"].([]any) {
				out = append(out, e.(m)["action"].(string))
			}
			return strings.Join(out, " ")
		}
		for query, want := range map[string]string{
			"limit=3":                                 "delete-app delete-user accept-invitation",
			"user=olga&limit=2":                       "delete-app delete-user",
			"user=" + mia + "&limit=2":                "accept-invitation log-out", // gone by now
			"app=" + shop + "&limit=2":                "delete-app remove-member",
			"action=reset-user":                       "reset-user",
			"action=fly":                              "",
			"app=default":                             "",
			"user=" + cloud.NewID():                   "",
			"action=create-app&app=keyed&user=" + mia: "create-app",
			"action=claim&before=" + cloud.NewID():    "claim",
		} {
			if got := actions(query); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
		page := s.must("GET", "/audit?limit=2", nil)["items"].([]any)
		if got := actions("limit=2&before=" + page[1].(m)["id"].(string)); got != "accept-invitation reset-user" {
			t.Errorf("the second page: %s", got)
		}
		s.owner("GET", "/audit?user=nobody", nil).fails(404, cloud.CodeNotFound, "", `there is no user "nobody"`)
		s.owner("GET", "/audit?app=shop", nil).fails(404, cloud.CodeNotFound, "", `there is no app "shop", or none that you may see`)
		s.owner("GET", "/audit?before=yesterday", nil).fails(422, cloud.CodeInvalid, "before", "…")
		s.owner("GET", "/audit?action=%00", nil).fails(422, cloud.CodeInvalid, "action", "…")
		s.owner("GET", "/audit?limit=1001", nil).fails(422, cloud.CodeInvalid, "limit", "…")
	})
}

func TestAPI_whatFailsLeavesNoEntry(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	before := s.newest()
	s.owner("POST", "/apps", `{"slug":"default"}`).fails(409, cloud.CodeConflict, "slug", "…")
	s.owner("DELETE", "/apps/default", nil).fails(422, cloud.CodeInvalid, "app", "…")
	s.owner("DELETE", "/users/olga", nil).fails(422, cloud.CodeLastOwner, "", "…")
	s.owner("PUT", "/apps/default/secrets/9", `{"value":"x"}`).fails(422, cloud.CodeInvalid, "name", "…")
	s.as("", "POST", "/api/v1/sessions", `{"name":"olga","password":"a horse of yours"}`).fails(401, cloud.CodeUnauthorized, "", "…")
	s.as("", "POST", "/api/v1/apps", `{"slug":"x"}`).fails(401, cloud.CodeUnauthorized, "", "…")
	s.owner("POST", "/apps/default/routes:check", `{"script":"x","path":"/x"}`)
	s.owner("PUT", "/apps/default/kv/c/k", `{"value":1}`).is(200, `{"key":"k","value":1,"version":1,"updated_at":"*"}`)
	if got := s.newest(); !maps.Equal(got, before) {
		t.Errorf("an entry was left: %v", got)
	}
}
