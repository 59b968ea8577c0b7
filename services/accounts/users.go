package accounts

import (
	"context"
	"slices"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Users implements cloud.Accounts.
func (s *Service) Users(ctx context.Context) ([]cloud.User, error) { return s.store.Users(ctx) }

// User implements cloud.Accounts.
func (s *Service) User(ctx context.Context, ref string) (cloud.User, error) {
	if err := checkReference(ref); err != nil {
		return cloud.User{}, err
	}
	return s.store.User(ctx, ref)
}

// checkReference refuses what is neither an id nor a name, so that no store has
// to say what it thinks of it.
func checkReference(ref string) error {
	if !cloud.IsID(ref) && cloud.CheckUserName(ref) != nil {
		return errNoUser
	}
	return nil
}

var errNoUser = cloud.Errorf(cloud.CodeNotFound, "no such user")

// CreateUser implements cloud.Accounts.
func (s *Service) CreateUser(ctx context.Context, by *cloud.Principal, draft cloud.UserDraft) (cloud.User, cloud.Handover, error) {
	if draft.Role == "" {
		draft.Role = cloud.Member
	}
	if err := cloud.CheckUserName(draft.Name); err != nil {
		return cloud.User{}, cloud.Handover{}, err
	}
	if err := checkInstanceRole(draft.Role); err != nil {
		return cloud.User{}, cloud.Handover{}, err
	}
	access, err := s.newAccess(ctx, draft.Invite)
	if err != nil {
		return cloud.User{}, cloud.Handover{}, err
	}
	user := s.newUser(draft.Name, draft.Role)
	user.Access = access.kind
	err = s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		maker, err := actor(ctx, tx, by)
		if err != nil {
			return err
		}
		if err := checkOwner(maker, user); err != nil {
			return err
		}
		if err := checkKeyHolder(by, user); err != nil {
			return err
		}
		if err := tx.InsertUser(ctx, user); err != nil {
			return err
		}
		return access.grant(ctx, tx, user.ID)
	})
	if err != nil {
		return cloud.User{}, cloud.Handover{}, err
	}
	return user, access.Handover, nil
}

// ChangeUser implements cloud.Accounts. A user may change themself under the
// same guards.
func (s *Service) ChangeUser(ctx context.Context, by *cloud.Principal, userID string, change cloud.UserChange) (cloud.User, error) {
	if change.Name != nil {
		if err := cloud.CheckUserName(*change.Name); err != nil {
			return cloud.User{}, err
		}
	}
	if change.Role != nil {
		if err := checkInstanceRole(*change.Role); err != nil {
			return cloud.User{}, err
		}
	}
	var changed cloud.User
	err := s.guarded(ctx, by, userID, func(user *cloud.User) {
		if change.Name != nil {
			user.Name = *change.Name
		}
		if change.Role != nil {
			user.Role = *change.Role
		}
		if change.Active != nil {
			user.Active = *change.Active
		}
	}, func(ctx context.Context, tx Tx, user cloud.User) error {
		changed = user
		if !user.Active {
			if _, err := tx.EndSessions(ctx, user.ID, ""); err != nil {
				return err
			}
		}
		return tx.UpdateUser(ctx, user)
	})
	if err != nil {
		return cloud.User{}, err
	}
	return changed, nil
}

// DeleteUser implements cloud.Accounts.
func (s *Service) DeleteUser(ctx context.Context, by *cloud.Principal, userID string) error {
	return s.guarded(ctx, by, userID,
		func(user *cloud.User) { user.Active = false }, // which is what it is to the others
		func(ctx context.Context, tx Tx, user cloud.User) error { return tx.DeleteUser(ctx, user.ID) })
}

// ResetAccess implements cloud.Accounts. The user's API keys stay.
func (s *Service) ResetAccess(ctx context.Context, by *cloud.Principal, userID string, invite bool) (cloud.Handover, error) {
	access, err := s.newAccess(ctx, invite)
	if err != nil {
		return cloud.Handover{}, err
	}
	err = s.guarded(ctx, by, userID, func(*cloud.User) {}, func(ctx context.Context, tx Tx, user cloud.User) error {
		if _, err := tx.EndSessions(ctx, user.ID, ""); err != nil {
			return err
		}
		if err := tx.SetTOTP(ctx, user.ID, nil, false); err != nil {
			return err
		}
		return access.grant(ctx, tx, user.ID)
	})
	if err != nil {
		return cloud.Handover{}, err
	}
	return access.Handover, nil
}

// guarded makes a change of a user in one transaction, if by may make it and the
// instance can still be administered after it. alter says what the user becomes,
// apply makes it so.
func (s *Service) guarded(ctx context.Context, by *cloud.Principal, userID string, alter func(*cloud.User), apply func(ctx context.Context, tx Tx, user cloud.User) error) error {
	return s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		maker, err := actor(ctx, tx, by)
		if err != nil {
			return err
		}
		users, err := tx.Users(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(users, func(u cloud.User) bool { return u.ID == userID })
		if i < 0 {
			return errNoUser
		}
		after := slices.Clone(users)
		alter(&after[i])
		if err := checkOwner(maker, users[i], after[i]); err != nil {
			return err
		}
		if err := checkKeyHolder(by, users[i], after[i]); err != nil {
			return err
		}
		if err := checkLast(users, after); err != nil {
			return err
		}
		return apply(ctx, tx, after[i])
	})
}

// checkOwner refuses what only owners may do: change an owner, or make one.
func checkOwner(maker cloud.User, users ...cloud.User) error {
	if maker.Role == cloud.Owner {
		return nil
	}
	if slices.ContainsFunc(users, func(u cloud.User) bool { return u.Role == cloud.Owner }) {
		return cloud.Errorf(cloud.CodeForbidden, "only an owner changes owners, or makes somebody one")
	}
	return nil
}

// checkKeyHolder refuses what would let a stolen key outlive its revocation: to
// take over its user or an owner, or to make one.
func checkKeyHolder(by *cloud.Principal, users ...cloud.User) error {
	if by.Key == nil {
		return nil
	}
	if slices.ContainsFunc(users, func(u cloud.User) bool { return u.ID == by.UserID || u.Role == cloud.Owner }) {
		return cloud.Errorf(cloud.CodeForbidden, "an API key changes neither its own user nor owners, and makes nobody one; log in to do this")
	}
	return nil
}

// checkLast refuses, with CodeLastOwner, a change after which nobody could
// administer the instance: that takes the last active owner away; or the last
// active admin where there is no active owner, as may be where the database was
// put together by hand. While there is an active owner, admins may come and go.
func checkLast(before, after []cloud.User) error {
	if slices.ContainsFunc(after, isOwner) {
		return nil
	}
	if slices.ContainsFunc(before, isOwner) {
		return cloud.Errorf(cloud.CodeLastOwner, "this is the last active owner; make somebody else an owner first")
	}
	if slices.ContainsFunc(before, isAdmin) && !slices.ContainsFunc(after, isAdmin) {
		return cloud.Errorf(cloud.CodeLastOwner, "this is the last active user who may administer the instance; make somebody else an admin first")
	}
	return nil
}

func isAdmin(u cloud.User) bool { return u.Active && u.Role == cloud.Admin }

func checkInstanceRole(role cloud.InstanceRole) error {
	switch role {
	case cloud.Owner, cloud.Admin, cloud.Member:
		return nil
	}
	return cloud.Invalid("role", "%.40q is no role; there are %s, %s and %s", role, cloud.Owner, cloud.Admin, cloud.Member)
}

// access is a way in for somebody who has none.
type access struct {
	cloud.Handover
	kind cloud.Access
	hash string // of a one-time password
}

// newAccess makes an invitation, or a one-time password. CodeBusy.
func (s *Service) newAccess(ctx context.Context, invite bool) (access, error) {
	a := access{kind: cloud.AccessOneTime}
	a.ExpiresAt = s.now().UTC().Truncate(time.Microsecond).Add(cloud.InvitationLife)
	if invite {
		a.kind = cloud.AccessInvited
		a.Invitation = mint(s.random, cloud.InvitationPrefix)
		return a, nil
	}
	a.Password = randomCode(s.random)
	var err error
	a.hash, err = s.hasher.hash(ctx, a.Password)
	return a, err
}

// grant gives it to a user.
func (a access) grant(ctx context.Context, tx Tx, userID string) error {
	if a.kind == cloud.AccessInvited {
		return tx.SetInvitation(ctx, userID, HashToken(a.Invitation), a.ExpiresAt)
	}
	return tx.SetPassword(ctx, userID, a.hash, a.ExpiresAt)
}
