package authz

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// grants is the specification, written by hand: for each capability its scope
// and who has it. The columns are the callers of columns below.
//
//	y: allowed · n: forbidden · -: the app is not to be known of
const grants = `
AppReadScript        script:read    n -yyy yyyy yyyy
AppKvRead            script:read    n -yyy yyyy yyyy
AppSecretsRead       script:read    n -yyy yyyy yyyy
AppReadLogs          log:read       n -yyy yyyy yyyy
AppWriteScript       script:write   n -nyy yyyy yyyy
AppWriteRoute        route:write    n -nyy yyyy yyyy
AppInvoke            script:write   n -nyy yyyy yyyy
AppKvWrite           script:write   n -nyy yyyy yyyy
AppSecretsWrite      script:write   n -nyy yyyy yyyy
AppManageDomains     domain:manage  n -nny nnny yyyy
AppManageMembers     app:admin      n -nny nnny yyyy
AppManageTriggers    app:admin      n -nny nnny yyyy
AppManageDeadLetters app:admin      n -nny nnny yyyy
AppAdmin             app:admin      n -nny nnny yyyy
InstanceCreateApp    instance:admin n nnnn yyyy yyyy
InstanceManageUsers  instance:admin n nnnn yyyy yyyy
InstanceManageDevice instance:admin n nnnn yyyy yyyy
InstanceAdmin        instance:admin n nnnn yyyy yyyy
`

// column is a caller of grants: nobody; then a member, an admin and an owner,
// each not listed in the app and listed as viewer, editor and app_admin.
type column struct {
	anonymous bool
	role      cloud.InstanceRole
	listed    cloud.AppRole
}

func columns() []column {
	all := []column{{anonymous: true}}
	for _, role := range []cloud.InstanceRole{cloud.Member, cloud.Admin, cloud.Owner} {
		for _, listed := range []cloud.AppRole{"", cloud.Viewer, cloud.Editor, cloud.AppAdminRole} {
			all = append(all, column{role: role, listed: listed})
		}
	}
	return all
}

// credential is a way to come: by session, or by a key with these scopes.
type credential struct {
	name   string
	key    bool
	scopes []cloud.Scope
}

func credentials() []credential {
	all := []credential{{name: "session"}, {"key without scopes", true, nil}, {"key with all scopes", true, cloud.Scopes}, {"key with a scope that is none", true, []cloud.Scope{"script:*"}}}
	for _, s := range cloud.Scopes {
		all = append(all, credential{"key with " + string(s), true, []cloud.Scope{s}})
	}
	return all
}

// TestDecide_everyCell asks for every caller, capability, credential and binding,
// and compares with the grants, narrowed by the two rules of product and API:
// grant ∩ scopes ∩ binding.
func TestDecide_everyCell(t *testing.T) {
	t.Parallel()
	var decided int
	seen := map[cloud.Capability]bool{}
	for line := range strings.Lines(strings.TrimSpace(grants)) {
		words := strings.Fields(line)
		capability, scope, verdicts := cloud.Capability(words[0]), cloud.Scope(words[1]), strings.Join(words[2:], "")
		seen[capability] = true
		for i, col := range columns() {
			for _, cred := range credentials() {
				for _, bound := range []string{"", "app", "other"} {
					if bound != "" && !cred.key {
						continue // only keys are bound
					}
					want := verdicts[i]
					switch instance := strings.HasPrefix(words[0], "Instance"); {
					case col.anonymous:
					case !instance && bound == "other":
						want = '-'
					case want == 'y' && instance && bound != "":
						want = 'n'
					case want == 'y' && cred.key && !slices.Contains(cred.scopes, scope):
						want = 'n'
					}
					p := &cloud.Principal{Name: "p", Role: col.role}
					if col.listed != "" {
						p.Apps = map[string]cloud.AppRole{"app": col.listed}
					}
					if cred.key {
						p.Key = &cloud.Key{Scopes: cred.scopes, AppID: bound}
					}
					if col.anonymous {
						p = nil
					}
					if got := verdict(Decide(p, capability, "app")); got != want {
						t.Errorf("%s for %+v by %s, bound to %q: %c, want %c", capability, col, cred.name, bound, got, want)
					}
					decided++
				}
			}
		}
	}
	if want := len(cloud.Capabilities) * 13 * (1 + 10*3); decided != want {
		t.Errorf("%d cells were decided, want %d", decided, want)
	}
	for _, c := range cloud.Capabilities {
		if !seen[c] {
			t.Errorf("%s is not in the grants of this test", c)
		}
	}
	if len(seen) != len(cloud.Capabilities) || len(rules) != len(cloud.Capabilities) {
		t.Errorf("%d capabilities are listed, %d have a rule, %d are in the grants of this test", len(cloud.Capabilities), len(rules), len(seen))
	}
}

func verdict(err error) byte {
	switch cloud.CodeOf(err) {
	case "":
		return 'y'
	case cloud.CodeForbidden:
		return 'n'
	case cloud.CodeNotFound:
		return '-'
	default:
		return '?'
	}
}

func TestScopes_theListIsClosed(t *testing.T) {
	t.Parallel()
	want := []cloud.Scope{"script:read", "script:write", "route:write", "domain:manage", "log:read", "app:admin", "instance:admin"}
	if !slices.Equal(cloud.Scopes, want) {
		t.Errorf("cloud.Scopes = %v, want exactly %v", cloud.Scopes, want)
	}
	used := map[cloud.Scope]bool{}
	for _, r := range rules {
		used[r.scope] = true
	}
	if got := slices.Sorted(maps.Keys(used)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the rules use the scopes %v, want %v", got, want)
	}
}

func TestDecide_aRoleCountsInItsAppAlone(t *testing.T) {
	t.Parallel()
	p := &cloud.Principal{Name: "p", Role: cloud.Member, Apps: map[string]cloud.AppRole{"app": cloud.AppAdminRole}}
	for _, c := range cloud.Capabilities {
		want := byte('-')
		if ofInstance(c) {
			want = 'n'
		}
		if got := verdict(Decide(p, c, "other")); got != want {
			t.Errorf("%s in another app: %c, want %c", c, got, want)
		}
	}
}

// What is no role, in the database or by a mistake, grants nothing.
func TestDecide_whatIsNoRole(t *testing.T) {
	t.Parallel()
	for _, p := range []*cloud.Principal{
		{},
		{Role: "king"},
		{Role: "", Apps: map[string]cloud.AppRole{"app": cloud.AppAdminRole}},
		{Role: "king", Apps: map[string]cloud.AppRole{"app": cloud.AppAdminRole}},
		{Role: cloud.Member, Apps: map[string]cloud.AppRole{"app": "king"}},
	} {
		for _, c := range cloud.Capabilities {
			want := byte('-')
			if ofInstance(c) {
				want = 'n'
			}
			if got := verdict(Decide(p, c, "app")); got != want {
				t.Errorf("%s for %+v: %c, want %c", c, p, got, want)
			}
		}
	}
}

func TestDecide_saysWhatItTakes(t *testing.T) {
	t.Parallel()
	admin := &cloud.Principal{Name: "ada", Role: cloud.Admin}
	member := &cloud.Principal{Name: "mia", Role: cloud.Member}
	for _, test := range []struct {
		p    *cloud.Principal
		c    cloud.Capability
		want string
	}{
		{admin, cloud.AppAdmin, "forbidden: ada may not do this (AppAdmin): it takes the role app_admin in the app"},
		{member, cloud.InstanceManageUsers, "forbidden: mia may not do this (InstanceManageUsers): it takes the instance role admin"},
		{member, cloud.AppReadScript, "not_found: no such app"},
		{nil, cloud.AppKvRead, "forbidden: an anonymous caller may not do this (AppKvRead)"},
		{admin, "AppFly", `forbidden: "AppFly" is no capability that anybody has`},
		{&cloud.Principal{Name: "ada", Role: cloud.Admin, Key: &cloud.Key{}}, cloud.AppWriteRoute, "forbidden: ada may not do this (AppWriteRoute): the API key lacks the scope route:write"},
		{&cloud.Principal{Name: "ada", Role: cloud.Admin, Key: &cloud.Key{AppID: "app", Scopes: cloud.Scopes}}, cloud.InstanceCreateApp, "forbidden: ada may not do this (InstanceCreateApp): the API key is bound to one app"},
	} {
		if got := fmt.Sprint(Policy{}.Authorize(test.p, test.c, "app")); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	if err := (Policy{}).Authorize(admin, cloud.AppWriteScript, "app"); err != nil {
		t.Error(err)
	}
}
