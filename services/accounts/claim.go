package accounts

import (
	"context"
	"slices"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

var errClaimed = cloud.Errorf(cloud.CodeConflict, "this instance has an owner already; log in")

// Claim implements cloud.Accounts.
func (s *Service) Claim(ctx context.Context, name, password string, client cloud.Client) (in cloud.LoggedIn, err error) {
	err = s.try(ctx, "", client, []cloud.Code{cloud.CodeConflict}, func() error {
		in, err = s.claim(ctx, name, password, client)
		return err
	})
	return in, err
}

func (s *Service) claim(ctx context.Context, name, password string, client cloud.Client) (cloud.LoggedIn, error) {
	if claimed, err := s.Claimed(ctx); err != nil || claimed {
		if claimed {
			err = errClaimed
		}
		return cloud.LoggedIn{}, err
	}
	if err := cloud.CheckUserName(name); err != nil {
		return cloud.LoggedIn{}, err
	}
	if err := checkPassword("password", name, password); err != nil {
		return cloud.LoggedIn{}, err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return cloud.LoggedIn{}, err
	}
	var in cloud.LoggedIn
	err = s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		users, err := tx.Users(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(users, isOwner) {
			return errClaimed
		}
		owner := s.newUser(name, cloud.Owner)
		if err := tx.InsertUser(ctx, owner); err != nil {
			return err
		}
		if err := tx.SetPassword(ctx, owner.ID, hash, time.Time{}); err != nil {
			return err
		}
		owner.Access = cloud.AccessPassword
		sign(ctx, owner)
		in, err = s.begin(ctx, tx, owner, client)
		return err
	})
	if err != nil {
		return cloud.LoggedIn{}, err
	}
	s.claimed.Store(true)
	return in, nil
}

// CreateOwnerKey makes a key with all scopes for the instance's owner and returns
// its text. If there is no owner it makes one, named "owner", who has no
// password: so `picloud dev` claims its instance.
func (s *Service) CreateOwnerKey(ctx context.Context, name string) (string, error) {
	token := mint(s.random, cloud.KeyPrefix)
	err := s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		users, err := tx.Users(ctx)
		if err != nil {
			return err
		}
		var owner cloud.User
		if i := slices.IndexFunc(users, isOwner); i >= 0 {
			owner = users[i]
		} else {
			owner = s.newUser("owner", cloud.Owner)
			if err := tx.InsertUser(ctx, owner); err != nil {
				return err
			}
		}
		return tx.InsertKey(ctx, cloud.APIKey{
			ID: cloud.NewID(), UserID: owner.ID, Name: name, Scopes: cloud.Scopes, CreatedAt: s.now(),
		}, "", HashToken(token))
	})
	if err != nil {
		return "", err
	}
	s.claimed.Store(true)
	return token, nil
}

// isOwner tells whether u counts as an owner of the instance.
func isOwner(u cloud.User) bool { return u.Active && u.Role == cloud.Owner }

// newUser is an active user who cannot log in yet.
func (s *Service) newUser(name string, role cloud.InstanceRole) cloud.User {
	return cloud.User{
		ID: cloud.NewID(), Name: name, Role: role, Active: true, Access: cloud.AccessNone,
		CreatedAt: s.now().UTC().Truncate(time.Microsecond),
	}
}
