package manager

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// unused is a Manager whose parts are never asked.
func unused(t *testing.T) *Manager {
	t.Helper()
	m, err := New(Config{
		Store:      struct{ Store }{},
		Builder:    struct{ Builder }{},
		Router:     struct{ Router }{},
		Authorizer: authz.Policy{},
		Accounts:   struct{ cloud.Accounts }{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// document describes the API.
func document(t *testing.T) []byte {
	t.Helper()
	m := unused(t)
	m.http()
	document, err := m.document()
	if err != nil {
		t.Fatal(err)
	}
	return document
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
	is := document(t)
	for _, file := range []string{"testdata/openapi.json", "../../docs/openapi.json"} {
		if *update {
			if err := os.WriteFile(file, is, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(is, want) {
			t.Errorf("the API's description is not that of %s; if the change is meant, run go test ./services/manager -run OpenAPI -update", file)
		}
	}
}

func TestOpenAPI_paths(t *testing.T) {
	var doc openAPI
	if err := json.Unmarshal(document(t), &doc); err != nil {
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
		"get /healthz":                    "health",
		"get /version":                    "version",
		"get /api/v1/openapi.json":        "openapi",
		"get /api/v1/metrics":             "metrics",
		"get /api/v1/device/energy":       "energy",
		"get /api/v1/executions/{id}":     "find-execution",
		"post /api/v1/claim":              "claim",
		"post /api/v1/sessions":           "log-in",
		"post /api/v1/invitations:accept": "accept-invitation",
		"delete /api/v1/sessions/current": "log-out",

		"get /api/v1/me":                       "whoami",
		"put /api/v1/me/password":              "set-password",
		"get /api/v1/me/sessions":              "list-own-sessions",
		"delete /api/v1/me/sessions/{session}": "end-own-session",
		"post /api/v1/me/sessions:end-others":  "end-other-sessions",
		"post /api/v1/me/totp":                 "begin-totp",
		"post /api/v1/me/totp:confirm":         "confirm-totp",
		"post /api/v1/me/totp:disable":         "disable-totp",
		"get /api/v1/me/keys":                  "list-own-api-keys",
		"post /api/v1/me/keys":                 "create-own-api-key",
		"delete /api/v1/me/keys/{key}":         "delete-own-api-key",

		"get /api/v1/users":                              "list-users",
		"post /api/v1/users":                             "create-user",
		"get /api/v1/users/{user}":                       "get-user",
		"patch /api/v1/users/{user}":                     "update-user",
		"delete /api/v1/users/{user}":                    "delete-user",
		"post /api/v1/users/{user}/reset":                "reset-user",
		"get /api/v1/users/{user}/keys":                  "list-api-keys",
		"delete /api/v1/users/{user}/keys/{key}":         "delete-api-key",
		"get /api/v1/users/{user}/sessions":              "list-sessions",
		"delete /api/v1/users/{user}/sessions/{session}": "end-session",
		"get /api/v1/audit":                              "list-audit",

		"get " + app + "/members":             "list-members",
		"put " + app + "/members/{user}":      "set-member",
		"delete " + app + "/members/{user}":   "remove-member",
		"get " + app + "/variables":           "list-variables",
		"put " + app + "/variables/{name}":    "set-variable",
		"delete " + app + "/variables/{name}": "delete-variable",
		"get " + app + "/secrets":             "list-secrets",
		"put " + app + "/secrets/{name}":      "set-secret",
		"delete " + app + "/secrets/{name}":   "delete-secret",

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
		"get " + app + "/triggers":                            "list-triggers",
		"post " + app + "/triggers":                           "add-trigger",
		"get " + app + "/triggers/{trigger}":                  "get-trigger",
		"patch " + app + "/triggers/{trigger}":                "update-trigger",
		"delete " + app + "/triggers/{trigger}":               "delete-trigger",
		"post " + app + "/triggers/{trigger}/fire":            "fire-trigger",
		"get " + app + "/dead-letters":                        "list-dead-letters",
		"get " + app + "/dead-letters/{id}":                   "get-dead-letter",
		"post " + app + "/dead-letters/{id}/replay":           "replay-dead-letter",
		"post " + app + "/dead-letters/{id}/resolve":          "resolve-dead-letter",
		"post " + app + "/dead-letters:replay":                "replay-dead-letters",
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
	if err := json.Unmarshal(document(t), &doc); err != nil {
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
			open := []string{"health", "version", "openapi", "claim", "log-in", "accept-invitation"}
			if rule.open != slices.Contains(open, op.OperationID) {
				t.Errorf("%s: open = %v", op.OperationID, rule.open)
			}
			if rule.open == (len(op.Security) > 0) {
				t.Errorf("%s: the description and the rule differ about credentials", op.OperationID)
			}
			if unclaimed := []string{"health", "version", "claim"}; rule.unclaimed != slices.Contains(unclaimed, op.OperationID) {
				t.Errorf("%s: unclaimed = %v", op.OperationID, rule.unclaimed)
			}
			if unaudited := []string{
				"check-route", "set-key", "delete-key", "fire-trigger", "replay-dead-letter", "replay-dead-letters", "resolve-dead-letter",
			}; rule.unaudited != slices.Contains(unaudited, op.OperationID) {
				t.Errorf("%s: unaudited = %v", op.OperationID, rule.unaudited)
			}
			if want := rule.open && method != "get"; (rule.via != "") != want {
				t.Errorf("%s: via = %q", op.OperationID, rule.via)
			}
			ways := 0
			for _, way := range []bool{rule.open, rule.anybody, rule.session, rule.known, len(rule.needs) > 0} {
				if way {
					ways++
				}
			}
			if ways != 1 {
				t.Errorf("%s lets callers in by %d ways, want 1", op.OperationID, ways)
			}
			if own := strings.HasPrefix(path, "/api/v1/me"); (rule.anybody || rule.known) && method != "get" && !own {
				t.Errorf("%s changes what is not the caller's own and needs no capability", op.OperationID)
			}
			deciding := []cloud.Capability{cloud.AppWriteScript, cloud.AppWriteRoute, cloud.AppManageTriggers, cloud.AppSecretsWrite}
			runs := slices.ContainsFunc(rule.needs, func(c cloud.Capability) bool { return slices.Contains(deciding, c) })
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
