package accounts

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/picloud/picloud/services/cloud"
)

const (
	totpSecretBytes = 20 // as long as what HMAC-SHA-1 makes (RFC 4226, section 4)
	totpPeriod      = 30 // seconds
	recoveryCodes   = 10 // ours
)

// totpPurpose is what a user's TOTP secret is sealed for.
func totpPurpose(userID string) string { return "totp/" + userID }

// BeginTOTP implements cloud.Accounts. CodeUnavailable without a master key.
func (s *Service) BeginTOTP(ctx context.Context, p *cloud.Principal, password string, client cloud.Client) (cloud.TOTPSetup, error) {
	if err := needSession(p); err != nil {
		return cloud.TOTPSetup{}, err
	}
	if s.sealer == nil {
		return cloud.TOTPSetup{}, cloud.Errorf(cloud.CodeUnavailable, "this server has no master key, so it cannot keep the secret of a second factor; give it one and restart it")
	}
	c, err := self(ctx, s.store, p)
	if err != nil {
		return cloud.TOTPSetup{}, err
	}
	if err := s.checkCurrent(ctx, c, password, client); err != nil {
		return cloud.TOTPSetup{}, err
	}
	secret := randomBytes(s.random, totpSecretBytes)
	var key *otp.Key
	err = s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		now, err := self(ctx, tx, p)
		switch {
		case err != nil:
			return err
		case now.PasswordHash != c.PasswordHash:
			return errChanged
		case now.TOTPInForce:
			return cloud.Errorf(cloud.CodeConflict, "a second factor is in force already; disable it first")
		}
		key, err = totp.Generate(totp.GenerateOpts{
			Issuer: s.issuer, AccountName: now.User.Name, Secret: secret,
			Period: totpPeriod, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
		})
		if err != nil {
			return cloud.Errorf(cloud.CodeInternal, "no second factor could be made").Because(err)
		}
		sealed, err := s.sealer.Seal(totpPurpose(p.UserID), []byte(key.Secret()))
		if err != nil {
			return err
		}
		return tx.SetTOTP(ctx, p.UserID, &sealed, false)
	})
	if err != nil {
		return cloud.TOTPSetup{}, err
	}
	return cloud.TOTPSetup{Secret: key.Secret(), URI: key.URL()}, nil
}

// ConfirmTOTP implements cloud.Accounts. CodeConflict unless a secret waits for
// its first code.
func (s *Service) ConfirmTOTP(ctx context.Context, p *cloud.Principal, code string) ([]string, error) {
	if err := needSession(p); err != nil {
		return nil, err
	}
	codes := make([]string, recoveryCodes)
	hashes := make([][32]byte, recoveryCodes)
	for i := range codes {
		codes[i] = randomCode(s.random)
		hashes[i] = sha256.Sum256([]byte(ungroup(codes[i])))
	}
	err := s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		c, err := self(ctx, tx, p)
		switch {
		case err != nil:
			return err
		case c.TOTPInForce:
			return cloud.Errorf(cloud.CodeConflict, "a second factor is in force already")
		case c.TOTP == nil:
			return cloud.Errorf(cloud.CodeConflict, "no second factor waits for its first code; begin with one")
		}
		step, ok, err := s.stepOf(c, ungroup(code), 0)
		if err != nil {
			return err
		}
		if !ok {
			return cloud.Invalid("code", "is not the one that the app shows now; look whether the clocks of the app's device and of this server are right")
		}
		if err := tx.SetTOTP(ctx, p.UserID, c.TOTP, true); err != nil {
			return err
		}
		if err := tx.SetTOTPStep(ctx, p.UserID, step); err != nil {
			return err
		}
		if err := tx.SetRecoveryCodes(ctx, p.UserID, hashes); err != nil {
			return err
		}
		_, err = tx.EndSessions(ctx, p.UserID, p.SessionID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// DisableTOTP implements cloud.Accounts. It also takes away a secret that waits
// for its first code.
func (s *Service) DisableTOTP(ctx context.Context, p *cloud.Principal, password string, client cloud.Client) error {
	if err := needSession(p); err != nil {
		return err
	}
	c, err := self(ctx, s.store, p)
	if err != nil {
		return err
	}
	if err := s.checkCurrent(ctx, c, password, client); err != nil {
		return err
	}
	return s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		now, err := self(ctx, tx, p)
		if err != nil {
			return err
		}
		if now.PasswordHash != c.PasswordHash {
			return errChanged
		}
		return tx.SetTOTP(ctx, p.UserID, nil, false)
	})
}

var errWrongCode = cloud.Errorf(cloud.CodeSecondFactor, "the code is wrong, or was used before; look whether the clocks of the authenticator's device and of this server are right, or use a recovery code")

// useCode uses up a code of the user's second factor, of the app or a recovery
// code. CodeSecondFactor if it is no good.
func (s *Service) useCode(ctx context.Context, tx Tx, c Credentials, code string) error {
	code = ungroup(code)
	if len(code) != otp.DigitsSix.Length() {
		found, err := tx.UseRecoveryCode(ctx, c.User.ID, sha256.Sum256([]byte(code)))
		if err == nil && !found {
			return errWrongCode
		}
		return err
	}
	step, ok, err := s.stepOf(c, code, c.TOTPStep)
	if err != nil {
		return err
	}
	if !ok {
		return errWrongCode
	}
	return tx.SetTOTPStep(ctx, c.User.ID, step)
}

// ungroup is a code without what people and this program put between its
// characters.
func ungroup(code string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(code))
}

// stepOf finds the time step that a code is of: the one of now, or one next to
// it, as clocks differ, but none up to last (RFC 6238, section 5.2).
func (s *Service) stepOf(c Credentials, code string, last int64) (step int64, ok bool, err error) {
	if s.sealer == nil {
		return 0, false, cloud.Errorf(cloud.CodeUnavailable, "this server has no master key, so it cannot check the second factor; use a recovery code, or give it the key and restart it")
	}
	secret, err := s.sealer.Open(totpPurpose(c.User.ID), *c.TOTP)
	if err != nil {
		return 0, false, err
	}
	now := s.now().Unix() / totpPeriod
	for step := max(now-1, last+1); step <= now+1; step++ {
		ok, err := hotp.ValidateCustom(code, uint64(step), string(secret), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		switch {
		case errors.Is(err, otp.ErrValidateInputInvalidLength):
			return 0, false, nil
		case err != nil:
			return 0, false, cloud.Errorf(cloud.CodeInternal, "the second factor cannot be checked").Because(err)
		case ok:
			return step, true, nil
		}
	}
	return 0, false, nil
}
