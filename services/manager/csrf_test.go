package manager_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// A page of another origin neither changes anything nor reads anything with the
// cookie of the person who looks at it. Programs send none of these headers.
func TestAPI_crossSite(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const refused, anonymous = cloud.CodeCrossSite, cloud.CodeUnauthorized
	for _, test := range []struct {
		name                 string
		headers              []string
		read, write, program cloud.Code // with the cookie; a change with a bearer token
	}{
		{"no headers", nil, "", refused, ""},
		{"its own origin", []string{"Origin", "http://localhost:8080"}, "", "", ""},
		{"its own origin, as browsers say", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:8080"}, "", "", ""},
		{"typed in by the user", []string{"Sec-Fetch-Site", "none"}, "", "", ""},
		{"another port", []string{"Origin", "http://localhost:9090"}, "", refused, refused},
		{"another host", []string{"Origin", "http://evil.example.com"}, "", refused, refused},
		{"an app of the instance", []string{"Origin", "http://shop.localhost:8080", "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, anonymous, refused, refused},
		{"another site", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, anonymous, refused, refused},
		{"a link on another site", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, "", refused, refused},
		{"a sandboxed frame", []string{"Origin", "null"}, "", refused, refused},
		{"what is no origin", []string{"Origin", "http://local host"}, "", refused, refused},
		{"another site that lies about its origin", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://localhost:8080"}, anonymous, refused, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			check := func(what string, a answer, want cloud.Code) {
				t.Helper()
				a.t = t
				if want == "" {
					if a.status >= 300 {
						t.Errorf("%s: %d %s", what, a.status, a.body)
					}
					return
				}
				if p := a.fails(want.Status(), want, "", "…"); p.Code != want {
					t.Errorf("%s: %s, want %s", what, p.Code, want)
				}
			}
			check("reading with the cookie", s.cookie(s.session, "GET", "/me", "", test.headers...), test.read)
			check("changing with the cookie", s.cookie(s.session, "PATCH", "/apps/default", `{"name":"Home"}`, test.headers...), test.write)
			check("changing with a bearer token", s.cookie("", "PATCH", "/apps/default", `{"name":"Home"}`, append([]string{"Authorization", "Bearer " + s.session}, test.headers...)...), test.program)
		})
	}
}

func TestAPI_aBearerTokenDecidesAlone(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.cookie(s.session, "GET", "/me", "", "Authorization", "Bearer pis_stolen").fails(401, cloud.CodeUnauthorized, "", "…")
	s.cookie("pis_stolen", "GET", "/me", "", "Authorization", "Bearer "+s.session).decode(200)
	s.cookie("pis_stolen", "GET", "/me", "").fails(401, cloud.CodeUnauthorized, "", "…")
	s.cookie(s.session, "GET", "/me", "", "Authorization", "Basic b2xnYTp4").decode(200)
	key := s.must("POST", "/me/keys", `{"name":"ci","scopes":["script:read"]}`)["token"].(string)
	s.as(key, "GET", "/api/v1/me", nil).decode(200)
}
