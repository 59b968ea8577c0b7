package caddycloud_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// TestOpenOperations shows that what asks for no credentials is not refused for
// them either, and tells nobody more.
func TestOpenOperations(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{http.MethodGet, "/healthz", "", http.StatusOK, ""},
		{http.MethodGet, "/version", "", http.StatusOK, ""},
		{http.MethodGet, "/api/v1/openapi.json", "", http.StatusOK, ""},
		{http.MethodPost, "/api/v1/claim", `{"name":"eve","password":"correct horse battery"}`, http.StatusConflict, "conflict"},
		{http.MethodPost, "/api/v1/sessions", `{"name":"owner","password":"x"}`, http.StatusUnauthorized, "unauthorized"},
		{http.MethodPost, "/api/v1/invitations:accept", `{"token":"` + token(cloud.InvitationPrefix) + `","password":"correct horse battery"}`, http.StatusUnauthorized, "unauthorized"},
	} {
		for name, credential := range map[string]func(*http.Request){"nobody": nobody, "a bad key": bearer(token(cloud.KeyPrefix)), "the owner": bearer(readFile(t, s.token))} {
			if got, body, _ := s.asked(credential, tt.method, tt.path, tt.body); got != tt.status || !strings.Contains(body, tt.code) {
				t.Errorf("%s, %s %s: %d %s, want %d %s", name, tt.method, tt.path, got, body, tt.status, tt.code)
			}
		}
	}
}

// TestUnclaimed shows that an instance without an owner answers nothing but how
// it is, and the claim, whatever name the request comes by.
func TestUnclaimed(t *testing.T) {
	operations := start(t).operations()
	s := startUnclaimed(t)
	for _, op := range operations {
		path := strings.NewReplacer("{app}", "default", "{", "", "}", "").Replace(op.path)
		for name, credential := range map[string]func(*http.Request){"nobody": nobody, "a key": bearer(token(cloud.KeyPrefix)), "a session": cookie(token(cloud.SessionPrefix))} {
			got, body, _ := s.asked(credential, op.method, path, "{}")
			switch op.id {
			case "health", "version":
				if got != http.StatusOK {
					t.Errorf("%s, %s: %d %s", name, op.id, got, body)
				}
			case "claim":
				if got != http.StatusUnprocessableEntity {
					t.Errorf("%s, an empty claim: %d %s", name, got, body)
				}
			default:
				if got != http.StatusForbidden || !strings.Contains(body, `"code":"unclaimed"`) {
					t.Errorf("%s, %s: %d %s, want unclaimed", name, op.id, got, body)
				}
			}
		}
	}
	if got, body, _ := s.asked(nobody, http.MethodGet, "/hello", ""); got != http.StatusForbidden || !strings.Contains(body, `"code":"unclaimed"`) {
		t.Errorf("a script: %d %s, want unclaimed", got, body)
	}

	const claim = `{"name":"ada","password":"correct horse battery"}`
	atHost := func(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }
	if got, body, _ := s.asked(atHost("rebound.example.com"), http.MethodPost, "/api/v1/claim", claim); got != http.StatusNotFound || !strings.Contains(body, "host_unknown") {
		t.Errorf("a claim by a name that is not the instance's: %d %s", got, body)
	}
	fromPage := func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.com") }
	if got, body, _ := s.asked(fromPage, http.MethodPost, "/api/v1/claim", claim); got != http.StatusForbidden || !strings.Contains(body, "cross_site") {
		t.Errorf("a claim by the page of a stranger: %d %s", got, body)
	}
	if got, body, _ := s.asked(nobody, http.MethodPost, "/api/v1/claim", claim); got != http.StatusCreated {
		t.Errorf("a claim: %d %s", got, body)
	}
	if got, body, _ := s.asked(nobody, http.MethodPost, "/api/v1/claim", strings.Replace(claim, "ada", "eve", 1)); got != http.StatusConflict {
		t.Errorf("a second claim: %d %s", got, body)
	}
	if got, body, _ := s.asked(atHost("rebound.example.com"), http.MethodPost, "/api/v1/sessions", claim); got != http.StatusNotFound || !strings.Contains(body, "host_unknown") {
		t.Errorf("a log-in by a name that is not the instance's: %d %s", got, body)
	}
}

// TestGuessing shows that what one may not know of looks like what is not there.
func TestGuessing(t *testing.T) {
	s := start(t)
	shop := s.fixture("shop")
	member := s.user("mia", cloud.Member, "correct horse battery")
	bound := s.userKey(member.id, shop.id, "NULL", cloud.Scopes...)
	there, missing := []string{"shop", shop.id}, []string{"shoq", cloud.NewID()}
	for _, op := range s.operations() {
		if !strings.Contains(op.path, "{app}") {
			continue
		}
		for i := range there {
			for name, credential := range map[string]func(*http.Request){"a member of nothing": bearer(member.session), "a key bound to an app that its user has left": bearer(bound)} {
				ask := func(app string) (int, string) {
					names := maps.Clone(shop.names)
					names["{app}"] = app
					path, err := fill(op.path, names)
					if err != nil {
						t.Fatal(err)
					}
					status, body, _ := s.asked(credential, op.method, path, "")
					return status, strings.ReplaceAll(body, app, "APP")
				}
				gotStatus, got := ask(there[i])
				wantStatus, want := ask(missing[i])
				if gotStatus != http.StatusNotFound || gotStatus != wantStatus || got != want {
					t.Errorf("%s, %s: the app that is there %d %s, one that is not %d %s", name, op.id, gotStatus, got, wantStatus, want)
				}
			}
		}
	}
}

// TestRoles_changeDuringASession shows that the next request sees what an admin
// has just changed.
func TestRoles_changeDuringASession(t *testing.T) {
	s := start(t)
	s.fixture("shop")
	mia := s.user("mia", cloud.Member, "correct horse battery")
	otto := s.user("otto", cloud.Owner, "correct horse battery")
	key := s.userKey(mia.id, "", "NULL", cloud.Scopes...)
	for _, step := range []struct {
		method, path, body            string
		status                        int
		read, write, manage, instance int // statuses from then on
	}{
		{http.MethodPut, "/apps/shop/members/mia", `{"role":"viewer"}`, 200, 200, 403, 403, 403},
		{http.MethodPut, "/apps/shop/members/mia", `{"role":"app_admin"}`, 200, 200, 200, 200, 403},
		{http.MethodPut, "/apps/shop/members/mia", `{"role":"editor"}`, 200, 200, 200, 403, 403},
		{http.MethodDelete, "/apps/shop/members/mia", "", 204, 404, 404, 404, 403},
		{http.MethodPatch, "/users/mia", `{"role":"admin"}`, 200, 200, 200, 403, 200},
		{http.MethodPatch, "/users/mia", `{"role":"member"}`, 200, 404, 404, 404, 403},
		{http.MethodPatch, "/users/mia", `{"role":"owner"}`, 200, 200, 200, 200, 200},
		{http.MethodPatch, "/users/mia", `{"active":false}`, 200, 401, 401, 401, 401},
	} {
		if got, body, _ := s.asked(bearer(otto.session), step.method, "/api/v1"+step.path, step.body); got != step.status {
			t.Fatalf("%s %s: %d %s, want %d", step.method, step.path, got, body, step.status)
		}
		for name, credential := range map[string]func(*http.Request){"session": bearer(mia.session), "key": bearer(key)} {
			for _, ask := range []struct {
				method, path, body string
				want               int
			}{
				{http.MethodGet, "/apps/shop/scripts", "", step.read},
				{http.MethodPut, "/apps/shop/scripts/page", `{"language":"js","source":"export default () => 1;"}`, step.write},
				{http.MethodPatch, "/apps/shop", `{"name":"Shop"}`, step.manage},
				{http.MethodGet, "/users", "", step.instance},
			} {
				if got, body, _ := s.asked(credential, ask.method, "/api/v1"+ask.path, ask.body); got != ask.want {
					t.Errorf("after %s %s %s, by %s: %s %s: %d %s, want %d", step.method, step.path, step.body, name, ask.method, ask.path, got, body, ask.want)
				}
			}
		}
	}
}

// TestSmuggling shows that no header from outside passes for one of PiCloud's
// own, and none that is a credential reaches a script.
func TestSmuggling(t *testing.T) {
	s := start(t)
	s.deploy("seen", `export default (request, env, ctx) => ({ headers: [...request.headers], principal: ctx.principal ?? null });`)
	mia := s.user("mia", cloud.Member, "correct horse battery")
	smuggle := func(r *http.Request) {
		for _, name := range []string{"X-PiCloud-Principal", "X-Picloud-App", "x-picloud-execution-id", "X-PiCloud-Role", "X_PiCloud_Role"} {
			r.Header[name] = []string{"owner"}
		}
		r.Header.Set("X-Own", "passes")
	}
	type answer struct {
		Headers   [][2]string
		Principal *struct{ ID, Name, Role string }
	}
	for _, tt := range []struct {
		name       string
		credential func(*http.Request)
		principal  string
	}{
		{"nobody", nobody, ""},
		{"a session", bearer(mia.session), "mia"},
		{"a cookie", cookie(mia.session), "mia"},
		{"a cookie beside another", func(r *http.Request) { r.Header.Set("Cookie", "own=1; "+cloud.SessionCookie+"="+mia.session+"; x=2") }, "mia"},
		{"a cookie twice", func(r *http.Request) {
			r.Header["Cookie"] = []string{cloud.SessionCookie + "=" + mia.session, cloud.SecureSessionCookie + "=" + mia.session}
		}, "mia"},
		{"an old session", cookie(token(cloud.SessionPrefix)), ""},
		{"a bad key", bearer(token(cloud.KeyPrefix)), ""},
		{"a key that is cut off", bearer("pic_zzz"), ""},
	} {
		status, body, _ := s.asked(func(r *http.Request) { smuggle(r); tt.credential(r) }, http.MethodGet, "/seen", "")
		if status != http.StatusOK {
			t.Errorf("%s: %d %s, want no error on a public route", tt.name, status, body)
			continue
		}
		seen := decode[answer](s, body)
		for _, header := range seen.Headers {
			if strings.HasPrefix(header[0], "x-picloud-") || strings.HasPrefix(header[0], "x_picloud") {
				t.Errorf("%s: the script sees %s", tt.name, header)
			}
		}
		if !slices.Contains(seen.Headers, [2]string{"x-own", "passes"}) {
			t.Errorf("%s: the script does not see x-own", tt.name)
		}
		for _, secret := range []string{mia.session, "pic_", "pis_", cloud.SessionCookie} {
			if strings.Contains(body, secret) {
				t.Errorf("%s: the script sees a credential: %s", tt.name, body)
			}
		}
		switch p := seen.Principal; {
		case tt.principal == "" && p != nil, tt.principal != "" && (p == nil || p.Name != tt.principal || p.ID != mia.id):
			t.Errorf("%s: ctx.principal is %+v, want %q", tt.name, p, tt.principal)
		}
	}
}

// TestScriptAsGate shows what the data calls of a script may do, for whom it runs.
func TestScriptAsGate(t *testing.T) {
	s := start(t)
	shop := s.fixture("shop")
	s.deployTo("shop", "gate", `import { kv, secrets } from "picloud";
const c = kv.collection("c");
export default async (request, env, ctx) => {
	const done = [];
	for (const f of [
		() => c.get("k"), () => c.set("other", 1), () => c.increment("n"), () => c.delete("other"), () => c.list(),
		() => secrets.get("SECRET"), () => secrets.list(), () => secrets.set("OTHER", "value"), () => secrets.delete("OTHER"),
	]) {
		try { await f(); done.push("y"); } catch (e) { done.push(e.code === "forbidden" ? "n" : String(e)); }
	}
	return done.join("") + " " + env.SECRET + " " + (ctx.principal?.role ?? "no role");
};`)
	atShop := func(credential func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) { r.Host = "shop.localhost"; credential(r) }
	}
	const all, reads, none = "yyyyyyyyy", "ynnnyyynn", "nnnnnnnnn"
	for i, tt := range []struct {
		role   cloud.InstanceRole
		listed cloud.AppRole
		want   string
	}{
		{cloud.Member, "", none + " the secret no role"},
		{cloud.Member, cloud.Viewer, reads + " the secret viewer"},
		{cloud.Member, cloud.Editor, all + " the secret editor"},
		{cloud.Member, cloud.AppAdminRole, all + " the secret app_admin"},
		{cloud.Admin, "", all + " the secret editor"},
		{cloud.Owner, "", all + " the secret app_admin"},
	} {
		name := fmt.Sprintf("user%d", i)
		u := s.user(name, tt.role, "correct horse battery")
		if tt.listed != "" {
			s.must(http.StatusOK, http.MethodPut, "/api/v1/apps/shop/members/"+name, fmt.Sprintf(`{"role":%q}`, tt.listed))
		}
		if status, got, _ := s.asked(atShop(bearer(u.session)), http.MethodGet, "/gate", ""); status != http.StatusOK || got != tt.want {
			t.Errorf("%s %s: %d %s, want %s", tt.role, tt.listed, status, got, tt.want)
		}
		if tt.role != cloud.Owner {
			continue
		}
		for what, tt := range map[string]struct{ key, want string }{
			"a key that may read":          {s.userKey(u.id, "", "NULL", cloud.ScopeScriptRead), reads},
			"a key that may write":         {s.userKey(u.id, shop.id, "NULL", cloud.ScopeScriptWrite), "nyyynnnyy"},
			"a key without scopes":         {s.userKey(u.id, "", "NULL"), none},
			"a key that is of another app": {s.userKey(u.id, s.otherApp(), "NULL", cloud.Scopes...), none},
		} {
			if _, got, _ := s.asked(atShop(bearer(tt.key)), http.MethodGet, "/gate", ""); !strings.HasPrefix(got, tt.want+" ") {
				t.Errorf("%s: %s, want %s", what, got, tt.want)
			}
		}
	}
	for name, credential := range map[string]func(*http.Request){"nobody": nobody, "a bad key": bearer(token(cloud.KeyPrefix))} {
		if status, got, _ := s.asked(atShop(credential), http.MethodGet, "/gate", ""); status != http.StatusOK || got != all+" the secret no role" {
			t.Errorf("%s, for whom the script is the gate: %d %s", name, status, got)
		}
	}
}

// TestHosts_ofApps shows that a host leads to its own app alone.
func TestHosts_ofApps(t *testing.T) {
	s := start(t)
	for _, slug := range []string{"one", "two"} {
		s.must(http.StatusCreated, http.MethodPost, "/api/v1/apps", fmt.Sprintf(`{"slug":%q}`, slug))
		s.deployTo(slug, "who", fmt.Sprintf(`export default () => %q;`, slug))
		s.must(http.StatusCreated, http.MethodPost, "/api/v1/apps/"+slug+"/domains", fmt.Sprintf(`{"host":"%s.example.com"}`, slug))
	}
	mia := s.user("mia", cloud.Owner, "correct horse battery")
	for _, tt := range []struct {
		host, path string
		status     int
		body       string
	}{
		{"one.example.com", "/who", 200, "one"},
		{"TWO.example.com.", "/who", 200, "two"},
		{"one.localhost:80", "/who", 200, "one"},
		{"one.example.com", "/api/v1/me", 404, "route_unknown"},
		{"one.localhost", "/api/v1/execute/x", 404, "route_unknown"},
		{"three.example.com", "/who", 404, "host_unknown"},
		{"one.example.com.evil.com", "/who", 404, "host_unknown"},
		{"localhost.evil.com", "/api/v1/me", 404, "host_unknown"},
		{"127.0.0.1.evil.com", "/api/v1/me", 404, "host_unknown"},
		{"localhost", "/who", 404, "route_unknown"},
		{"localhost", "/api/v1/me", 200, "mia"},
		{"127.0.0.1", "/api/v1/me", 200, "mia"},
		{"[::1]:8080", "/api/v1/me", 200, "mia"},
	} {
		status, body, _ := s.asked(func(r *http.Request) {
			r.Host = tt.host
			r.Header.Set("X-Forwarded-Host", "two.example.com")
			r.Header.Set("Forwarded", "host=two.example.com")
			cookie(mia.session)(r)
		}, http.MethodGet, tt.path, "")
		if status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s%s: %d %s, want %d %s", tt.host, tt.path, status, body, tt.status, tt.body)
		}
	}
}

// TestCookie_needsItsOwnOrigin shows that a change made with the cookie is not
// one that another page caused.
func TestCookie_needsItsOwnOrigin(t *testing.T) {
	s := start(t)
	mia := s.user("mia", cloud.Owner, "correct horse battery")
	host := strings.TrimPrefix(s.url, "http://")
	for i, tt := range []struct {
		headers map[string]string
		status  int
	}{
		{nil, 403},
		{map[string]string{"Sec-Fetch-Site": "same-origin"}, 201},
		{map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{map[string]string{"Origin": "http://" + host}, 201},
		{map[string]string{"Origin": "null"}, 403},
		{map[string]string{"Origin": "http://shop." + host}, 403},
		{map[string]string{"Origin": "http://" + host, "Sec-Fetch-Site": "cross-site"}, 403},
	} {
		status, body, _ := s.asked(func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: cloud.SessionCookie, Value: mia.session})
			for name, value := range tt.headers {
				r.Header.Set(name, value)
			}
		}, http.MethodPost, "/api/v1/apps", fmt.Sprintf(`{"slug":"app%d"}`, i))
		if status != tt.status || status == 403 && !strings.Contains(body, `"cross_site"`) {
			t.Errorf("%v: %d %s, want %d", tt.headers, status, body, tt.status)
		}
	}
}
