package accounts

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// Members implements cloud.Accounts.
func (s *Service) Members(ctx context.Context, appID string) ([]cloud.AppMember, error) {
	return s.store.Members(ctx, appID)
}

// SetMember implements cloud.Accounts.
func (s *Service) SetMember(ctx context.Context, appID, userRef string, role cloud.AppRole) (member cloud.AppMember, err error) {
	switch role {
	case cloud.AppAdminRole, cloud.Editor, cloud.Viewer:
	default:
		return cloud.AppMember{}, cloud.Invalid("role", "%.40q is no role in an app; there are %s, %s and %s", role, cloud.AppAdminRole, cloud.Editor, cloud.Viewer)
	}
	if err := checkReference(userRef); err != nil {
		return cloud.AppMember{}, err
	}
	err = s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		c, err := tx.Credentials(ctx, userRef)
		if err != nil {
			return err
		}
		member, err = tx.SetMember(ctx, appID, c.User.ID, role)
		return err
	})
	return member, err
}

// RemoveMember implements cloud.Accounts.
func (s *Service) RemoveMember(ctx context.Context, appID, userRef string) error {
	if err := checkReference(userRef); err != nil {
		return err
	}
	return s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		c, err := tx.Credentials(ctx, userRef)
		if err != nil {
			return err
		}
		return tx.RemoveMember(ctx, appID, c.User.ID)
	})
}
