package cloud

import "time"

// InstanceRole is what a user may do on the whole instance.
type InstanceRole string

// The instance roles, strongest first.
const (
	Owner  InstanceRole = "owner"
	Admin  InstanceRole = "admin"
	Member InstanceRole = "member"
)

// AppRole is what a user may do in one app.
type AppRole string

// The app roles, strongest first. The empty role grants nothing.
const (
	AppAdminRole AppRole = "app_admin"
	Editor       AppRole = "editor"
	Viewer       AppRole = "viewer"
)

// Scope bounds what an API key may do, whoever owns it.
type Scope string

// The seven scopes. The list is closed.
const (
	ScopeScriptRead    Scope = "script:read"
	ScopeScriptWrite   Scope = "script:write"
	ScopeRouteWrite    Scope = "route:write"
	ScopeDomainManage  Scope = "domain:manage"
	ScopeLogRead       Scope = "log:read"
	ScopeAppAdmin      Scope = "app:admin"
	ScopeInstanceAdmin Scope = "instance:admin"
)

// Scopes lists all of them.
var Scopes = []Scope{
	ScopeScriptRead, ScopeScriptWrite, ScopeRouteWrite, ScopeDomainManage,
	ScopeLogRead, ScopeAppAdmin, ScopeInstanceAdmin,
}

// Capability is one kind of deed that is allowed or denied.
type Capability string

// The capabilities. App… ones are decided per app, Instance… ones for the
// instance.
const (
	AppKvRead            Capability = "AppKvRead"
	AppKvWrite           Capability = "AppKvWrite"
	AppSecretsRead       Capability = "AppSecretsRead"
	AppSecretsWrite      Capability = "AppSecretsWrite"
	AppReadScript        Capability = "AppReadScript"
	AppWriteScript       Capability = "AppWriteScript"
	AppWriteRoute        Capability = "AppWriteRoute"
	AppManageDomains     Capability = "AppManageDomains"
	AppReadLogs          Capability = "AppReadLogs"
	AppInvoke            Capability = "AppInvoke"
	AppManageTriggers    Capability = "AppManageTriggers"
	AppManageDeadLetters Capability = "AppManageDeadLetters"
	AppManageMembers     Capability = "AppManageMembers"
	AppAdmin             Capability = "AppAdmin"
	InstanceCreateApp    Capability = "InstanceCreateApp"
	InstanceManageUsers  Capability = "InstanceManageUsers"
	InstanceManageDevice Capability = "InstanceManageDevice"
	InstanceAdmin        Capability = "InstanceAdmin" // writing what answers on instance hosts, whose origin is the dashboard's
)

// Capabilities lists all of them, those of an app first, by what they take.
var Capabilities = []Capability{
	AppReadScript, AppKvRead, AppSecretsRead, AppReadLogs,
	AppWriteScript, AppWriteRoute, AppInvoke, AppKvWrite, AppSecretsWrite,
	AppManageDomains, AppManageMembers, AppManageTriggers, AppManageDeadLetters, AppAdmin,
	InstanceCreateApp, InstanceManageUsers, InstanceManageDevice, InstanceAdmin,
}

// Principal is who makes a call. A nil *Principal is the anonymous caller.
type Principal struct {
	UserID string
	Name   string
	Role   InstanceRole
	Apps   map[string]AppRole // by app id: what the app's member list says
	Key    *Key               // the API key it came with; nil for a session
	// SessionID is the session it came with; "" for a key.
	SessionID string
}

// RoleIn is the principal's role in an app: the stronger of what the instance
// role gives in every app and what the app's member list says; "" for none, for
// nil, and for a key that is bound to another app.
func (p *Principal) RoleIn(appID string) AppRole {
	if p == nil || p.Key != nil && p.Key.AppID != "" && p.Key.AppID != appID {
		return ""
	}
	listed := p.Apps[appID]
	switch p.Role {
	case Owner:
		return AppAdminRole
	case Admin:
		if listed == AppAdminRole {
			return listed
		}
		return Editor
	case Member:
		switch listed {
		case Viewer, Editor, AppAdminRole:
			return listed
		}
	}
	return ""
}

// Key narrows what a principal may do to what its API key says.
type Key struct {
	ID        string
	Name      string
	Scopes    []Scope
	AppID     string    // the only app it works for; "" for all
	ExpiresAt time.Time // zero: never
}
