package manager

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// EndSession ends a session of the user. CodeNotFound; CodeForbidden if the user
// is an owner and p is not.
func (m *Manager) EndSession(ctx context.Context, p *cloud.Principal, user cloud.User, sessionID string) error {
	if err := mayEnd(p, user); err != nil {
		return err
	}
	return m.accounts.EndSession(ctx, user.ID, sessionID)
}

// mayEnd is a CodeForbidden error if p would end what is an owner's without being
// one; cloud.Accounts does not ask who ends sessions and keys.
func mayEnd(p *cloud.Principal, user cloud.User) error {
	if user.Role == cloud.Owner && p.Role != cloud.Owner {
		return cloud.Errorf(cloud.CodeForbidden, "%s is an owner, and only owners change owners", user.Name)
	}
	return nil
}

// self is p's user, as far as p tells.
func self(p *cloud.Principal) cloud.User {
	return cloud.User{ID: p.UserID, Name: p.Name, Role: p.Role}
}
