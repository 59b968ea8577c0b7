package authz

import (
	"fmt"
	"slices"

	"github.com/picloud/picloud/services/cloud"
)

// Policy decides by what a principal carries alone: the grant of its roles,
// narrowed by the scopes and the app binding of its key. The zero value is
// ready; it keeps nothing and asks nobody.
type Policy struct{}

var _ cloud.Authorizer = Policy{}

// Authorize implements cloud.Authorizer. The answer for an app that the
// principal has no role in, or that its key is not bound to, is CodeNotFound
// whether the app exists or not.
func (Policy) Authorize(p *cloud.Principal, c cloud.Capability, appID string) error {
	return Decide(p, c, appID)
}

// scopeOf is the scope a key needs for a capability.
var scopeOf = map[cloud.Capability]cloud.Scope{
	cloud.AppKvRead:            cloud.ScopeScriptRead,
	cloud.AppKvWrite:           cloud.ScopeScriptWrite,
	cloud.AppReadScript:        cloud.ScopeScriptRead,
	cloud.AppWriteScript:       cloud.ScopeScriptWrite,
	cloud.AppInvoke:            cloud.ScopeScriptWrite,
	cloud.AppWriteRoute:        cloud.ScopeRouteWrite,
	cloud.AppManageDomains:     cloud.ScopeDomainManage,
	cloud.AppReadLogs:          cloud.ScopeLogRead,
	cloud.AppManageDeadLetters: cloud.ScopeAppAdmin,
	cloud.AppAdmin:             cloud.ScopeAppAdmin,
	cloud.InstanceCreateApp:    cloud.ScopeInstanceAdmin,
	cloud.InstanceAdmin:        cloud.ScopeInstanceAdmin,
}

// leastAppRole is the weakest app role that grants an app capability.
var leastAppRole = map[cloud.Capability]cloud.AppRole{
	cloud.AppKvRead:            cloud.Viewer,
	cloud.AppReadScript:        cloud.Viewer,
	cloud.AppReadLogs:          cloud.Viewer,
	cloud.AppKvWrite:           cloud.Editor,
	cloud.AppWriteScript:       cloud.Editor,
	cloud.AppWriteRoute:        cloud.Editor,
	cloud.AppInvoke:            cloud.Editor,
	cloud.AppManageDomains:     cloud.AppAdminRole,
	cloud.AppManageDeadLetters: cloud.AppAdminRole,
	cloud.AppAdmin:             cloud.AppAdminRole,
}

// leastInstanceRole is the weakest instance role that grants an instance
// capability.
var leastInstanceRole = map[cloud.Capability]cloud.InstanceRole{
	cloud.InstanceCreateApp: cloud.Admin,
	cloud.InstanceAdmin:     cloud.Admin,
}

// What is not in these lists ranks -1 and grants nothing.
var (
	appRoles      = []cloud.AppRole{cloud.Viewer, cloud.Editor, cloud.AppAdminRole}
	instanceRoles = []cloud.InstanceRole{cloud.Member, cloud.Admin, cloud.Owner}
)

// Decide is the one rule: nil when p may do c in the app, else the refusal that
// cloud.Authorizer describes. Capabilities of the instance do not look at appID.
// It is pure.
func Decide(p *cloud.Principal, c cloud.Capability, appID string) error {
	if p == nil {
		return cloud.Errorf(cloud.CodeForbidden, "an anonymous caller may not do this (%s)", c)
	}
	scope, known := scopeOf[c]
	if !known {
		return cloud.Errorf(cloud.CodeForbidden, "%q is no capability that anybody has", c)
	}
	if least, ok := leastInstanceRole[c]; ok {
		if rank(instanceRoles, p.Role) < rank(instanceRoles, least) {
			return forbidden(p, c, fmt.Sprintf("it takes the instance role %s", least))
		}
		if p.Key != nil && p.Key.AppID != "" {
			return forbidden(p, c, "the API key is bound to one app")
		}
		return needScope(p, c, scope)
	}
	role := roleIn(p, appID)
	if rank(appRoles, role) < 0 || p.Key != nil && p.Key.AppID != "" && p.Key.AppID != appID {
		return cloud.Errorf(cloud.CodeNotFound, "no such app")
	}
	if least := leastAppRole[c]; rank(appRoles, role) < rank(appRoles, least) {
		return forbidden(p, c, fmt.Sprintf("it takes the role %s in the app", least))
	}
	return needScope(p, c, scope)
}

// roleIn is the stronger of what the instance role gives in every app and what
// the app's member list says.
func roleIn(p *cloud.Principal, appID string) cloud.AppRole {
	var everywhere cloud.AppRole
	switch p.Role {
	case cloud.Owner:
		everywhere = cloud.AppAdminRole
	case cloud.Admin:
		everywhere = cloud.Editor
	case cloud.Member:
	default:
		return ""
	}
	if listed := p.Apps[appID]; rank(appRoles, listed) > rank(appRoles, everywhere) {
		return listed
	}
	return everywhere
}

func needScope(p *cloud.Principal, c cloud.Capability, scope cloud.Scope) error {
	if p.Key == nil || slices.Contains(p.Key.Scopes, scope) {
		return nil
	}
	return forbidden(p, c, fmt.Sprintf("the API key lacks the scope %s", scope))
}

func forbidden(p *cloud.Principal, c cloud.Capability, why string) error {
	return cloud.Errorf(cloud.CodeForbidden, "%s may not do this (%s): %s", p.Name, c, why)
}

func rank[R comparable](roles []R, role R) int { return slices.Index(roles, role) }
