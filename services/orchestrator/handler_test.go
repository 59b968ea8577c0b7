package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// everyMayInvoke lets those whose name is not "guest" invoke, and those of no
// name not even know.
type everyMayInvoke struct{}

func (everyMayInvoke) Authorize(p *cloud.Principal, _ cloud.Capability, _ string) error {
	switch p.Name {
	case "guest":
		return cloud.Errorf(cloud.CodeForbidden, "guests may not")
	case "":
		return cloud.Errorf(cloud.CodeNotFound, "no such app")
	default:
		return nil
	}
}

// authenticate knows the tokens pic_NAME and pis_NAME; the name away finds the
// database away, and unknown is not valid.
func authenticate(_ context.Context, token string) (*cloud.Principal, error) {
	switch name := strings.TrimPrefix(strings.TrimPrefix(token, cloud.KeyPrefix), cloud.SessionPrefix); name {
	case "away":
		return nil, cloud.Errorf(cloud.CodeUnavailable, "the database is away")
	case "unknown":
		return nil, cloud.Errorf(cloud.CodeUnauthorized, "not valid")
	default:
		return &cloud.Principal{Name: name}, nil
	}
}

const scriptID = "018f0000-0000-7000-8000-000000000009"

// envs are the envs of the apps.
var envs = map[string][]cloud.EnvValue{
	"default": {{Name: "APP", Value: "default"}},
	"shop":    {{Name: "APP", Value: "shop"}},
}

// newDispatcher serves the default app, and shop, which was store before.
func newDispatcher(t *testing.T) *Dispatcher {
	t.Helper()
	state := func(slug string, former []string, routes ...cloud.Route) cloud.AppState {
		return cloud.AppState{
			App: cloud.App{ID: slug, Slug: slug}, FormerSlugs: former, Routes: routes, Env: envs[slug],
			Scripts: []cloud.Runnable{{ID: scriptID + slug, Name: "s", AppID: slug}},
		}
	}
	route := func(slug, method, path string) cloud.Route {
		return cloud.Route{ID: method + " " + path, ScriptID: scriptID + slug, Method: method, Path: path, Mode: cloud.Sync}
	}
	async := func(r cloud.Route) cloud.Route { r.Mode = cloud.Async; return r }
	source := &fakeSource{apps: map[string]cloud.AppState{
		"default": state("default", nil, route("default", "GET", "/users/:id"), async(route("default", "POST", "/jobs/:kind"))),
		"shop":    state("shop", []string{"store"}, route("shop", cloud.AnyMethod, "/*"), async(route("shop", "GET", "/later")), cloud.Route{ID: "gone", ScriptID: "gone", Method: cloud.AnyMethod, Path: "/gone"}),
	}}
	catalog := newCatalog(source, nil)
	if err := catalog.loadAll(source.load); err != nil {
		t.Fatal(err)
	}
	return &Dispatcher{Catalog: catalog, Authenticate: authenticate, Authorizer: everyMayInvoke{}}
}

// dispatch sends a request and returns the plan it was handed on with, or nil
// and the answer.
func dispatch(t *testing.T, d *Dispatcher, method, url, token string) (*cloud.Plan, *httptest.ResponseRecorder) {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	var plan *cloud.Plan
	err := d.ServeHTTP(w, r, func(_ http.ResponseWriter, r *http.Request) error {
		plan = cloud.PlanFrom(r.Context())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan, w
}

func TestDispatcher_plans(t *testing.T) {
	t.Parallel()
	d := newDispatcher(t)
	for name, tt := range map[string]struct {
		url, token string
		want       cloud.Plan
	}{
		"a route, for a stranger": {
			"http://localhost:8080/users/7?x=1", "",
			cloud.Plan{RouteID: "GET /users/:id", Params: map[string]string{"id": "7"}},
		},
		"a route, for a principal": {
			"http://localhost/users/7", "pic_ada",
			cloud.Plan{RouteID: "GET /users/:id", Params: map[string]string{"id": "7"}, Principal: &cloud.Principal{Name: "ada"}},
		},
		"a key that is not valid is a stranger's on a route": {
			"http://localhost/users/7", "pic_unknown",
			cloud.Plan{RouteID: "GET /users/:id", Params: map[string]string{"id": "7"}},
		},
		"another's bearer token is the script's business": {
			"http://localhost/users/7", "eyJhbGciOi",
			cloud.Plan{RouteID: "GET /users/:id", Params: map[string]string{"id": "7"}},
		},
		"an app's own host reserves no path": {
			"http://shop.localhost/api/v1/execute/x", "",
			cloud.Plan{RouteID: "ANY /*", Params: map[string]string{"*": "api/v1/execute/x"}},
		},
		"by id": {
			"http://localhost:8080/api/v1/execute/" + scriptID + "default", "pic_ada",
			cloud.Plan{Principal: &cloud.Principal{Name: "ada"}, Sandboxed: true, URL: "http://localhost:8080/"},
		},
		"by id, with a path of its own": {
			"http://localhost/api/v1/execute/" + scriptID + "shop/a%2Fb/c?x=1", "pic_ada",
			cloud.Plan{Principal: &cloud.Principal{Name: "ada"}, Sandboxed: true, URL: "http://localhost/a%2Fb/c?x=1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, w := dispatch(t, d, "GET", tt.url, tt.token)
			if got == nil {
				t.Fatalf("answered %d %s", w.Code, w.Body)
			}
			if got.Script.Name != "s" || got.App.ID != got.Script.AppID {
				t.Errorf("the script %+v of %+v", got.Script, got.App)
			}
			if string(got.Env.Payload()) != `{"APP":"`+got.App.ID+`"}` {
				t.Errorf("the env is %s", got.Env.Payload())
			}
			got.App, got.Script, got.Env = cloud.App{}, cloud.Runnable{}, nil
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got %+v, want %+v", *got, tt.want)
			}
		})
	}
}

func TestDispatcher_answers(t *testing.T) {
	t.Parallel()
	d := newDispatcher(t)
	byID := "http://localhost" + ExecutePrefix
	for name, tt := range map[string]struct {
		method, url, token string
		status             int
		code               cloud.Code
		header, value      string
	}{
		"a host that nobody claims":             {"GET", "http://evil.com/users/7", "", 404, cloud.CodeHostUnknown, "Content-Type", "application/problem+json"},
		"the default app on a slug's host":      {"GET", "http://default.localhost/users/7", "", 404, cloud.CodeHostUnknown, "", ""},
		"a path without a route":                {"GET", "http://localhost/nothing", "", 404, cloud.CodeRouteUnknown, "", ""},
		"a method that no route takes":          {"PUT", "http://localhost/users/7", "", 405, cloud.CodeMethodNotAllowed, "Allow", "GET, HEAD"},
		"a route whose script is gone":          {"GET", "http://shop.local/gone", "", 404, cloud.CodeRouteUnknown, "", ""},
		"a key that cannot be checked":          {"GET", "http://localhost/users/7", "pic_away", 503, cloud.CodeUnavailable, "Retry-After", "1"},
		"by id without a key":                   {"GET", byID + scriptID + "default", "", 401, cloud.CodeUnauthorized, "WWW-Authenticate", `Bearer realm="picloud"`},
		"by id with a key that is not valid":    {"GET", byID + scriptID + "default", "pic_unknown", 401, cloud.CodeUnauthorized, "", ""},
		"by an id that is none":                 {"GET", byID + "nothing", "pic_ada", 404, cloud.CodeNotFound, "", ""},
		"by id for those who may not":           {"GET", byID + scriptID + "shop", "pic_guest", 403, cloud.CodeForbidden, "", ""},
		"by id for those who may not even know": {"GET", byID + scriptID + "shop", "pic_", 404, cloud.CodeNotFound, "", ""},
		"a former slug leads to the current":    {"POST", "http://store.localhost:8080/a%2Fb?x=1", "", 308, "", "Location", "http://shop.localhost:8080/a%2Fb?x=1"},
		"a former slug leads nowhere else":      {"GET", "http://Store.local//evil.com", "", 308, "", "Location", "http://shop.local//evil.com"},
		"a former slug over TLS stays on it":    {"GET", "https://store.local/", "", 308, "", "Location", "https://shop.local/"},
		"a slug in another domain":              {"GET", "http://store.evil.com/", "", 404, cloud.CodeHostUnknown, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan, w := dispatch(t, d, tt.method, tt.url, tt.token)
			if plan != nil {
				t.Fatalf("was handed on with %+v", plan)
			}
			var problem struct{ Code cloud.Code }
			if tt.code != "" && json.Unmarshal(w.Body.Bytes(), &problem) != nil || w.Code != tt.status || problem.Code != tt.code {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tt.status, tt.code)
			}
			if got := w.Header().Get(tt.header); tt.header != "" && got != tt.value {
				t.Errorf("%s is %q, want %q", tt.header, got, tt.value)
			}
		})
	}
}

// Who may not know of an app does not learn of it from the answer.
func TestDispatcher_unknownScriptsAreAllAlike(t *testing.T) {
	t.Parallel()
	d := newDispatcher(t)
	target := "http://localhost" + ExecutePrefix + scriptID
	_, hidden := dispatch(t, d, "GET", target+"shop", "pic_")
	_, absent := dispatch(t, d, "GET", target+"none", "pic_")
	if got, want := hidden.Body.String(), strings.Replace(absent.Body.String(), "none", "shop", 1); got != want {
		t.Errorf("hidden  %s\nabsent %s", got, want)
	}
}

func TestDispatcher_credentials(t *testing.T) {
	t.Parallel()
	d := newDispatcher(t)
	const (
		route  = "http://localhost/users/7"
		tls    = "https://localhost/users/7"
		shop   = "http://shop.localhost/"
		byID   = "http://localhost" + ExecutePrefix + scriptID + "default"
		nobody = "-"
	)
	cookie := func(name, token string) http.Header { return http.Header{"Cookie": {name + "=" + token}} }
	with := func(h http.Header, pairs ...string) http.Header {
		h = h.Clone()
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	ada := cookie(cloud.SessionCookie, "pis_ada")
	secure := cookie(cloud.SecureSessionCookie, "pis_ada")
	unknown := cookie(cloud.SessionCookie, "pis_unknown")
	away := cookie(cloud.SessionCookie, "pis_away")
	for name, tt := range map[string]struct {
		method, url string
		header      http.Header
		want        string // the principal's name, or the code of the answer
	}{
		"a session on a route":                           {"GET", route, ada, "ada"},
		"a session over TLS":                             {"GET", tls, secure, "ada"},
		"a session's cookie without TLS, over TLS":       {"GET", tls, ada, nobody},
		"a session's cookie for TLS, without":            {"GET", route, secure, nobody},
		"a session as a bearer token":                    {"GET", route, http.Header{"Authorization": {"Bearer pis_bob"}}, "bob"},
		"a session as a bearer token on an app's host":   {"GET", shop, http.Header{"Authorization": {"Bearer pis_bob"}}, "bob"},
		"a cookie on an app's own host is nobody's":      {"GET", shop, ada, nobody},
		"and does not ask the database":                  {"GET", shop, away, nobody},
		"a key in the cookie":                            {"GET", route, cookie(cloud.SessionCookie, "pic_ada"), nobody},
		"an empty cookie":                                {"GET", route, cookie(cloud.SessionCookie, ""), nobody},
		"a session that ended":                           {"GET", route, unknown, nobody},
		"a bearer token goes before the cookie":          {"GET", route, with(ada, "Authorization", "Bearer pic_bob"), "bob"},
		"a bad bearer token too":                         {"GET", route, with(ada, "Authorization", "Bearer pic_unknown"), nobody},
		"the script's own bearer token does not":         {"GET", route, with(ada, "Authorization", "Bearer eyJ"), "ada"},
		"a session that cannot be checked":               {"GET", route, away, "unavailable"},
		"without one the database is not asked":          {"GET", route, nil, nobody},
		"a link from another site":                       {"GET", route, with(ada, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), "ada"},
		"an image of another site":                       {"GET", route, with(ada, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), nobody},
		"a change from the same origin":                  {"POST", byID, with(ada, "Sec-Fetch-Site", "same-origin"), "ada"},
		"a change from the same origin, an old browser":  {"POST", byID, with(ada, "Origin", "http://localhost"), "ada"},
		"a change from another site, by id":              {"POST", byID, with(ada, "Sec-Fetch-Site", "cross-site"), "cross_site"},
		"a change from another host, by id":              {"POST", byID, with(ada, "Sec-Fetch-Site", "same-site", "Origin", "http://shop.localhost"), "cross_site"},
		"a change from another port, by id":              {"POST", byID, with(ada, "Origin", "http://localhost:9000"), "cross_site"},
		"a change from nowhere, by id":                   {"POST", byID, ada, "cross_site"},
		"a change from a sandboxed page, by id":          {"POST", byID, with(ada, "Origin", "null"), "cross_site"},
		"a change from another site with a key, by id":   {"POST", byID, with(ada, "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer pic_bob"), "bob"},
		"a page of the origin, by id":                    {"GET", byID, with(ada, "Sec-Fetch-Site", "same-origin"), "ada"},
		"an address that was typed in, by id":            {"GET", byID, with(ada, "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"), "ada"},
		"a page of the host without TLS, by id":          {"GET", byID, with(ada, "Referer", "http://localhost/page"), "ada"},
		"a page of the origin that says so, by id":       {"GET", byID, with(ada, "Origin", "http://localhost"), "ada"},
		"a link from another site, by id":                {"GET", byID, with(ada, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), "unauthorized"},
		"a link from another app, by id":                 {"GET", byID, with(ada, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate"), "unauthorized"},
		"a link that hides where it is, by id":           {"GET", byID, ada, "unauthorized"},
		"a link from another host without TLS, by id":    {"GET", byID, with(ada, "Referer", "http://shop.localhost/page"), "unauthorized"},
		"a link from another port, by id":                {"HEAD", byID, with(ada, "Referer", "http://localhost:9000/"), "unauthorized"},
		"a link from a sandboxed page, by id":            {"GET", byID, with(ada, "Origin", "null", "Referer", "http://localhost/"), "unauthorized"},
		"a link with a key, by id":                       {"GET", byID, with(ada, "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer pic_bob"), "bob"},
		"a session that ended, by id":                    {"GET", byID, with(unknown, "Sec-Fetch-Site", "same-origin"), "unauthorized"},
		"an image of another site, by id":                {"GET", byID, with(ada, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), "unauthorized"},
		"a session that cannot be checked, by id":        {"GET", byID, with(away, "Sec-Fetch-Site", "same-origin"), "unavailable"},
		"the id's path on an app's host is no such path": {"GET", strings.Replace(byID, "localhost", "shop.localhost", 1), ada, nobody},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(tt.method, tt.url, nil)
			maps.Copy(r.Header, tt.header)
			w := httptest.NewRecorder()
			got := nobody
			err := d.ServeHTTP(w, r, func(_ http.ResponseWriter, r *http.Request) error {
				if p := cloud.PlanFrom(r.Context()).Principal; p != nil {
					got = p.Name
				}
				return nil
			})
			var problem struct{ Code string }
			if w.Body.Len() > 0 {
				err = errors.Join(err, json.Unmarshal(w.Body.Bytes(), &problem))
				got = problem.Code
			}
			if err != nil || got != tt.want {
				t.Errorf("got %s, want %s (%d %s, %v)", got, tt.want, w.Code, w.Body, err)
			}
		})
	}
	t.Run("a change from another site on a route is a stranger's", func(t *testing.T) {
		t.Parallel()
		r := httptest.NewRequest("POST", route, nil)
		r.Header = with(ada, "Sec-Fetch-Site", "cross-site")
		if p, err := d.opportunistic(r, true); p != nil || err != nil {
			t.Errorf("got %+v, %v", p, err)
		}
	})
}

// Until somebody owns the instance, no script runs.
func TestDispatcher_unclaimed(t *testing.T) {
	t.Parallel()
	yes := func(context.Context) (bool, error) { return true, nil }
	no := func(context.Context) (bool, error) { return false, nil }
	away := func(context.Context) (bool, error) { return false, errAway }
	for name, tt := range map[string]struct {
		claimed func(context.Context) (bool, error)
		stale   bool // the tables are a snapshot's
		url     string
		want    cloud.Code // "": it runs
	}{
		"an owner":               {yes, false, "http://localhost/users/7", ""},
		"nobody":                 {no, false, "http://localhost/users/7", cloud.CodeUnclaimed},
		"nobody, on an app":      {no, false, "http://shop.localhost/", cloud.CodeUnclaimed},
		"nobody, by id":          {no, false, "http://localhost" + ExecutePrefix + scriptID + "default", cloud.CodeUnclaimed},
		"nobody, a former slug":  {no, false, "http://store.localhost/", cloud.CodeUnclaimed},
		"nobody, a host of none": {no, false, "http://evil.com/", cloud.CodeHostUnknown},
		"the database is away":   {away, false, "http://localhost/users/7", ""},
		"a snapshot":             {no, true, "http://localhost/users/7", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDispatcher(t)
			d.Claimed = tt.claimed
			if tt.stale {
				d.Catalog.fresh = false
				d.Catalog.swap()
			}
			plan, w := dispatch(t, d, "GET", tt.url, "pic_ada")
			var problem struct{ Code cloud.Code }
			if w.Body.Len() > 0 {
				if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
					t.Fatal(err)
				}
			}
			if problem.Code != tt.want || (plan != nil) != (tt.want == "") {
				t.Errorf("got %+v, %d %s, want %q", plan, w.Code, w.Body, tt.want)
			}
		})
	}
}

// Requests wait for a database that starts at the same time, but not for ever.
func TestDispatcher_beforeTheFirstLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{apps: map[string]cloud.AppState{}, fails: errAway}
		source.set(cloud.DefaultApp, "/a")
		c := newCatalog(source, nil)
		c.Start()
		defer c.Stop()
		d := &Dispatcher{Catalog: c}
		ask := func(ctx context.Context) int {
			w := httptest.NewRecorder()
			if err := d.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/", nil).WithContext(ctx), nil); err != nil {
				t.Error(err)
			}
			if away := w.Code == http.StatusServiceUnavailable; away != (w.Header().Get("Retry-After") == "1") {
				t.Errorf("%d with %v", w.Code, w.Header())
			}
			return w.Code
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if got := ask(gone); got != http.StatusServiceUnavailable {
			t.Errorf("who does not wait gets %d", got)
		}
		answered := make(chan int, 1)
		go func() { answered <- ask(t.Context()) }()
		begin := time.Now()
		if got := <-answered; got != http.StatusServiceUnavailable || time.Since(begin) != startPatience {
			t.Errorf("%d after %v", got, time.Since(begin))
		}
		begin = time.Now()
		if got := ask(t.Context()); got != http.StatusServiceUnavailable || time.Since(begin) != 0 {
			t.Errorf("later: %d after %v", got, time.Since(begin))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{apps: map[string]cloud.AppState{}, fails: errAway}
		source.set(cloud.DefaultApp, "/a")
		c := newCatalog(source, nil)
		c.Start()
		defer c.Stop()
		answered := make(chan int, 1)
		go func() {
			_, w := dispatch(t, &Dispatcher{Catalog: c}, "GET", "http://localhost/none", "")
			answered <- w.Code
		}()
		time.Sleep(startPatience / 2)
		source.fail(nil)
		if got := <-answered; got != http.StatusNotFound {
			t.Errorf("who waited got %d", got)
		}
	})
}
