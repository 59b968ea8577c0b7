package accounts

import (
	"context"
	"strings"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

var errWrongPassword = cloud.Errorf(cloud.CodeUnauthorized, "wrong name or password")

// LogIn implements cloud.Accounts.
func (s *Service) LogIn(ctx context.Context, a cloud.LogIn) (in cloud.LoggedIn, err error) {
	a.Name = strings.TrimSpace(a.Name) // keyboards of phones put one behind a name
	wrong := []cloud.Code{cloud.CodeUnauthorized}
	if a.Code != "" {
		wrong = append(wrong, cloud.CodeSecondFactor)
	}
	err = s.try(ctx, a.Name, a.Client, wrong, func() error {
		in, err = s.logIn(ctx, a)
		return err
	})
	return in, err
}

func (s *Service) logIn(ctx context.Context, a cloud.LogIn) (cloud.LoggedIn, error) {
	c, err := s.passwordOf(ctx, a.Name)
	if err != nil {
		return cloud.LoggedIn{}, err
	}
	ok, stale, err := s.hasher.verify(ctx, c.PasswordHash, a.Password)
	oneTime := !c.PasswordExpires.IsZero()
	var hash string // to replace the stored one
	switch {
	case err != nil:
		return cloud.LoggedIn{}, err
	case !ok:
		return cloud.LoggedIn{}, errWrongPassword
	case expired(c.PasswordExpires, s.now()):
		return cloud.LoggedIn{}, cloud.Errorf(cloud.CodeUnauthorized, "the one-time password has expired; ask for another one")
	case c.TOTPInForce && a.Code == "":
		return cloud.LoggedIn{}, cloud.Errorf(cloud.CodeSecondFactor, "the password is right; a code of the authenticator app, or a recovery code, is needed too")
	case oneTime && a.NewPassword == "":
		return cloud.LoggedIn{}, cloud.Errorf(cloud.CodePasswordChange, "the one-time password is right; log in with it and a new password")
	case oneTime && a.NewPassword == a.Password:
		return cloud.LoggedIn{}, cloud.Invalid("new_password", "is the one-time password; choose your own")
	case oneTime:
		if err := checkPassword("new_password", c.User.Name, a.NewPassword); err != nil {
			return cloud.LoggedIn{}, err
		}
		if hash, err = s.hasher.hash(ctx, a.NewPassword); err != nil {
			return cloud.LoggedIn{}, err
		}
	case a.NewPassword != "":
		return cloud.LoggedIn{}, cloud.Invalid("new_password", "replaces a one-time password only; change this one once logged in")
	case stale:
		hash, _ = s.hasher.hash(ctx, a.Password) // if there is no room now, the next log-in does it
	}
	var in cloud.LoggedIn
	err = s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		now, err := tx.Credentials(ctx, c.User.ID)
		switch {
		case cloud.CodeOf(err) == cloud.CodeNotFound:
			return errWrongPassword
		case err != nil:
			return err
		case now.PasswordHash != c.PasswordHash || !now.User.Active:
			return errWrongPassword
		case now.TOTPInForce:
			if err := s.useCode(ctx, tx, now, a.Code); err != nil {
				return err
			}
		}
		if hash != "" {
			if err := tx.SetPassword(ctx, now.User.ID, hash, time.Time{}); err != nil {
				return err
			}
			now.User.Access = cloud.AccessPassword
		}
		sign(ctx, now.User)
		in, err = s.begin(ctx, tx, now.User, a.Client)
		return err
	})
	if err != nil {
		return cloud.LoggedIn{}, err
	}
	return in, nil
}

// passwordOf is what an active user of that name logs in with, and nothing if
// there is none.
func (s *Service) passwordOf(ctx context.Context, name string) (Credentials, error) {
	var c Credentials
	err := cloud.CheckUserName(name)
	if err == nil {
		c, err = s.store.Credentials(ctx, name)
	}
	switch code := cloud.CodeOf(err); {
	case code == cloud.CodeInvalid, code == cloud.CodeNotFound, err == nil && !c.User.Active:
		return Credentials{}, nil
	case err != nil:
		return Credentials{}, err
	}
	return c, nil
}

// LogOut implements cloud.Accounts.
func (s *Service) LogOut(ctx context.Context, p *cloud.Principal) error {
	if p == nil || p.SessionID == "" {
		return cloud.Invalid("", "an API key has no session to end; revoke the key instead")
	}
	err := s.EndSession(ctx, p.UserID, p.SessionID)
	if cloud.CodeOf(err) == cloud.CodeNotFound {
		return nil
	}
	return err
}

// ChangePassword implements cloud.Accounts. A key may set a first password, if it
// works for all apps and may administer the instance.
func (s *Service) ChangePassword(ctx context.Context, p *cloud.Principal, current, replacement string, client cloud.Client) error {
	c, err := self(ctx, s.store, p)
	if err != nil {
		return err
	}
	if c.User.Access != cloud.AccessNone || !administers(p.Key) {
		if err := needSession(p); err != nil {
			return err
		}
	}
	if err := checkPassword("new_password", c.User.Name, replacement); err != nil {
		return err
	}
	if c.PasswordHash != "" {
		if current == replacement {
			return cloud.Invalid("new_password", "is the current one")
		}
		if err := s.checkCurrent(ctx, c, current, client); err != nil {
			return err
		}
	}
	hash, err := s.hasher.hash(ctx, replacement)
	if err != nil {
		return err
	}
	return s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		now, err := self(ctx, tx, p)
		if err != nil {
			return err
		}
		if now.PasswordHash != c.PasswordHash || now.User.Access != c.User.Access {
			return errChanged
		}
		if err := tx.SetPassword(ctx, p.UserID, hash, time.Time{}); err != nil {
			return err
		}
		_, err = tx.EndSessions(ctx, p.UserID, p.SessionID)
		return err
	})
}

var errChanged = cloud.Errorf(cloud.CodeConflict, "somebody changed this at the same moment; look and try again")

// checkCurrent refuses what is not the user's password: CodeForbidden,
// CodeRateLimited.
func (s *Service) checkCurrent(ctx context.Context, c Credentials, password string, client cloud.Client) error {
	return s.try(ctx, c.User.Name, client, []cloud.Code{cloud.CodeForbidden}, func() error {
		ok, _, err := s.hasher.verify(ctx, c.PasswordHash, password)
		if err == nil && !ok {
			return cloud.Errorf(cloud.CodeForbidden, "the current password is wrong")
		}
		return err
	})
}
