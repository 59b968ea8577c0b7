package manager

import (
	"net/http"
	"strings"
)

// dashboard is where the dashboard lives on instance hosts.
const dashboard = "/admin/"

// The content security policies (CSP Level 3): the API's answers are no pages,
// the dashboard is made of its own files alone and fits into nobody's frame.
const (
	apiPolicy       = "default-src 'none'; frame-ancestors 'none'"
	dashboardPolicy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

// secure puts what browsers should know of every answer into its header.
func secure(h http.Header, path string) {
	policy := apiPolicy
	if strings.HasPrefix(path, dashboard) || path+"/" == dashboard {
		policy = dashboardPolicy
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}
