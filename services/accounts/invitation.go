package accounts

import (
	"context"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// AcceptInvitation implements cloud.Accounts.
func (s *Service) AcceptInvitation(ctx context.Context, token, password string, client cloud.Client) (in cloud.LoggedIn, err error) {
	err = s.try(ctx, "", client, []cloud.Code{cloud.CodeUnauthorized}, func() error {
		in, err = s.acceptInvitation(ctx, token, password, client)
		return err
	})
	return in, err
}

func (s *Service) acceptInvitation(ctx context.Context, token, password string, client cloud.Client) (cloud.LoggedIn, error) {
	if !wellFormed(cloud.InvitationPrefix, token) {
		return cloud.LoggedIn{}, cloud.Errorf(cloud.CodeUnauthorized, "this is no invitation; follow the whole link")
	}
	hash := HashToken(token)
	var user cloud.User
	// Hashing takes too long for a transaction. This one changes nothing, so there
	// is nothing to record.
	err := s.store.Change(cloud.WithAudit(ctx, nil), func(ctx context.Context, tx Tx) (err error) {
		user, err = tx.InvitedUser(ctx, hash, s.now())
		return err
	})
	if err != nil {
		return cloud.LoggedIn{}, err
	}
	if err := checkPassword("password", user.Name, password); err != nil {
		return cloud.LoggedIn{}, err
	}
	stored, err := s.hasher.hash(ctx, password)
	if err != nil {
		return cloud.LoggedIn{}, err
	}
	var in cloud.LoggedIn
	err = s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		user, err := tx.InvitedUser(ctx, hash, s.now())
		if err != nil {
			return err
		}
		if err := tx.SetPassword(ctx, user.ID, stored, time.Time{}); err != nil {
			return err
		}
		user.Access = cloud.AccessPassword
		sign(ctx, user)
		in, err = s.begin(ctx, tx, user, client)
		return err
	})
	if err != nil {
		return cloud.LoggedIn{}, err
	}
	return in, nil
}
