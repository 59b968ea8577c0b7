package caddycloud_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
)

// gate is what an operation asks of its caller, as docs/permissions.md and the
// API's description promise it. It is written here once more, by hand: what the
// manager does is compared with it.
type gate struct {
	open      bool               // asks for nothing
	anybody   bool               // for any credential
	session   bool               // for a session
	known     bool               // for a role in the app
	needs     []cloud.Capability // for these
	ofDefault bool               // and for InstanceAdmin, where the app is the default one
	late      bool               // and decides with the body at hand
	body      string             // that the operation would accept; see world for the names in it
}

func needs(c ...cloud.Capability) gate { return gate{needs: c} }

func (g gate) with(body string) gate { g.body = body; return g }

func (g gate) onOrigin() gate { g.ofDefault = true; return g }

// gates are those of every operation, by its id.
var gates = map[string]gate{
	"health":            {open: true},
	"version":           {open: true},
	"openapi":           {open: true},
	"claim":             {open: true},
	"log-in":            {open: true},
	"accept-invitation": {open: true},

	"log-out":            {session: true},
	"whoami":             {anybody: true},
	"set-password":       gate{session: true, late: true}.with(`{"current":"wrong","new_password":"another password"}`),
	"list-own-sessions":  {session: true},
	"end-own-session":    {session: true},
	"end-other-sessions": {session: true},
	"begin-totp":         gate{session: true}.with(`{"password":"wrong"}`),
	"confirm-totp":       gate{session: true}.with(`{"code":"000000"}`),
	"disable-totp":       gate{session: true}.with(`{"password":"wrong"}`),
	"list-own-api-keys":  {anybody: true},
	"create-own-api-key": gate{anybody: true}.with(`{"name":"k","scopes":["script:read"]}`),
	"delete-own-api-key": {anybody: true},

	"list-users":     needs(cloud.InstanceManageUsers),
	"create-user":    needs(cloud.InstanceManageUsers).with(`{"name":"intruder","role":"admin"}`),
	"get-user":       needs(cloud.InstanceManageUsers),
	"update-user":    needs(cloud.InstanceManageUsers).with(`{"name":"renamed"}`),
	"delete-user":    needs(cloud.InstanceManageUsers),
	"reset-user":     needs(cloud.InstanceManageUsers).with(`{}`),
	"list-api-keys":  needs(cloud.InstanceManageUsers),
	"delete-api-key": needs(cloud.InstanceManageUsers),
	"list-sessions":  needs(cloud.InstanceManageUsers),
	"end-session":    needs(cloud.InstanceManageUsers),
	"list-audit":     needs(cloud.InstanceManageUsers),

	"energy": needs(cloud.InstanceManageDevice),

	"list-apps":  {anybody: true},
	"create-app": needs(cloud.InstanceCreateApp).with(`{"slug":"intruder"}`),
	"get-app":    {known: true},
	"update-app": needs(cloud.AppAdmin).with(`{"name":"renamed"}`),
	"delete-app": needs(cloud.AppAdmin),

	"list-members":  needs(cloud.AppReadScript),
	"set-member":    needs(cloud.AppManageMembers).with(`{"role":"app_admin"}`),
	"remove-member": needs(cloud.AppManageMembers),

	"list-variables":  needs(cloud.AppReadScript),
	"set-variable":    needs(cloud.AppWriteScript).with(`{"value":"changed"}`).onOrigin(),
	"delete-variable": needs(cloud.AppWriteScript).onOrigin(),
	"list-secrets":    needs(cloud.AppSecretsRead),
	"set-secret":      needs(cloud.AppSecretsWrite).with(`{"value":"changed"}`).onOrigin(),
	"delete-secret":   needs(cloud.AppSecretsWrite).onOrigin(),

	"list-domains":  needs(cloud.AppReadScript),
	"add-domain":    needs(cloud.AppManageDomains).with(`{"host":"intruder.example.com"}`),
	"delete-domain": needs(cloud.AppManageDomains),

	"list-scripts":    needs(cloud.AppReadScript),
	"get-script":      needs(cloud.AppReadScript),
	"save-script":     needs(cloud.AppWriteScript).with(`{"source":"export default () => 2;"}`).onOrigin(),
	"delete-script":   needs(cloud.AppWriteScript).onOrigin(),
	"list-versions":   needs(cloud.AppReadScript),
	"get-version":     needs(cloud.AppReadScript),
	"rollback-script": needs(cloud.AppWriteScript).with(`{"version":1}`).onOrigin(),
	"deploy":          needs(cloud.AppWriteScript, cloud.AppWriteRoute).with(`{"scripts":[{"name":"page","source":"export default () => 3;"}]}`).onOrigin(),

	"list-routes":  needs(cloud.AppReadScript),
	"add-route":    needs(cloud.AppWriteRoute).with(`{"script":"page","path":"/intruder"}`).onOrigin(),
	"delete-route": needs(cloud.AppWriteRoute).onOrigin(),
	"check-route":  needs(cloud.AppReadScript).with(`{"path":"/intruder"}`),
	"match-route":  needs(cloud.AppReadScript),

	"list-triggers":  needs(cloud.AppReadScript),
	"add-trigger":    needs(cloud.AppManageTriggers).with(`{"script":"page","kind":"kv"}`).onOrigin(),
	"get-trigger":    needs(cloud.AppReadScript),
	"update-trigger": needs(cloud.AppManageTriggers).with(`{"enabled":false}`).onOrigin(),
	"delete-trigger": needs(cloud.AppManageTriggers).onOrigin(),
	"fire-trigger":   needs(cloud.AppManageTriggers).with(`{}`).onOrigin(),

	"list-dead-letters":   needs(cloud.AppManageDeadLetters),
	"get-dead-letter":     needs(cloud.AppManageDeadLetters),
	"replay-dead-letter":  needs(cloud.AppManageDeadLetters),
	"replay-dead-letters": needs(cloud.AppManageDeadLetters).with(`{}`),
	"resolve-dead-letter": needs(cloud.AppManageDeadLetters).with(`{"resolution":"ignored"}`),

	"metrics": needs(cloud.InstanceAdmin),

	"find-execution":  {anybody: true},
	"list-executions": needs(cloud.AppReadLogs),
	"get-execution":   needs(cloud.AppReadLogs),
	"tail-executions": needs(cloud.AppReadLogs),

	"list-collections": needs(cloud.AppKvRead),
	"list-keys":        needs(cloud.AppKvRead),
	"get-key":          needs(cloud.AppKvRead),
	"set-key":          needs(cloud.AppKvWrite).with(`{"value":"changed"}`),
	"delete-key":       needs(cloud.AppKvWrite),
}

// verdict is the status and code that the gate has for a caller: 0 for one who
// passes. A caller who is not who they say, or nobody, is nil.
func (g gate) verdict(p *cloud.Principal, app *fixture) (int, cloud.Code) {
	if g.open {
		return 0, ""
	}
	if p == nil {
		return http.StatusUnauthorized, cloud.CodeUnauthorized
	}
	if app != nil && p.RoleIn(app.id) == "" {
		return http.StatusNotFound, cloud.CodeNotFound
	}
	appID := ""
	if app != nil {
		appID = app.id
	}
	asked := g.needs
	if g.ofDefault && app != nil && app.slug == cloud.DefaultApp {
		asked = append(slices.Clone(asked), cloud.InstanceAdmin)
	}
	for _, c := range asked {
		if authz.Decide(p, c, appID) != nil {
			return http.StatusForbidden, cloud.CodeForbidden
		}
	}
	if g.session && p.Key != nil {
		return http.StatusForbidden, cloud.CodeForbidden
	}
	return 0, ""
}

// operation is one of the API's description.
type operation struct {
	id, method, path string
	capabilities     []cloud.Capability
}

// operations reads the description that the server gives.
func (s *server) operations() []operation {
	s.t.Helper()
	document := decode[struct {
		Paths map[string]map[string]json.RawMessage
	}](s, s.must(http.StatusOK, http.MethodGet, "/api/v1/openapi.json", ""))
	var all []operation
	for path, methods := range document.Paths {
		for method, raw := range methods {
			if method == "parameters" {
				continue
			}
			described := decode[struct {
				OperationID  string             `json:"operationId"`
				Capabilities []cloud.Capability `json:"x-picloud-capabilities"`
			}](s, string(raw))
			all = append(all, operation{described.OperationID, strings.ToUpper(method), path, described.Capabilities})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return all
}

// fixture is an app with one of everything.
type fixture struct {
	slug, id string
	names    map[string]string // what stands for parts of paths
}

func (s *server) fixture(slug string) *fixture {
	s.t.Helper()
	if slug != cloud.DefaultApp {
		s.must(http.StatusCreated, http.MethodPost, "/api/v1/apps", fmt.Sprintf(`{"slug":%q}`, slug))
	}
	at := "/api/v1/apps/" + slug
	s.deployTo(slug, "page", `export default () => 1;`)
	s.must(http.StatusNoContent, http.MethodPut, at+"/variables/VARIABLE", `{"value":"v"}`)
	s.must(http.StatusNoContent, http.MethodPut, at+"/secrets/SECRET", `{"value":"the secret"}`)
	if status, answer := s.do(http.MethodPut, at+"/kv/c/k", `{"value":"kept"}`); status >= 300 {
		s.t.Fatal(answer)
	}
	type one struct{ ID, Name string }
	type many struct{ Items []one }
	f := &fixture{slug: slug, id: decode[one](s, s.must(http.StatusOK, http.MethodGet, at, "")).ID}
	script := decode[one](s, s.must(http.StatusOK, http.MethodGet, at+"/scripts/page", ""))
	trigger := decode[one](s, s.must(http.StatusCreated, http.MethodPost, at+"/triggers", `{"script":"page","kind":"cron","schedule":"@yearly"}`))
	letter := cloud.NewID()
	s.sql(`INSERT INTO dead_letters (app_id, id, event_id, script_id, script_name, kind, op, payload, depth, attempts,
			max_attempts, backoff, base_ms, cap_ms, at, reason, died_at)
		VALUES ($1, $2, $2, $3, 'page', 'kv', 'set', '{}', 1, 5, 5, 'constant', 1000, 1000, now(), 'script_threw', now())`, f.id, letter, script.ID)
	s.must(http.StatusOK, http.MethodGet, "/api/v1/execute/"+script.ID, "")
	if slug != cloud.DefaultApp {
		s.must(http.StatusCreated, http.MethodPost, at+"/domains", fmt.Sprintf(`{"host":"%s.example.com"}`, slug))
	}
	f.names = map[string]string{
		"{app}":             slug,
		"{script}":          "page",
		"{version}":         "1",
		"{route}":           decode[many](s, s.must(http.StatusOK, http.MethodGet, at+"/routes", "")).Items[0].ID,
		"executions/{id}":   "executions/" + decode[many](s, s.must(http.StatusOK, http.MethodGet, at+"/executions", "")).Items[0].ID,
		"{trigger}":         trigger.ID,
		"dead-letters/{id}": "dead-letters/" + letter,
		"{collection}":      "c",
		"{key}":             "k",
		"{host}":            slug + ".example.com",
		"{user}":            "victim",
		"variables/{name}":  "variables/VARIABLE",
		"secrets/{name}":    "secrets/SECRET",
	}
	return f
}

// caller is one way to come to the API.
type caller struct {
	name       string
	credential func(*http.Request)
	principal  *cloud.Principal // who that is; nil: nobody
}

// callers are a user of each instance role with each role in the apps, by session
// (as a cookie and as a bearer token) and by keys; and all sorts of nobody.
func (s *server) callers(apps ...*fixture) []caller {
	s.t.Helper()
	all := []caller{{"nobody", nobody, nil}}
	add := func(name string, credential func(*http.Request), p *cloud.Principal) {
		all = append(all, caller{name, credential, p})
	}
	bindings := map[string]string{"": "", "bound to " + apps[0].slug: apps[0].id, "bound to another app": s.otherApp()}
	people := map[string]person{}
	for _, role := range []cloud.InstanceRole{cloud.Owner, cloud.Admin, cloud.Member} {
		for _, listed := range []cloud.AppRole{"", cloud.Viewer, cloud.Editor, cloud.AppAdminRole} {
			name := string(role) + "." + cmp.Or(string(listed), "unlisted")
			u := s.user(name, role, "correct horse battery")
			people[name] = u
			p := cloud.Principal{UserID: u.id, Name: name, Role: role, Apps: map[string]cloud.AppRole{}}
			for _, app := range apps {
				if listed != "" {
					p.Apps[app.id] = listed
					s.must(http.StatusOK, http.MethodPut, "/api/v1/apps/"+app.slug+"/members/"+name, fmt.Sprintf(`{"role":%q}`, listed))
				}
			}
			add(name+" by cookie", cookie(u.session), &p)
			add(name+" by session", bearer(u.session), &p)
			for where, appID := range bindings {
				keyed := p
				keyed.Key = &cloud.Key{Scopes: cloud.Scopes, AppID: appID}
				add(name+" by a key with all scopes "+where, bearer(s.userKey(u.id, appID, "NULL", cloud.Scopes...)), &keyed)
			}
		}
	}
	owner := people["owner.unlisted"]
	for where, appID := range bindings {
		p := cloud.Principal{UserID: owner.id, Name: "owner", Role: cloud.Owner}
		for _, scope := range cloud.Scopes {
			keyed := p
			keyed.Key = &cloud.Key{Scopes: []cloud.Scope{scope}, AppID: appID}
			add("owner by a key with "+string(scope)+" "+where, bearer(s.userKey(owner.id, appID, "NULL", scope)), &keyed)
		}
		keyed := p
		keyed.Key = &cloud.Key{AppID: appID}
		add("owner by a key without scopes "+where, bearer(s.userKey(owner.id, appID, "NULL")), &keyed)
	}

	valid := s.userKey(owner.id, "", "NULL", cloud.Scopes...)
	add("a key that has expired", bearer(s.userKey(owner.id, "", "now() - interval '1 second'", cloud.Scopes...)), nil)
	add("a key that is cut off", bearer(valid[:len(valid)-1]), nil)
	add("a key that is longer", bearer(valid+"a"), nil)
	add("a key in capitals", bearer(strings.ToUpper(valid)), nil)
	add("a key that is no key", bearer("pic_zzz"), nil)
	add("a key of another instance", bearer(token(cloud.KeyPrefix)), nil)
	add("a key as a password", func(r *http.Request) { r.SetBasicAuth("owner", valid) }, nil)
	add("a session of another instance", bearer(token(cloud.SessionPrefix)), nil)
	add("a session that is cut off", cookie(owner.session[:len(owner.session)-1]), nil)
	add("a cookie of another name", func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: cloud.SecureSessionCookie, Value: owner.session})
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}, nil)
	add("an invitation", bearer(decode[struct{ Invitation struct{ Token string } }](s,
		s.must(http.StatusCreated, http.MethodPost, "/api/v1/users", `{"name":"invited","role":"admin","invite":true}`)).Invitation.Token), nil)
	add("a password", bearer(owner.password), nil)

	revoked := s.by(owner.session, http.StatusCreated, http.MethodPost, "/api/v1/me/keys", `{"name":"revoked","scopes":["script:read"]}`)
	key := decode[struct {
		Key   struct{ ID string }
		Token string
	}](s, revoked)
	s.by(owner.session, http.StatusNoContent, http.MethodDelete, "/api/v1/me/keys/"+key.Key.ID, "")
	add("a key that was revoked", bearer(key.Token), nil)

	ended := s.logIn(owner)
	s.by(ended, http.StatusNoContent, http.MethodDelete, "/api/v1/sessions/current", "")
	add("a session that was ended", bearer(ended), nil)
	over := s.logIn(owner)
	hash := accounts.HashToken(over)
	s.sql(`UPDATE sessions SET expires_at = now() - interval '1 second' WHERE hash = $1`, hash[:])
	add("a session that is over", cookie(over), nil)

	for what, leave := range map[string]func(person){
		"inactive": func(u person) {
			s.must(http.StatusOK, http.MethodPatch, "/api/v1/users/"+u.id, `{"active":false}`)
		},
		"deleted": func(u person) { s.must(http.StatusNoContent, http.MethodDelete, "/api/v1/users/"+u.id, "") },
	} {
		u := s.user(what, cloud.Admin, "correct horse battery")
		key := s.userKey(u.id, "", "NULL", cloud.Scopes...)
		leave(u)
		add("the session of a user who is "+what, bearer(u.session), nil)
		add("a key of a user who is "+what, bearer(key), nil)
	}
	return all
}

// TestIsolation drives the whole API, as its description has it, with every kind
// of caller. A request that no operation takes to its end, for a parameter that
// none knows, shows who is let in; requests that would change something show that
// nothing changes where one is not.
func TestIsolation(t *testing.T) {
	s := start(t)
	shop, home := s.fixture("shop"), s.fixture(cloud.DefaultApp)
	victim := s.user("victim", cloud.Member, "correct horse battery")
	s.must(http.StatusOK, http.MethodPut, "/api/v1/apps/shop/members/victim", `{"role":"viewer"}`)
	s.must(http.StatusOK, http.MethodPut, "/api/v1/apps/default/members/victim", `{"role":"viewer"}`)
	s.userKey(victim.id, "", "NULL", cloud.ScopeScriptRead)
	callers := s.callers(shop, home)
	sessions := decode[struct{ Items []struct{ ID string } }](s, s.must(http.StatusOK, http.MethodGet, "/api/v1/users/victim/sessions", ""))
	keys := decode[struct{ Items []struct{ ID string } }](s, s.must(http.StatusOK, http.MethodGet, "/api/v1/users/victim/keys", ""))
	ids := map[string]string{"{session}": sessions.Items[0].ID, "{key}": keys.Items[0].ID, "{user}": "victim", "executions/{id}": shop.names["executions/{id}"]}

	operations := s.operations()
	known := map[string]bool{}
	for _, op := range operations {
		known[op.id] = true
		g, ok := gates[op.id]
		if !ok {
			t.Errorf("%s (%s %s) has no gate in this test: say who may use it", op.id, op.method, op.path)
			continue
		}
		if !slices.Equal(g.needs, op.capabilities) {
			t.Errorf("%s: the description says that it needs %v, this test %v", op.id, op.capabilities, g.needs)
		}
	}
	for id := range maps.Keys(gates) {
		if !known[id] {
			t.Errorf("%s is no operation of the API any more", id)
		}
	}

	before := s.dump()
	let, refused := 0, 0
	for _, op := range operations {
		g := gates[op.id]
		apps := []*fixture{nil}
		if strings.Contains(op.path, "{app}") {
			apps = []*fixture{shop, home}
		}
		if g.open {
			continue // see TestOpenOperations
		}
		for _, app := range apps {
			names := ids
			if app != nil {
				names = app.names
			}
			path, err := fill(op.path, names)
			if err != nil {
				t.Errorf("%s: %v", op.id, err)
				continue
			}
			for _, c := range callers {
				status, code := g.verdict(c.principal, app)
				what := fmt.Sprintf("%s, %s %s", c.name, op.method, path)
				var got int
				var body string
				if status == 0 || !g.late {
					got, body, _ = s.asked(c.credential, op.method, path+"?beyond=1", "")
				} else {
					got, body, _ = s.asked(c.credential, op.method, path, g.body)
				}
				if status == 0 {
					let++
					if got != http.StatusUnprocessableEntity || !strings.Contains(body, `"field":"beyond"`) {
						t.Errorf("%s: %d %s, want to be let in", what, got, body)
					}
					if strings.HasPrefix(op.id, "get-") || strings.HasPrefix(op.id, "list-") {
						if got, body, _ := s.asked(c.credential, op.method, path, ""); got != http.StatusOK {
							t.Errorf("%s: %d %s, want %d", what, got, body, http.StatusOK)
						}
					}
					continue
				}
				refused++
				if got != status || !strings.Contains(body, `"code":"`+string(code)+`"`) {
					t.Errorf("%s: %d %s, want %d %s", what, got, body, status, code)
					continue // the following would only do harm
				}
				if got, body, _ := s.asked(c.credential, op.method, path, g.body); got != status {
					t.Errorf("%s, with all that it takes: %d %s, want %d", what, got, body, status)
				}
			}
		}
	}
	if changed := changes(before, s.dump()); changed != nil {
		t.Errorf("refused requests have changed the database:\n%s", strings.Join(changed, "\n"))
	}
	t.Logf("%d operations, %d kinds of callers: let in %d times, refused %d times", len(operations), len(callers), let, refused)
}

// fill puts names into the parameters of a path.
func fill(path string, names map[string]string) (string, error) {
	for part, value := range names {
		path = strings.ReplaceAll(path, part, value)
	}
	if strings.Contains(path, "{") {
		return "", fmt.Errorf("this test has nothing for a parameter of %s", path)
	}
	return path, nil
}

// TestIsolation_keysAndPersons goes beyond the gates: whom a key may change depends
// on who that is.
func TestIsolation_keysAndPersons(t *testing.T) {
	s := start(t)
	olga := s.user("olga", cloud.Owner, "correct horse battery")
	s.user("oskar", cloud.Owner, "correct horse battery")
	ada := s.user("ada", cloud.Admin, "correct horse battery")
	s.user("mia", cloud.Member, "correct horse battery")
	keys := map[string]string{
		"olga": s.userKey(olga.id, "", "NULL", cloud.Scopes...),
		"ada":  s.userKey(ada.id, "", "NULL", cloud.Scopes...),
	}
	before := s.dump()
	for holder, key := range keys {
		for _, request := range []struct{ method, path, body string }{
			{http.MethodPost, "/api/v1/users", `{"name":"new","role":"owner"}`},
			{http.MethodPatch, "/api/v1/users/mia", `{"role":"owner"}`},
			{http.MethodPatch, "/api/v1/users/oskar", `{"active":false}`},
			{http.MethodPost, "/api/v1/users/oskar/reset", `{}`},
			{http.MethodDelete, "/api/v1/users/oskar", ""},
			{http.MethodPatch, "/api/v1/users/" + holder, `{"name":"renamed"}`},
			{http.MethodPost, "/api/v1/users/" + holder + "/reset", `{}`},
			{http.MethodDelete, "/api/v1/users/" + holder, ""},
		} {
			got, body, _ := s.asked(bearer(key), request.method, request.path, request.body)
			if got != http.StatusForbidden || !strings.Contains(body, `"code":"forbidden"`) {
				t.Errorf("%s by a key, %s %s: %d %s", holder, request.method, request.path, got, body)
			}
		}
	}
	if changed := changes(before, s.dump()); changed != nil {
		t.Errorf("refused requests have changed the database:\n%s", strings.Join(changed, "\n"))
	}
	s.by(keys["ada"], http.StatusOK, http.MethodPatch, "/api/v1/users/mia", `{"active":false}`)
	s.by(olga.session, http.StatusOK, http.MethodPost, "/api/v1/users/oskar/reset", `{}`)
	s.by(olga.session, http.StatusNoContent, http.MethodDelete, "/api/v1/users/oskar", "")
}
