package manager

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// ChangePassword replaces the password of p's user. A key may set the first one,
// so that who has the owner's key alone can begin to log in, and never another:
// CodeForbidden.
func (m *Manager) ChangePassword(ctx context.Context, p *cloud.Principal, current, replacement string, client cloud.Client) error {
	if p.Key != nil {
		user, err := m.accounts.User(ctx, p.UserID)
		if err != nil {
			return err
		}
		if user.Access != cloud.AccessNone {
			return errNoSession
		}
	}
	return m.accounts.ChangePassword(ctx, p, current, replacement, client)
}
