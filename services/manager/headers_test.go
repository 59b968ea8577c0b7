package manager_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestHeaders_everyAnswerHasThem(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const api = "default-src 'none'; frame-ancestors 'none'"
	const dashboard = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	for _, test := range []struct {
		token, method, path, policy, cache string
		status                             int
	}{
		{"", "GET", "/healthz", api, "no-store", 200},
		{"", "GET", "/api/v1/openapi.json", api, "no-cache", 200},
		{"owner", "GET", "/api/v1/me", api, "no-store", 200},
		{"owner", "GET", "/api/v1/apps/nothing", api, "no-store", 404},
		{"owner", "GET", "/api/v1/apps//x", api, "no-store", 404},
		{"owner", "PUT", "/api/v1/apps", api, "no-store", 405},
		{"owner", "POST", "/api/v1/apps", api, "no-store", 400},
		{"", "GET", "/api/v1/me", api, "no-store", 401},
		{"", "GET", "/", api, "no-store", 404},
		{"", "GET", "/administration", api, "no-store", 404},
		{"", "GET", "/admin", dashboard, "no-store", 404},
		{"", "GET", "/admin/", dashboard, "no-store", 404},
		{"", "GET", "/admin/invitation", dashboard, "no-store", 404},
	} {
		a := s.as(test.token, test.method, test.path, nil)
		if a.status != test.status {
			t.Errorf("%s: %d, want %d", a.what, a.status, test.status)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": test.policy, "Cache-Control": test.cache,
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := a.header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s = %q, want %q", a.what, name, got, want)
			}
		}
	}
	s.as("", "GET", "/admin/", nil).fails(404, cloud.CodeNotFound, "", "…")
}
