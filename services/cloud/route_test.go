package cloud

import (
	"regexp"
	"strings"
	"testing"
)

func TestParsePathPattern(t *testing.T) {
	for path, want := range map[string]string{
		"/":            "exact /",
		"/greet":       "exact /greet",
		"/greet/":      "exact /greet/",
		"/users/:id":   "param /users/::",
		"/:a/x/:b":     "param /::/x/::",
		"/files/*":     "prefix /files/*",
		"/*":           "prefix /*",
		"/u/:id/*":     "prefix /u/::/*",
		"/grüße":       "exact /grüße",
		"":             "is empty",
		"greet":        "does not start with /",
		"/a//b":        "empty segment",
		"/a/../b":      `the segment ".."`,
		"/a/*/b":       "* before its end",
		"/a*":          `"*" inside`,
		"/a?b":         `"?" inside`,
		"/a%20b":       `"%" inside`,
		"/:":           "without a parameter name",
		"/:1":          `"1" may hold`,
		"/:a/:a":       "twice",
		"/a\nb":        "control character",
		"/a\xff":       "not valid UTF-8",
		"/" + long:     "has 1101 bytes",
		deep:           "has 33 segments",
		"/:a-b":        `"a-b" may hold`,
		"/users/:id/:": "without a parameter name",
	} {
		p, err := ParsePathPattern(path)
		got := p.Kind.String() + " " + p.Shape()
		if err != nil {
			got = err.Error()
			if CodeOf(err) != CodeInvalid {
				t.Errorf("%q: code %s", path, CodeOf(err))
			}
		}
		if err == nil && got != want || err != nil && !strings.Contains(got, want) {
			t.Errorf("%q is %s, want %s", path, got, want)
		}
	}
}

var (
	long = strings.Repeat("x", 1100)
	deep = strings.Repeat("/a", 33)
)

func FuzzParsePathPattern(f *testing.F) {
	f.Add("/users/:id/*")
	f.Fuzz(func(t *testing.T, path string) {
		p, err := ParsePathPattern(path)
		if err != nil {
			return
		}
		if p.String() != path {
			t.Errorf("%q reads as %q", path, p)
		}
		if !Conflicts(Route{Path: path}, Route{Path: path}) {
			t.Errorf("%q does not conflict with itself", path)
		}
	})
}

func TestConflicts(t *testing.T) {
	for _, tt := range []struct {
		a, b Route
		want bool
	}{
		{Route{Method: "GET", Path: "/a"}, Route{Method: "GET", Path: "/a"}, true},
		{Route{Method: "GET", Path: "/a"}, Route{Method: "POST", Path: "/a"}, false},
		{Route{Method: "GET", Path: "/a"}, Route{Method: "ANY", Path: "/a"}, false},
		{Route{Method: "GET", Path: "/u/:id"}, Route{Method: "GET", Path: "/u/:userId"}, true},
		{Route{Method: "GET", Path: "/u/:id"}, Route{Method: "GET", Path: "/u/id"}, false},
		{Route{Method: "GET", Path: "/u/*"}, Route{Method: "GET", Path: "/u/:x"}, false},
		{Route{Method: "GET", Path: "/a", Host: "x.org"}, Route{Method: "GET", Path: "/a", Host: "X.org"}, true},
		{Route{Method: "GET", Path: "/a", Host: "x.org"}, Route{Method: "GET", Path: "/a"}, false},
	} {
		if got := Conflicts(tt.a, tt.b); got != tt.want {
			t.Errorf("%+v and %+v: %v", tt.a, tt.b, got)
		}
	}
}

func TestReserved(t *testing.T) {
	for path, want := range map[string]string{
		"/api": "/api/", "/api/x": "/api/", "/api/*": "/api/", "/apis": "", "/admin": "/admin/", "/realtime/x": "/realtime/",
		"/healthz": "/healthz", "/healthz/x": "", "/version": "/version", "/versions": "", "/*": "", "/": "",
	} {
		if got := Reserved(path); got != want {
			t.Errorf("%q reserves %q, want %q", path, got, want)
		}
	}
}

func TestParseHostPattern(t *testing.T) {
	for host, want := range map[string]string{
		"":                        "any ",
		"Shop.Example.com":        "strict shop.example.com",
		"*.example.com":           "wildcard example.com",
		"*":                       "label",
		"a.*.com":                 "label",
		"http://x.org":            "label",
		"x.org:80":                "label",
		"1.2.3.4":                 "is an address",
		"[::1]":                   "is an address",
		"x..org":                  "label",
		strings.Repeat("a.", 127): "characters",
		"xn--bcher-kva.example":   "strict xn--bcher-kva.example",
		"bücher.example":          "label",
		"-x.org":                  "label",
	} {
		p, err := ParseHostPattern(host)
		got := p.Kind.String() + " " + p.Name
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != want || err != nil && !strings.Contains(got, want) {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
}

func TestNormalHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"":                        "",
		"Pi.Local":                "pi.local",
		"pi.local.:8080":          "pi.local",
		"localhost:":              "localhost",
		"[::1]":                   "::1",
		"[FE80::1]:8080":          "fe80::1",
		"::1":                     "::1",
		"localhost:8033.evil.com": "localhost:8033.evil.com",
		"localhost:80:80":         "localhost:80:80",
		"[::1].evil.com":          "[::1].evil.com",
		"[::1]:80.Evil.com":       "[::1]:80.evil.com",
		"[::1":                    "[::1",
	} {
		if got := NormalHost(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

// Nothing but a port, brackets and a dot may be taken from a host.
func FuzzNormalHost(f *testing.F) {
	for _, h := range []string{"localhost:80", "[::1]:8", "X.org.", "a:b:c", "[", "localhost:8033.evil.com", "[::1].evil.com"} {
		f.Add(h)
	}
	around := regexp.MustCompile(`^(\]|\.)?(:[0-9]*)?$`)
	f.Fuzz(func(t *testing.T, host string) {
		n := NormalHost(host)
		if strings.ToLower(n) != n {
			t.Errorf("%q is not lower case", n)
		}
		lower := strings.ToLower(host)
		rest, plain := strings.CutPrefix(lower, n)
		inner, bracketed := strings.CutPrefix(lower, "["+n)
		if (!plain || !around.MatchString(rest)) && (!bracketed || !around.MatchString(strings.TrimPrefix(inner, "."))) {
			t.Errorf("%q became %q", host, n)
		}
	})
}

func TestCheckSlug(t *testing.T) {
	for slug, ok := range map[string]bool{"a": true, "a-1": true, "": false, "-a": false, "a-": false, "A": false, "a.b": false, strings.Repeat("a", 64): false} {
		if err := CheckSlug(slug); (err == nil) != ok {
			t.Errorf("%q: %v", slug, err)
		}
	}
}
