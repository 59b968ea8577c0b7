package executor

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestSetsSession(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"":                                      false,
		"a=1; Path=/":                           false,
		"a=picloud_session=1":                   false,
		"picloud_sessions=1":                    false,
		"picloud_session=x":                     true,
		"picloud_session=; Max-Age=0":           true,
		"__Host-picloud_session=x; Secure":      true,
		" picloud_session\t=x":                  true,
		"picloud_session":                       true,
		"=picloud_session=x":                    true,
		" = =picloud_session=x; Domain=example": true,
		"=picloud_session":                      true,
	} {
		if got := setsSession(value); got != want {
			t.Errorf("%q sets a session: %v", value, got)
		}
	}
}

// TestExecutor_credentials sends credentials of PiCloud's, and what looks like
// the server's own words, in the ways that requests can carry them.
func TestExecutor_credentials(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	plan := b.script("app", "start")
	for _, principal := range []*cloud.Principal{nil, {UserID: "u"}} {
		plan = b.change(plan, func(p *cloud.Plan) { p.Principal = principal })
		got := b.do(t, plan, "GET", "/", nil, func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer theirs", "Bearer pic_revoked", "bearer pis_session"}
			r.Header["Cookie"] = []string{"a=1; picloud_session=pis_1", "__Host-picloud_session=pis_2", "b=\"2\";c=3"}
			for _, name := range []string{"X-PiCloud-App", "x-picloud-principal", "X-PICLOUD-EXECUTION-ID"} {
				r.Header[name] = []string{"smuggled"}
			}
			r.Header["X-Hop"] = []string{"smuggled"}
			r.Header["Connection"] = []string{"x-hop"}
			r.Header["Proxy-Authorization"] = []string{"Bearer pic_proxy"}
		})
		for _, word := range []string{"pic_", "pis_", "smuggled", "picloud"} {
			if strings.Contains(strings.ToLower(strings.ReplaceAll(got.body, "[]", "")), word) {
				t.Errorf("%q is in %s", word, got.body)
			}
		}
		for _, kept := range []string{"{authorization Bearer theirs}", "{cookie a=1}", "{cookie b=\"2\";c=3}"} {
			if !strings.Contains(got.body, kept) {
				t.Errorf("%s is not in %s", kept, got.body)
			}
		}
	}
}

func TestExecutor_setCookie(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	plan := b.script("app", "headers set-cookie: a=1; Path=/|Set-Cookie: picloud_session=evil|set-cookie: =picloud_session=evil|"+
		"SET-COOKIE: __Host-picloud_session=; Max-Age=0|set-cookie: b=2|clear-site-data: \"*\"")
	got := b.get(t, plan)
	if cookies := got.header["Set-Cookie"]; !reflect.DeepEqual(cookies, []string{"a=1; Path=/", "b=2"}) || got.header.Get("Clear-Site-Data") == "" {
		t.Errorf("got %+v", got)
	}
	plan = b.change(plan, func(p *cloud.Plan) { p.Sandboxed = true }) // comes from the dashboard's origin
	if got := b.get(t, plan); got.header["Set-Cookie"] != nil || got.header["Clear-Site-Data"] != nil || got.header.Get("Content-Security-Policy") != "sandbox" {
		t.Errorf("sandboxed: got %+v", got)
	}
}

func TestExecutor_principal(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	plan := b.script("app", "principal")
	for _, c := range []struct {
		principal *cloud.Principal
		want      string
	}{
		{nil, "nobody"},
		{&cloud.Principal{UserID: "u", Name: "Ada", Role: cloud.Owner}, "{ID:u Name:Ada Role:app_admin}"},
		{&cloud.Principal{UserID: "u", Name: "Ada", Role: cloud.Member, Apps: map[string]cloud.AppRole{"app": cloud.Viewer}}, "{ID:u Name:Ada Role:viewer}"},
		{&cloud.Principal{UserID: "u", Name: "Ada", Role: cloud.Member, Apps: map[string]cloud.AppRole{"other": cloud.Viewer}}, "{ID:u Name:Ada Role:}"},
		{&cloud.Principal{UserID: "u", Name: "Ada", Role: cloud.Owner, Key: &cloud.Key{AppID: "other"}}, "{ID:u Name:Ada Role:}"},
	} {
		plan = b.change(plan, func(p *cloud.Plan) { p.Principal = c.principal })
		if got := b.get(t, plan); got.body != c.want {
			t.Errorf("got %s, want %s", got.body, c.want)
		}
	}
}
