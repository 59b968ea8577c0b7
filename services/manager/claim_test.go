package manager_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/manager"
)

// described is an operation as the API's description has it.
type described struct {
	ID        string `json:"operationId"`
	Security  []map[string][]string
	Unclaimed bool `json:"x-picloud-unclaimed"`
	method    string
	path      string
}

// operations are those of the API's description, by id.
func (s *server) operations() map[string]described {
	s.t.Helper()
	a := s.as("owner", "GET", "/api/v1/openapi.json", nil)
	var doc struct {
		Paths map[string]map[string]described
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || a.status != 200 {
		s.t.Fatalf("%d %v", a.status, err)
	}
	out := map[string]described{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			out[op.ID] = op
		}
	}
	if len(out) < 60 {
		s.t.Fatalf("only %d operations are described", len(out))
	}
	return out
}

// example is the path with something in the place of each parameter.
func (d described) example() string { return d.exampleIn("default") }

// exampleIn is example for an app.
func (d described) exampleIn(app string) string {
	return strings.NewReplacer("{app}", app, "{", "", "}", "").Replace(d.path)
}

func TestAPI_beforeThereIsAnOwner(t *testing.T) {
	t.Parallel()
	operations := start(t, nil).operations()
	s := serve(t, nil)
	const detail = "this instance has no owner yet; claim it first, with pic login --claim or POST /api/v1/claim"
	var answer []string
	for id, op := range operations {
		a := s.as("pic_"+strings.Repeat("a", 52), op.method, op.example(), nil)
		if a.status == 403 {
			a.fails(403, cloud.CodeUnclaimed, "", detail)
			continue
		}
		answer = append(answer, id)
	}
	slices.Sort(answer)
	if want := []string{"claim", "health", "version"}; !slices.Equal(answer, want) {
		t.Errorf("%v answer, want %v", answer, want)
	}
	for _, path := range []string{"/api/v1/nothing", "/api/v1/apps/../me", "/admin/", "/admin", "/", "/api/v1//"} {
		s.as("", "GET", path, nil).fails(403, cloud.CodeUnclaimed, "", detail)
	}
	s.as("", "PUT", "/api/v1/apps", nil).fails(403, cloud.CodeUnclaimed, "", detail)
	s.as("", "GET", "/healthz", nil).is(200, `{"status":"ok"}`)
}

func TestAPI_claim(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.as("", "POST", "/api/v1/claim", `{"name":"olga","password":"short"}`).fails(422, cloud.CodeInvalid, "password", "…")
	s.as("", "POST", "/api/v1/claim", `{"name":"","password":"a horse of mine"}`).fails(422, cloud.CodeInvalid, "name", "is empty")
	s.as("", "POST", "/api/v1/claim", `{"name":"olga","password":"a horse of mine"}`).is(201, `{"token":"*","session_id":"*","expires_at":"*",
		"user":{"id":"*","name":"olga","role":"owner","active":true,"access":"password","second_factor":false,"created_at":"*","last_login_at":"*"}}`)
	s.as("", "POST", "/api/v1/claim", `{"name":"mallory","password":"a horse of mine"}`).fails(409, cloud.CodeConflict, "", "…")
	in := s.as("", "POST", "/api/v1/sessions", `{"name":"olga","password":"a horse of mine"}`).decode(201)
	s.as(in["token"].(string), "GET", "/api/v1/me", nil).is(200,
		`{"user_id":"*","name":"olga","role":"owner","access":"password","second_factor":false,"session_id":"*","key":null}`)
}

func TestAPI_claimByPagesOfOthers(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.cookie("", "POST", "/claim", `{"name":"mallory","password":"a horse of mine"}`, "Origin", "http://evil.example.com").
		fails(403, cloud.CodeCrossSite, "", "a page of another origin may not do this")
	in := s.cookie("", "POST", "/claim", `{"name":"olga","password":"a horse of mine","cookie":true}`, "Origin", "http://localhost:8080")
	if got := in.decode(201); got["token"] != nil {
		t.Errorf("the token is in the body: %v", slices.Sorted(maps.Keys(got)))
	}
}

type unsure struct{ cloud.Accounts }

func (unsure) Claimed(context.Context) (bool, error) { return true, errors.New("no idea") }

func TestAPI_whenNobodyKnowsWhetherThereIsAnOwner(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *server, c *manager.Config) { c.Accounts = unsure{s.accounts} })
	a := s.owner("GET", "/me", nil)
	a.fails(503, cloud.CodeUnavailable, "", "cannot tell at this moment whether the instance has an owner; try again")
	if got := a.header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After = %q", got)
	}
	s.as("", "POST", "/api/v1/sessions", `{"name":"olga","password":"x"}`).fails(503, cloud.CodeUnavailable, "", "…")
	s.as("", "GET", "/healthz", nil).is(200, `{"status":"ok"}`)
	if !strings.Contains(s.log.String(), "no idea") {
		t.Errorf("the log does not say why: %s", s.log)
	}
}
