package manager_test

import (
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/manager"
)

func TestAPI_variables(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	id := s.must("POST", "/apps", `{"slug":"shop"}`)["id"].(string)
	s.reloads = nil
	s.owner("PUT", "/apps/shop/variables/COLOUR", `{"value":"red"}`).empty()
	s.owner("PUT", "/apps/shop/variables/COLOUR", `{"value":""}`).empty()
	s.owner("PUT", "/apps/shop/variables/ANIMAL", `{"value":"löwe\n"}`).empty()
	s.owner("GET", "/apps/shop/variables", nil).is(200, `{"items":[{"name":"ANIMAL","value":"löwe\n","updated_at":"*"},{"name":"COLOUR","value":"","updated_at":"*"}]}`)
	s.owner("GET", "/apps/default/variables", nil).is(200, `{"items":[]}`)
	s.owner("DELETE", "/apps/shop/variables/COLOUR", nil).empty()
	s.owner("DELETE", "/apps/shop/variables/COLOUR", nil).fails(404, cloud.CodeNotFound, "", `the app has no variable "COLOUR"`)
	if got := strings.Join(s.reloads, " "); got != strings.TrimSpace(strings.Repeat(id+" ", 4)) {
		t.Errorf("reloads = %s", got)
	}

	for _, name := range []string{"9A", "A-B", "%00", "ä", strings.Repeat("x", 129)} {
		s.owner("PUT", "/apps/shop/variables/"+name, `{"value":"x"}`).fails(422, cloud.CodeInvalid, "name", "…")
		s.owner("PUT", "/apps/shop/secrets/"+name, `{"value":"x"}`).fails(422, cloud.CodeInvalid, "name", "…")
	}
	s.owner("PUT", "/apps/shop/variables/A", `{"value":7}`).fails(422, cloud.CodeInvalid, "value", "value: expected string")
	s.owner("PUT", "/apps/shop/variables/A", `{"value":"a\u0000b"}`).fails(422, cloud.CodeInvalid, "value", "…")
	s.owner("PUT", "/apps/shop/variables/A", map[string]any{"value": strings.Repeat("x", cloud.MaxSecret+1)}).fails(507, cloud.CodeLimit, "", "…")
	s.owner("PUT", "/apps/shop/variables/A", map[string]any{"value": strings.Repeat("\x01", cloud.MaxSecret)}).empty()
}

func TestAPI_secrets(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.must("POST", "/apps", `{"slug":"shop"}`)
	s.owner("PUT", "/apps/shop/secrets/TOKEN", `{"value":"hush"}`).empty()
	s.owner("GET", "/apps/shop/secrets", nil).is(200, `{"items":[{"name":"TOKEN","updated_at":"*"}]}`)
	s.owner("GET", "/apps/shop/variables", nil).is(200, `{"items":[]}`)
	s.owner("PUT", "/apps/shop/variables/TOKEN", `{"value":"x"}`).fails(409, cloud.CodeConflict, "name", "…")
	s.owner("GET", "/apps/shop/secrets/TOKEN", nil).fails(405, cloud.CodeMethodNotAllowed, "", "/api/v1/apps/shop/secrets/TOKEN does not take GET; it takes PUT, DELETE")
	s.owner("DELETE", "/apps/shop/secrets/TOKEN", nil).empty()
	s.owner("DELETE", "/apps/shop/secrets/TOKEN", nil).fails(404, cloud.CodeNotFound, "", `the app has no secret "TOKEN"`)
}

func TestAPI_whoChangesEnv(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	shop := s.must("POST", "/apps", `{"slug":"shop"}`)["id"].(string)
	home := s.must("GET", "/apps/default", nil)["id"].(string)
	for token, role := range map[string]cloud.AppRole{"viewer": cloud.Viewer, "editor": cloud.Editor} {
		s.let(token, cloud.Principal{UserID: cloud.NewID(), Name: token, Role: cloud.Member, Apps: map[string]cloud.AppRole{shop: role, home: role}})
	}
	s.as("viewer", "GET", "/api/v1/apps/shop/variables", nil).is(200, `{"items":[]}`)
	s.as("viewer", "GET", "/api/v1/apps/shop/secrets", nil).is(200, `{"items":[]}`)
	s.as("viewer", "PUT", "/api/v1/apps/shop/variables/A", `{"value":"x"}`).fails(403, cloud.CodeForbidden, "", "viewer may not do this (AppWriteScript): …")
	s.as("viewer", "PUT", "/api/v1/apps/shop/secrets/A", `{"value":"x"}`).fails(403, cloud.CodeForbidden, "", "viewer may not do this (AppSecretsWrite): …")
	s.as("viewer", "DELETE", "/api/v1/apps/shop/secrets/A", nil).fails(403, cloud.CodeForbidden, "", "…")
	s.as("editor", "PUT", "/api/v1/apps/shop/variables/A", `{"value":"x"}`).empty()
	s.as("editor", "PUT", "/api/v1/apps/shop/secrets/B", `{"value":"x"}`).empty()
	// Both are env, which decides what runs beside the dashboard.
	s.must("PUT", "/apps/default/variables/A", `{"value":"x"}`)
	s.must("PUT", "/apps/default/secrets/B", `{"value":"x"}`)
	for _, at := range []string{"/variables/A", "/secrets/B"} {
		s.as("editor", "PUT", "/api/v1/apps/default"+at, `{"value":"y"}`).fails(403, cloud.CodeForbidden, "", `what runs in the app "default" shares…`)
		s.as("editor", "DELETE", "/api/v1/apps/default"+at, nil).fails(403, cloud.CodeForbidden, "", `what runs in the app "default" shares…`)
	}
}

func TestAPI_withoutAKeeperOfEnv(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *server, c *manager.Config) { c.Secrets, c.Variables = nil, nil })
	for _, kind := range []string{"variables", "secrets"} {
		s.owner("GET", "/apps/default/"+kind, nil).fails(503, cloud.CodeUnavailable, "", "…")
		s.owner("PUT", "/apps/default/"+kind+"/A", `{"value":"x"}`).fails(503, cloud.CodeUnavailable, "", "…")
		s.owner("DELETE", "/apps/default/"+kind+"/A", nil).fails(503, cloud.CodeUnavailable, "", "…")
	}
}
