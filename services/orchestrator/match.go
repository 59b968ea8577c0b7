package orchestrator

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// Match is where a request of an app leads.
type Match struct {
	Route  cloud.Route
	Params map[string]string // by parameter name; "*" is what a prefix covers. Nil without any
}

// router finds the route for a request of one app. It is immutable.
type router struct {
	levels []level // most specific host first
}

// level holds the routes of one host pattern.
type level struct {
	host  cloud.HostPattern
	exact map[string][]cloud.Route // by path
	rest  []pattern                // params and prefixes in the order in which they win
}

// pattern is the routes, one a method, of one path that is not exact.
type pattern struct {
	path   cloud.PathPattern
	routes []cloud.Route
}

// newRouter compiles routes. A route whose host or path does not parse cannot
// have been saved, and is left out.
func newRouter(routes []cloud.Route) *router {
	type building struct {
		level
		byShape map[string]*pattern
	}
	hosts := map[cloud.HostPattern]*building{}
	for _, route := range routes {
		host, err := cloud.ParseHostPattern(route.Host)
		if err != nil {
			continue
		}
		path, err := cloud.ParsePathPattern(route.Path)
		if err != nil {
			continue
		}
		b := hosts[host]
		if b == nil {
			b = &building{level: level{host: host, exact: map[string][]cloud.Route{}}, byShape: map[string]*pattern{}}
			hosts[host] = b
		}
		if path.Kind == cloud.PathExact {
			b.exact[route.Path] = append(b.exact[route.Path], route)
			continue
		}
		p := b.byShape[path.Shape()]
		if p == nil {
			p = &pattern{path: path}
			b.byShape[path.Shape()] = p
		}
		p.routes = append(p.routes, route)
	}
	r := &router{}
	for _, b := range hosts {
		for _, p := range b.byShape {
			b.rest = append(b.rest, *p)
		}
		slices.SortFunc(b.rest, func(p, q pattern) int { return precedence(p.path, q.path) })
		r.levels = append(r.levels, b.level)
	}
	slices.SortFunc(r.levels, func(a, b level) int {
		return cmp.Or(hostRank(a.host)-hostRank(b.host), len(b.host.Name)-len(a.host.Name), strings.Compare(a.host.Name, b.host.Name))
	})
	return r
}

func hostRank(p cloud.HostPattern) int {
	switch p.Kind {
	case cloud.HostStrict:
		return 0
	case cloud.HostWildcard:
		return 1
	default:
		return 2
	}
}

// precedence orders patterns that are not exact: more leading literals first,
// then parameters before prefixes, then the longer, then the one with the
// earlier literal.
func precedence(a, b cloud.PathPattern) int {
	if c := cmp.Or(b.Literals()-a.Literals(), int(a.Kind)-int(b.Kind), len(b.Segments)-len(a.Segments)); c != 0 {
		return c
	}
	for i := range a.Segments {
		switch aLiteral, bLiteral := a.Segments[i].Param == "", b.Segments[i].Param == ""; {
		case aLiteral && !bLiteral:
			return -1
		case bLiteral && !aLiteral:
			return 1
		}
	}
	return strings.Compare(a.Shape(), b.Shape())
}

// match finds the route for a request to host (normal form). On the first host
// level with a path that fits, the best path whose method fits wins; if none
// does, the answer is CodeMethodNotAllowed with the methods that would, sorted,
// in Details. CodeRouteUnknown where no path fits. A route for GET answers HEAD
// unless another does.
func (r *router) match(host, method string, u *url.URL) (Match, error) {
	var allowed []string
	for _, l := range r.levels {
		if !l.host.Matches(host) {
			continue
		}
		m, found, methods := l.match(method, u)
		if found {
			return m, nil
		}
		if len(methods) > 0 {
			allowed = methods
			break
		}
	}
	if allowed == nil {
		return Match{}, cloud.Errorf(cloud.CodeRouteUnknown, "no route of this app matches the path %s", u.EscapedPath())
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	err := cloud.Errorf(cloud.CodeMethodNotAllowed, "the path %s does not take %s", u.EscapedPath(), method)
	err.Details = Allowed{Allow: slices.Compact(allowed)}
	return Match{}, err
}

// Allowed are the Details of a CodeMethodNotAllowed error.
type Allowed struct {
	Allow []string `json:"allow"`
}

func (l level) match(method string, u *url.URL) (Match, bool, []string) {
	var allowed []string
	var segments []string
	if u.RawPath == "" {
		if routes := l.exact[u.Path]; routes != nil {
			if route, ok := byMethod(routes, method); ok {
				return Match{Route: route}, true, nil
			}
			allowed = methodsOf(allowed, routes)
		}
	} else {
		segments = split(u)
		for path, routes := range l.exact {
			if !slices.Equal(strings.Split(path[1:], "/"), segments) {
				continue
			}
			if route, ok := byMethod(routes, method); ok {
				return Match{Route: route}, true, nil
			}
			allowed = methodsOf(allowed, routes)
		}
	}
	if len(l.rest) > 0 && segments == nil {
		segments = split(u)
	}
	for _, p := range l.rest {
		if !fits(p.path, segments) {
			continue
		}
		if route, ok := byMethod(p.routes, method); ok {
			return Match{Route: route, Params: params(route.Path, segments)}, true, nil
		}
		allowed = methodsOf(allowed, p.routes)
	}
	return Match{}, false, allowed
}

// split is the path's segments, each decoded by itself, so that an encoded
// slash stays inside its segment.
func split(u *url.URL) []string {
	segments := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, s := range segments {
		if d, err := url.PathUnescape(s); err == nil {
			segments[i] = d
		}
	}
	return segments
}

func fits(p cloud.PathPattern, segments []string) bool {
	n := len(p.Segments)
	if len(segments) < n || p.Kind == cloud.PathPrefix && len(segments) == n || p.Kind != cloud.PathPrefix && len(segments) > n {
		return false
	}
	for i, s := range p.Segments {
		if s.Param == "" && s.Literal != segments[i] || s.Param != "" && segments[i] == "" {
			return false
		}
	}
	return true
}

// params reads the parameters by the route's own names, which may differ from
// those of other methods' routes of the same shape.
func params(path string, segments []string) map[string]string {
	p, err := cloud.ParsePathPattern(path)
	if err != nil {
		return nil
	}
	params := map[string]string{}
	for i, s := range p.Segments {
		if s.Param != "" {
			params[s.Param] = segments[i]
		}
	}
	if p.Kind == cloud.PathPrefix {
		params["*"] = strings.Join(segments[len(p.Segments):], "/")
	}
	return params
}

func byMethod(routes []cloud.Route, method string) (cloud.Route, bool) {
	wanted := []string{method, cloud.AnyMethod}
	if method == http.MethodHead {
		wanted = []string{method, http.MethodGet, cloud.AnyMethod}
	}
	for _, w := range wanted {
		for _, r := range routes {
			if r.Method == w {
				return r, true
			}
		}
	}
	return cloud.Route{}, false
}

func methodsOf(allowed []string, routes []cloud.Route) []string {
	for _, r := range routes {
		allowed = append(allowed, r.Method)
	}
	return allowed
}
