package manager_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
)

func publicHost(_ *server, c *manager.Config) {
	instance := c.InstanceHosts
	c.InstanceHosts = func(host string) bool { return host == "pi.example.com" || instance(host) }
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAPI_withoutCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.as("", "GET", "/healthz?probe=7", nil).is(200, `{"status":"ok"}`)
	s.as("", "GET", "/version", nil).is(200, `{"version":"0.1.0","commit":"abc","go":"go1"}`)
	doc := s.as("", "GET", "/api/v1/openapi.json", nil)
	var api struct {
		Paths map[string]map[string]struct {
			Security []any `json:"security"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(doc.body, &api); err != nil || doc.status != 200 {
		t.Fatalf("%d %v", doc.status, err)
	}
	asked := 0
	for path, methods := range api.Paths {
		for method, op := range methods {
			if op.Security == nil {
				continue
			}
			asked++
			method, path := strings.ToUpper(method), strings.NewReplacer("{app}", "default", "{", "", "}", "").Replace(path)
			none := s.as("", method, path, nil)
			none.fails(401, cloud.CodeUnauthorized, "", "log in, or send an API key as Authorization: Bearer pic_…")
			if got := none.header.Get("WWW-Authenticate"); got != `Bearer realm="picloud"` {
				t.Errorf("%s %s: WWW-Authenticate %q", method, path, got)
			}
			s.as("stolen", method, path, nil).fails(401, cloud.CodeUnauthorized, "", "the token is neither an API key nor a session's; …")
		}
	}
	if asked < 55 {
		t.Errorf("only %d operations were asked", asked)
	}
}

func TestAPI_membersAndKeys(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	shop := s.must("POST", "/apps", `{"slug":"shop"}`)["id"].(string)
	s.must("POST", "/apps", `{"slug":"secret"}`)
	home := s.must("GET", "/apps/default", nil)["id"].(string)
	member := func(token string, role cloud.AppRole, key *cloud.Key) {
		s.let(token, cloud.Principal{UserID: token, Name: token, Role: cloud.Member, Apps: map[string]cloud.AppRole{shop: role, home: role}, Key: key})
	}
	member("viewer", cloud.Viewer, nil)
	member("editor", cloud.Editor, nil)
	member("admin", cloud.AppAdminRole, nil)
	s.let("bound", cloud.Principal{UserID: "b", Name: "bound", Role: cloud.Owner, Key: &cloud.Key{Scopes: cloud.Scopes, AppID: shop}})
	s.let("logs", cloud.Principal{UserID: "l", Name: "logs", Role: cloud.Owner, Key: &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeLogRead}}})
	s.let("deployer", cloud.Principal{UserID: "d", Name: "deployer", Role: cloud.Owner, Key: &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeScriptWrite}}})
	slugs := func(token string) string {
		var got []string
		var list struct{ Items []struct{ Slug string } }
		if err := json.Unmarshal(s.as(token, "GET", "/api/v1/apps", nil).body, &list); err != nil {
			t.Fatal(err)
		}
		for _, a := range list.Items {
			got = append(got, a.Slug)
		}
		return strings.Join(got, " ")
	}
	for token, want := range map[string]string{
		"owner": "default secret shop", "viewer": "default shop", "bound": "shop", "logs": "default secret shop",
	} {
		if got := slugs(token); got != want {
			t.Errorf("%s sees %s, want %s", token, got, want)
		}
	}
	save := map[string]any{"source": endpoint("")}
	deploy := map[string]any{"scripts": []any{map[string]any{"name": "x", "source": endpoint("")}}}
	for _, test := range []struct {
		token, method, path string
		body                any
		status              int
		detail              string // of a refusal
	}{
		{"viewer", "GET", "/apps/secret", nil, 404, `there is no app "secret", or none that you may see`},
		{"viewer", "PUT", "/apps/secret/scripts/x", save, 404, `there is no app "secret", or none that you may see`},
		{"bound", "GET", "/apps/secret/kv", nil, 404, `there is no app "secret", or none that you may see`},

		{"viewer", "GET", "/apps/shop", nil, 200, ""},
		{"logs", "GET", "/apps/shop", nil, 200, ""},
		{"logs", "GET", "/apps/shop/executions", nil, 200, ""},
		{"logs", "GET", "/apps/shop/scripts", nil, 403, `logs may not do this (AppReadScript): the API key lacks the scope script:read`},

		{"viewer", "PUT", "/apps/shop/scripts/x", save, 403, `viewer may not do this (AppWriteScript): it takes the role editor in the app`},
		{"editor", "PUT", "/apps/shop/scripts/x", save, 201, ""},
		{"bound", "PUT", "/apps/shop/scripts/x", save, 200, ""},
		{"editor", "POST", "/apps/shop/domains", `{"host":"a.example.com"}`, 403, `editor may not do this (AppManageDomains): it takes the role app_admin in the app`},
		{"admin", "POST", "/apps/shop/domains", `{"host":"a.example.com"}`, 201, ""},
		{"deployer", "POST", "/apps/shop/deploy", deploy, 403, `deployer may not do this (AppWriteRoute): the API key lacks the scope route:write`},
		{"editor", "POST", "/apps/shop/deploy", deploy, 200, ""},
		{"editor", "DELETE", "/apps/shop", nil, 403, `editor may not do this (AppAdmin): it takes the role app_admin in the app`},
		{"admin", "POST", "/apps", `{"slug":"mine"}`, 403, `admin may not do this (InstanceCreateApp): it takes the instance role admin`},

		{"admin", "PUT", "/apps/default/scripts/x", save, 403, `what runs in the app "default" shares the dashboard's origin, so changing it takes more rights than in other apps: admin may not do this (InstanceAdmin): it takes the instance role admin`},
		{"admin", "POST", "/apps/default/deploy", deploy, 403, `what runs in the app "default" shares…`},
		{"admin", "POST", "/apps/default/routes", `{"script":"x","path":"/x"}`, 403, `what runs in the app "default" shares…`},
		{"admin", "DELETE", "/apps/default/scripts/x", nil, 403, `what runs in the app "default" shares…`},
		{"admin", "PUT", "/apps/" + home + "/scripts/x", save, 403, `what runs in the app "default" shares…`},
		{"deployer", "PUT", "/apps/default/scripts/x", save, 403, `what runs in the app "default" shares…`},
		{"admin", "GET", "/apps/default/scripts", nil, 200, ""},

		{"admin", "DELETE", "/apps/shop", nil, 204, ""},
	} {
		a := s.as(test.token, test.method, "/api/v1"+test.path, test.body)
		a.what = test.token + " " + a.what
		switch test.status {
		case 404:
			a.fails(404, cloud.CodeNotFound, "", test.detail)
		case 403:
			a.fails(403, cloud.CodeForbidden, "", test.detail)
		default:
			if a.status != test.status {
				t.Errorf("%s: %d %s, want %d", a.what, a.status, a.body, test.status)
			}
		}
	}
}

// A refusal must not wait for a body that may never come.
func TestAPI_refusesBeforeItReadsTheBody(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.as("", "POST", "/api/v1/apps", `{"nonsense`).fails(401, cloud.CodeUnauthorized, "", "…")
	s.as("", "PUT", "/api/v1/apps/default/scripts/x", strings.Repeat("x", 1<<20)).fails(401, cloud.CodeUnauthorized, "", "…")
}

func TestAPI_malformedRequests(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.owner("POST", "/apps", `{"slug":`).fails(400, cloud.CodeInvalid, "", "unexpected end of JSON input")
	s.owner("POST", "/apps", `{"slug":"a"} x`).fails(400, cloud.CodeInvalid, "", "…")
	s.owner("POST", "/apps", nil).fails(400, cloud.CodeInvalid, "", "request body is required")
	s.owner("POST", "/apps", `[]`).fails(422, cloud.CodeInvalid, "", "expected object")
	s.owner("POST", "/apps", `{"slug":"a","owner":"me","colour":"red"}`).fails(422, cloud.CodeInvalid, "colour", "colour: there is no such field")
	s.owner("POST", "/apps/default/routes", `{"script":"a","path":7}`).fails(422, cloud.CodeInvalid, "path", "path: expected string")
	s.owner("GET", "/apps/default/executions?limt=3", nil).fails(422, cloud.CodeInvalid, "limt", "limt: there is no such parameter")
	s.owner("GET", "/apps/default/executions?limit=0", nil).fails(422, cloud.CodeInvalid, "limit", "limit: expected number >= 1")
	s.owner("GET", "/apps/default/executions?limit=1001", nil).fails(422, cloud.CodeInvalid, "limit", "limit: expected number <= 1000")
	s.owner("GET", "/nothing", nil).fails(404, cloud.CodeNotFound, "", "the API has nothing at /api/v1/nothing; /api/v1/openapi.json lists what it has")
	for _, at := range []string{"/apps/default/kv//k", "/apps//scripts", "/apps/default/kv/c/../../scripts", "/apps/./default", "/apps//"} {
		s.owner("GET", at, nil).fails(404, cloud.CodeNotFound, "", "the API has nothing at /api/v1"+at+": a segment of the path is empty…")
	}
	s.owner("GET", "/apps/default/kv/c/%2E%2E", nil).fails(404, cloud.CodeNotFound, "", `the collection "c" has no key ".."`)
	wrong := s.owner("PUT", "/apps", nil)
	wrong.fails(405, cloud.CodeMethodNotAllowed, "", "/api/v1/apps does not take PUT; it takes GET, POST")
	if got := wrong.header.Get("Allow"); got != "GET, POST" {
		t.Errorf("Allow = %q", got)
	}
}

func TestAPI_otherContentTypesAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.http.URL+"/api/v1/apps", strings.NewReader("slug=a"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer owner")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s.do(r).fails(http.StatusUnsupportedMediaType, cloud.CodeInvalid, "", "…")
}

func TestAPI_whileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	away, err := manager.New(manager.Config{
		Store:      postgres.NewApps(cloudtest.Pool(t, "host=/nonexistent user=nobody dbname=nothing"), nil),
		Builder:    build.New(build.Config{}),
		Authorizer: authz.Policy{},
		Accounts:   s.accounts,
		Router:     s.catalog,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.http.Config.Handler = away
	for _, path := range []string{"/apps", "/apps/default", "/apps/default/scripts"} {
		a := s.owner("GET", path, nil)
		a.fails(503, cloud.CodeUnavailable, "", "…")
		if got := a.header.Get("Retry-After"); got != "1" {
			t.Errorf("%s: Retry-After %q", path, got)
		}
	}
	s.as("", "GET", "/healthz", nil).is(200, `{"status":"ok"}`)
}
