// Package authz decides who may do what.
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

// rule is what a capability takes: one of the roles, and of a key the scope.
type rule struct {
	scope    cloud.Scope
	app      cloud.AppRole      // the weakest that grants it, for capabilities of an app
	instance cloud.InstanceRole // the weakest that grants it, for those of the instance
}

var rules = map[cloud.Capability]rule{
	cloud.AppReadScript:  {scope: cloud.ScopeScriptRead, app: cloud.Viewer},
	cloud.AppKvRead:      {scope: cloud.ScopeScriptRead, app: cloud.Viewer},
	cloud.AppSecretsRead: {scope: cloud.ScopeScriptRead, app: cloud.Viewer},
	cloud.AppReadLogs:    {scope: cloud.ScopeLogRead, app: cloud.Viewer},

	cloud.AppWriteScript:  {scope: cloud.ScopeScriptWrite, app: cloud.Editor},
	cloud.AppWriteRoute:   {scope: cloud.ScopeRouteWrite, app: cloud.Editor},
	cloud.AppInvoke:       {scope: cloud.ScopeScriptWrite, app: cloud.Editor},
	cloud.AppKvWrite:      {scope: cloud.ScopeScriptWrite, app: cloud.Editor},
	cloud.AppSecretsWrite: {scope: cloud.ScopeScriptWrite, app: cloud.Editor},

	cloud.AppManageDomains:     {scope: cloud.ScopeDomainManage, app: cloud.AppAdminRole},
	cloud.AppManageMembers:     {scope: cloud.ScopeAppAdmin, app: cloud.AppAdminRole},
	cloud.AppManageTriggers:    {scope: cloud.ScopeAppAdmin, app: cloud.AppAdminRole},
	cloud.AppManageDeadLetters: {scope: cloud.ScopeAppAdmin, app: cloud.AppAdminRole},
	cloud.AppAdmin:             {scope: cloud.ScopeAppAdmin, app: cloud.AppAdminRole},

	cloud.InstanceCreateApp:    {scope: cloud.ScopeInstanceAdmin, instance: cloud.Admin},
	cloud.InstanceManageUsers:  {scope: cloud.ScopeInstanceAdmin, instance: cloud.Admin},
	cloud.InstanceManageDevice: {scope: cloud.ScopeInstanceAdmin, instance: cloud.Admin},
	cloud.InstanceAdmin:        {scope: cloud.ScopeInstanceAdmin, instance: cloud.Admin},
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
	rule, known := rules[c]
	if !known {
		return cloud.Errorf(cloud.CodeForbidden, "%q is no capability that anybody has", c)
	}
	if rule.instance != "" {
		if rank(instanceRoles, p.Role) < rank(instanceRoles, rule.instance) {
			return forbidden(p, c, fmt.Sprintf("it takes the instance role %s", rule.instance))
		}
		if p.Key != nil && p.Key.AppID != "" {
			return forbidden(p, c, "the API key is bound to one app")
		}
		return needScope(p, c, rule.scope)
	}
	role := p.RoleIn(appID)
	if role == "" {
		return cloud.Errorf(cloud.CodeNotFound, "no such app")
	}
	if rank(appRoles, role) < rank(appRoles, rule.app) {
		return forbidden(p, c, fmt.Sprintf("it takes the role %s in the app", rule.app))
	}
	return needScope(p, c, rule.scope)
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
