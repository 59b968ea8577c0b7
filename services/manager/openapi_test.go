package manager

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"os"
	"slices"
	"testing"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// unused is a Manager whose parts are never asked.
func unused(t *testing.T) *Manager {
	t.Helper()
	m, err := New(Config{
		Store:        struct{ Store }{},
		Builder:      struct{ Builder }{},
		Router:       struct{ Router }{},
		Authorizer:   authz.Policy{},
		Authenticate: func(context.Context, string) (*cloud.Principal, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type openAPI struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string                `json:"operationId"`
		Security    []map[string][]string `json:"security"`
	} `json:"paths"`
}

// The document is what clients are generated from: a change of it must be seen.
func TestOpenAPI_golden(t *testing.T) {
	m := unused(t)
	for _, file := range []string{"testdata/openapi.json", "../../docs/openapi.json"} {
		if *update {
			if err := os.WriteFile(file, m.document, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.document, want) {
			t.Errorf("the API's description is not that of %s; if the change is meant, run go test ./services/manager -run OpenAPI -update", file)
		}
	}
}

func TestOpenAPI_paths(t *testing.T) {
	var doc openAPI
	if err := json.Unmarshal(unused(t).document, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi = %q", doc.OpenAPI)
	}
	got := map[string]string{}
	for path, item := range doc.Paths {
		for method, op := range item {
			got[method+" "+path] = op.OperationID
		}
	}
	const app = "/api/v1/apps/{app}"
	want := map[string]string{
		"get /healthz":                  "health",
		"get /version":                  "version",
		"get /api/v1/openapi.json":      "openapi",
		"get /api/v1/me":                "whoami",
		"get /api/v1/apps":              "list-apps",
		"post /api/v1/apps":             "create-app",
		"get " + app:                    "get-app",
		"patch " + app:                  "update-app",
		"delete " + app:                 "delete-app",
		"get " + app + "/domains":       "list-domains",
		"post " + app + "/domains":      "add-domain",
		"get " + app + "/scripts":       "list-scripts",
		"post " + app + "/deploy":       "deploy",
		"get " + app + "/routes":        "list-routes",
		"post " + app + "/routes":       "add-route",
		"post " + app + "/routes:check": "check-route",
		"get " + app + "/routes:match":  "match-route",
		"get " + app + "/executions":    "list-executions",
		"get " + app + "/kv":            "list-collections",

		"delete " + app + "/domains/{host}":                   "delete-domain",
		"get " + app + "/scripts/{script}":                    "get-script",
		"put " + app + "/scripts/{script}":                    "save-script",
		"delete " + app + "/scripts/{script}":                 "delete-script",
		"get " + app + "/scripts/{script}/versions":           "list-versions",
		"get " + app + "/scripts/{script}/versions/{version}": "get-version",
		"post " + app + "/scripts/{script}/rollback":          "rollback-script",
		"delete " + app + "/routes/{route}":                   "delete-route",
		"get " + app + "/executions/{id}":                     "get-execution",
		"get " + app + "/executions:tail":                     "tail-executions",
		"get " + app + "/kv/{collection}":                     "list-keys",
		"get " + app + "/kv/{collection}/{key}":               "get-key",
		"put " + app + "/kv/{collection}/{key}":               "set-key",
		"delete " + app + "/kv/{collection}/{key}":            "delete-key",
	}
	if !maps.Equal(got, want) {
		t.Errorf("operations = %v, want %v", got, want)
	}
}

func TestAccess_everyOperationHasARule(t *testing.T) {
	var doc openAPI
	if err := json.Unmarshal(unused(t).document, &doc); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for path, item := range doc.Paths {
		for method, op := range item {
			ids = append(ids, op.OperationID)
			rule, ok := access[op.OperationID]
			if !ok {
				t.Errorf("%s %s (%s) has no rule", method, path, op.OperationID)
				continue
			}
			if open := []string{"health", "version", "openapi"}; rule.open != slices.Contains(open, op.OperationID) {
				t.Errorf("%s: open = %v", op.OperationID, rule.open)
			}
			if rule.open == (len(op.Security) > 0) {
				t.Errorf("%s: the description and the rule differ about credentials", op.OperationID)
			}
			ways := 0
			for _, way := range []bool{rule.open, rule.anybody, rule.known, len(rule.needs) > 0} {
				if way {
					ways++
				}
			}
			if ways != 1 {
				t.Errorf("%s lets callers in by %d ways, want 1", op.OperationID, ways)
			}
			if writes := rule.anybody || rule.known; writes && method != "get" {
				t.Errorf("%s changes something and needs no capability", op.OperationID)
			}
			runs := slices.Contains(rule.needs, cloud.AppWriteScript) || slices.Contains(rule.needs, cloud.AppWriteRoute)
			if runs != rule.origin {
				t.Errorf("%s: origin = %v, but it decides what runs: %v", op.OperationID, rule.origin, runs)
			}
		}
	}
	for id := range access {
		if !slices.Contains(ids, id) {
			t.Errorf("the rule %s has no operation", id)
		}
	}
}

func TestAccess_theZeroRuleLetsNobodyIn(t *testing.T) {
	m := unused(t)
	owner := &cloud.Principal{Name: "olga", Role: cloud.Owner}
	if got := cloud.CodeOf(m.permitted(&caller{principal: owner}, rule{})); got != cloud.CodeForbidden {
		t.Errorf("code = %q, want %q", got, cloud.CodeForbidden)
	}
	if got := http.StatusForbidden; got != cloud.CodeForbidden.Status() {
		t.Errorf("status = %d", got)
	}
}
