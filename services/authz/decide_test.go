package authz

import (
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// capabilities are all there are, in the order of the columns of the tables.
var capabilities = []cloud.Capability{
	cloud.AppKvRead, cloud.AppReadScript, cloud.AppReadLogs,
	cloud.AppKvWrite, cloud.AppWriteScript, cloud.AppWriteRoute, cloud.AppInvoke,
	cloud.AppManageDomains, cloud.AppManageDeadLetters, cloud.AppAdmin,
	cloud.InstanceCreateApp, cloud.InstanceAdmin,
}

// verdicts is how Decide answers for each capability: y allowed, n forbidden,
// - not found.
func verdicts(t *testing.T, p *cloud.Principal, appID string) string {
	t.Helper()
	var b strings.Builder
	for _, c := range capabilities {
		switch err := Decide(p, c, appID); cloud.CodeOf(err) {
		case "":
			b.WriteByte('y')
		case cloud.CodeForbidden:
			b.WriteByte('n')
		case cloud.CodeNotFound:
			b.WriteByte('-')
		default:
			t.Errorf("%s: %v", c, err)
		}
	}
	return b.String()
}

func TestScopes_theListIsClosed(t *testing.T) {
	want := []cloud.Scope{"script:read", "script:write", "route:write", "domain:manage", "log:read", "app:admin", "instance:admin"}
	if !slices.Equal(cloud.Scopes, want) {
		t.Errorf("cloud.Scopes = %v, want exactly %v", cloud.Scopes, want)
	}
}

func TestDecide_everyCapabilityIsDecided(t *testing.T) {
	owner := &cloud.Principal{Name: "olga", Role: cloud.Owner}
	if got, want := verdicts(t, owner, "app"), strings.Repeat("y", len(capabilities)); got != want {
		t.Errorf("an owner gets %s, want %s", got, want)
	}
	if len(scopeOf) != len(capabilities) || len(leastAppRole)+len(leastInstanceRole) != len(capabilities) {
		t.Errorf("%d capabilities have a scope, %d a role, and this test knows %d", len(scopeOf), len(leastAppRole)+len(leastInstanceRole), len(capabilities))
	}
	if got := cloud.CodeOf(Decide(owner, "AppFly", "app")); got != cloud.CodeForbidden {
		t.Errorf("an unknown capability: %q", got)
	}
}

func TestDecide_roles(t *testing.T) {
	for _, test := range []struct {
		name   string
		role   cloud.InstanceRole
		listed cloud.AppRole
		want   string
	}{
		//                                                  read  write manage instance
		{"owner", cloud.Owner, "", "yyy" + "yyyy" + "yyy" + "yy"},
		{"owner listed as viewer", cloud.Owner, cloud.Viewer, "yyy" + "yyyy" + "yyy" + "yy"},
		{"admin", cloud.Admin, "", "yyy" + "yyyy" + "nnn" + "yy"},
		{"admin listed as viewer", cloud.Admin, cloud.Viewer, "yyy" + "yyyy" + "nnn" + "yy"},
		{"admin listed as app_admin", cloud.Admin, cloud.AppAdminRole, "yyy" + "yyyy" + "yyy" + "yy"},
		{"member listed as app_admin", cloud.Member, cloud.AppAdminRole, "yyy" + "yyyy" + "yyy" + "nn"},
		{"member listed as editor", cloud.Member, cloud.Editor, "yyy" + "yyyy" + "nnn" + "nn"},
		{"member listed as viewer", cloud.Member, cloud.Viewer, "yyy" + "nnnn" + "nnn" + "nn"},
		{"member not listed", cloud.Member, "", "---" + "----" + "---" + "nn"},
		{"member listed as what is no role", cloud.Member, "king", "---" + "----" + "---" + "nn"},
		{"no instance role, listed", "", cloud.AppAdminRole, "---" + "----" + "---" + "nn"},
		{"what is no instance role, listed", "king", cloud.AppAdminRole, "---" + "----" + "---" + "nn"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &cloud.Principal{Name: "p", Role: test.role}
			if test.listed != "" {
				p.Apps = map[string]cloud.AppRole{"app": test.listed}
			}
			if got := verdicts(t, p, "app"); got != test.want {
				t.Errorf("verdicts = %s, want %s", got, test.want)
			}
		})
	}
}

func TestDecide_aRoleCountsInItsAppAlone(t *testing.T) {
	p := &cloud.Principal{Name: "p", Role: cloud.Member, Apps: map[string]cloud.AppRole{"app": cloud.AppAdminRole}}
	if got, want := verdicts(t, p, "other"), "---"+"----"+"---"+"nn"; got != want {
		t.Errorf("verdicts = %s, want %s", got, want)
	}
}

func TestDecide_scopesOfAKey(t *testing.T) {
	for _, test := range []struct {
		scope cloud.Scope
		want  string
	}{
		{cloud.ScopeScriptRead, "yyn" + "nnnn" + "nnn" + "nn"},
		{cloud.ScopeLogRead, "nny" + "nnnn" + "nnn" + "nn"},
		{cloud.ScopeScriptWrite, "nnn" + "yyny" + "nnn" + "nn"},
		{cloud.ScopeRouteWrite, "nnn" + "nnyn" + "nnn" + "nn"},
		{cloud.ScopeDomainManage, "nnn" + "nnnn" + "ynn" + "nn"},
		{cloud.ScopeAppAdmin, "nnn" + "nnnn" + "nyy" + "nn"},
		{cloud.ScopeInstanceAdmin, "nnn" + "nnnn" + "nnn" + "yy"},
		{"script:*", "nnn" + "nnnn" + "nnn" + "nn"},
	} {
		t.Run(string(test.scope), func(t *testing.T) {
			owner := &cloud.Principal{Name: "olga", Role: cloud.Owner, Key: &cloud.Key{Scopes: []cloud.Scope{test.scope}}}
			if got := verdicts(t, owner, "app"); got != test.want {
				t.Errorf("verdicts = %s, want %s", got, test.want)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		owner := &cloud.Principal{Name: "olga", Role: cloud.Owner, Key: &cloud.Key{}}
		if got, want := verdicts(t, owner, "app"), strings.Repeat("n", len(capabilities)); got != want {
			t.Errorf("verdicts = %s, want %s", got, want)
		}
	})
	t.Run("all of them give no more than the role", func(t *testing.T) {
		viewer := &cloud.Principal{
			Name: "vera", Role: cloud.Member, Apps: map[string]cloud.AppRole{"app": cloud.Viewer},
			Key: &cloud.Key{Scopes: cloud.Scopes},
		}
		if got, want := verdicts(t, viewer, "app"), "yyy"+"nnnn"+"nnn"+"nn"; got != want {
			t.Errorf("verdicts = %s, want %s", got, want)
		}
	})
}

func TestDecide_bindingOfAKey(t *testing.T) {
	owner := &cloud.Principal{Name: "olga", Role: cloud.Owner, Key: &cloud.Key{Scopes: cloud.Scopes, AppID: "app"}}
	if got, want := verdicts(t, owner, "app"), "yyy"+"yyyy"+"yyy"+"nn"; got != want {
		t.Errorf("in its app: verdicts = %s, want %s", got, want)
	}
	if got, want := verdicts(t, owner, "other"), "---"+"----"+"---"+"nn"; got != want {
		t.Errorf("in another app: verdicts = %s, want %s", got, want)
	}
}

func TestDecide_anonymous(t *testing.T) {
	if got, want := verdicts(t, nil, "app"), strings.Repeat("n", len(capabilities)); got != want {
		t.Errorf("verdicts = %s, want %s", got, want)
	}
}

func TestPolicy_decides(t *testing.T) {
	admin := &cloud.Principal{Name: "ada", Role: cloud.Admin}
	if err := (Policy{}).Authorize(admin, cloud.AppWriteScript, "app"); err != nil {
		t.Error(err)
	}
	err := Policy{}.Authorize(admin, cloud.AppAdmin, "app")
	if want := "forbidden: ada may not do this (AppAdmin): it takes the role app_admin in the app"; err == nil || err.Error() != want {
		t.Errorf("err = %v, want %s", err, want)
	}
}
