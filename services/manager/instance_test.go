package manager_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/manager"
)

func TestAPI_metrics(t *testing.T) {
	t.Parallel()
	const text = "picloud_outbox_depth{app=\"shop\"} 3\n"
	s := start(t, func(_ *server, c *manager.Config) {
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = io.WriteString(w, text)
		})
	})
	a := s.owner("GET", "/metrics", nil)
	if a.status != 200 || string(a.body) != text || a.header.Get("Content-Type") != "text/plain; version=0.0.4" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	s.let("member", cloud.Principal{UserID: cloud.NewID(), Name: "member", Role: cloud.Member})
	s.as("member", "GET", "/api/v1/metrics", nil).fails(403, cloud.CodeForbidden, "", "member may not do this (InstanceAdmin): it takes the instance role admin")
	s.let("narrow", cloud.Principal{UserID: cloud.NewID(), Name: "narrow", Role: cloud.Owner, Key: &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeLogRead}}})
	s.as("narrow", "GET", "/api/v1/metrics", nil).fails(403, cloud.CodeForbidden, "", "narrow may not do this (InstanceAdmin): the API key lacks the scope instance:admin")
}

func TestAPI_withoutMetrics(t *testing.T) {
	t.Parallel()
	start(t, nil).owner("GET", "/metrics", nil).fails(503, cloud.CodeUnavailable, "", "this server measures nothing")
}
