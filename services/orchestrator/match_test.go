package orchestrator

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// routes makes routes from lines "METHOD [HOST]PATH", whose id is the line.
func routes(lines ...string) []cloud.Route {
	var rs []cloud.Route
	for _, l := range lines {
		method, rest, _ := strings.Cut(l, " ")
		host, path, _ := strings.Cut(rest, "/")
		rs = append(rs, cloud.Route{ID: l, ScriptID: l, Method: method, Host: host, Path: "/" + path, Mode: cloud.Sync})
	}
	return rs
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		name    string
		routes  []cloud.Route
		request string // "METHOD http://host/path"
		want    string // route id, or error code
		params  map[string]string
		allow   []string
	}{
		{name: "exact", routes: routes("ANY /greet"), request: "GET http://h/greet", want: "ANY /greet"},
		{name: "a trailing slash counts", routes: routes("ANY /greet"), request: "GET http://h/greet/", want: "route_unknown"},
		{name: "root", routes: routes("ANY /"), request: "GET http://h/", want: "ANY /"},
		{name: "param is one whole segment", routes: routes("ANY /users/:id"), request: "GET http://h/users/7", want: "ANY /users/:id", params: map[string]string{"id": "7"}},
		{name: "param does not span segments", routes: routes("ANY /users/:id"), request: "GET http://h/users/7/x", want: "route_unknown"},
		{name: "param is not empty", routes: routes("ANY /users/:id"), request: "GET http://h/users/", want: "route_unknown"},
		{name: "an encoded slash stays inside its segment", routes: routes("ANY /users/:id"), request: "GET http://h/users/a%2Fb", want: "ANY /users/:id", params: map[string]string{"id": "a/b"}},
		{name: "literals match decoded", routes: routes("ANY /grüße"), request: "GET http://h/gr%C3%BC%C3%9Fe", want: "ANY /grüße"},
		{name: "an exact path with an encoded slash elsewhere", routes: routes("ANY /a b/c"), request: "GET http://h/a%20b/c", want: "ANY /a b/c"},
		{name: "prefix is the subtree", routes: routes("ANY /files/*"), request: "GET http://h/files/a/b", want: "ANY /files/*", params: map[string]string{"*": "a/b"}},
		{name: "prefix with nothing behind its slash", routes: routes("ANY /files/*"), request: "GET http://h/files/", want: "ANY /files/*", params: map[string]string{"*": ""}},
		{name: "prefix is not the path itself", routes: routes("ANY /files/*"), request: "GET http://h/files", want: "route_unknown"},
		{name: "exact before param before prefix", routes: routes("ANY /a/*", "ANY /a/:x", "ANY /a/b"), request: "GET http://h/a/b", want: "ANY /a/b"},
		{name: "param before prefix on a tie", routes: routes("ANY /a/*", "ANY /a/:x"), request: "GET http://h/a/c", want: "ANY /a/:x", params: map[string]string{"x": "c"}},
		{name: "more leading literals win", routes: routes("ANY /:x/b/c", "ANY /a/*"), request: "GET http://h/a/b/c", want: "ANY /a/*", params: map[string]string{"*": "b/c"}},
		{name: "longest prefix", routes: routes("ANY /*", "ANY /a/*", "ANY /a/b/*"), request: "GET http://h/a/b/c", want: "ANY /a/b/*", params: map[string]string{"*": "c"}},
		{name: "a later literal decides", routes: routes("ANY /a/:x/:y", "ANY /a/:x/c"), request: "GET http://h/a/b/c", want: "ANY /a/:x/c", params: map[string]string{"x": "b"}},
		{name: "a method before any", routes: routes("ANY /a", "POST /a"), request: "POST http://h/a", want: "POST /a"},
		{name: "any for other methods", routes: routes("ANY /a", "POST /a"), request: "PUT http://h/a", want: "ANY /a"},
		{name: "GET answers HEAD", routes: routes("GET /a"), request: "HEAD http://h/a", want: "GET /a"},
		{name: "HEAD before GET", routes: routes("GET /a", "HEAD /a"), request: "HEAD http://h/a", want: "HEAD /a"},
		{name: "method mismatch", routes: routes("GET /a", "PUT /a"), request: "POST http://h/a", want: "method_not_allowed", allow: []string{"GET", "HEAD", "PUT"}},
		{name: "a wider path takes the method", routes: routes("GET /a", "ANY /*"), request: "POST http://h/a", want: "ANY /*", params: map[string]string{"*": "a"}},
		{name: "parameter names of the method's own route", routes: routes("GET /u/:id", "PUT /u/:name"), request: "PUT http://h/u/7", want: "PUT /u/:name", params: map[string]string{"name": "7"}},
		{name: "strict host first", routes: routes("ANY /a", "ANY *.x.org/a", "ANY w.x.org/a"), request: "GET http://w.x.org/a", want: "ANY w.x.org/a"},
		{name: "wildcard before any", routes: routes("ANY /a", "ANY *.x.org/a"), request: "GET http://v.x.org/a", want: "ANY *.x.org/a"},
		{name: "longer wildcard first", routes: routes("ANY *.org/a", "ANY *.x.org/a"), request: "GET http://v.x.org/a", want: "ANY *.x.org/a"},
		{name: "falls through to the next host level", routes: routes("ANY /a", "ANY w.x.org/b"), request: "GET http://w.x.org/a", want: "ANY /a"},
		{name: "does not fall through on a method", routes: routes("ANY /a", "GET w.x.org/a"), request: "POST http://w.x.org/a", want: "method_not_allowed", allow: []string{"GET", "HEAD"}},
		{name: "nothing", request: "GET http://h/a", want: "route_unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			method, raw, _ := strings.Cut(tt.request, " ")
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			m, err := newRouter(tt.routes).match(cloud.NormalHost(u.Host), method, u)
			got := m.Route.ID
			if err != nil {
				got = string(cloud.CodeOf(err))
			}
			if got != tt.want || !maps.Equal(m.Params, tt.params) {
				t.Errorf("got %q with %v, want %q with %v", got, m.Params, tt.want, tt.params)
			}
			var e *cloud.Error
			if tt.allow != nil && (!errors.As(err, &e) || !slices.Equal(e.Details.(Allowed).Allow, tt.allow)) {
				t.Errorf("got %#v, want Allow %v", err, tt.allow)
			}
		})
	}
}

// FuzzMatch holds the two-way rule of the router: what it returns fits the
// request by the definition of the pattern, and the order in which routes were
// saved changes nothing.
func FuzzMatch(f *testing.F) {
	f.Add("/users/:id", "/users/*", "/users/7", "GET", "ANY")
	f.Add("/a", "/*", "/a%2Fb", "POST", "GET")
	f.Fuzz(func(t *testing.T, p1, p2, path, method, routeMethod string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" {
			t.Skip()
		}
		a := cloud.Route{ID: "a", Method: cloud.AnyMethod, Path: p1}
		b := cloud.Route{ID: "b", Method: routeMethod, Path: p2}
		if cloud.Conflicts(a, b) {
			t.Skip()
		}
		m, err := newRouter([]cloud.Route{a, b}).match("h", method, u)
		n, err2 := newRouter([]cloud.Route{b, a}).match("h", method, u)
		if m.Route != n.Route || !maps.Equal(m.Params, n.Params) || cloud.CodeOf(err) != cloud.CodeOf(err2) {
			t.Fatalf("order matters: %v %v, %v %v", m, err, n, err2)
		}
		if err != nil {
			return
		}
		pattern, perr := cloud.ParsePathPattern(m.Route.Path)
		if perr != nil {
			t.Fatalf("matched the malformed path %q", m.Route.Path)
		}
		if !fits(pattern, split(u)) {
			t.Fatalf("%q does not fit %q", path, m.Route.Path)
		}
	})
}
