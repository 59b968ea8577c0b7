package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
)

// accountsTx is an accounts.Tx.
type accountsTx struct {
	accountReader
	tx  pgx.Tx
	now time.Time
}

var _ accounts.Tx = (*accountsTx)(nil)

// exec runs a statement about something with an id, which is $1; missing if that
// is no id, or the statement touched no row.
func (t *accountsTx) exec(ctx context.Context, missing *cloud.Error, sql, id string, args ...any) error {
	if !cloud.IsID(id) {
		return missing
	}
	tag, err := t.tx.Exec(ctx, sql, append([]any{id}, args...)...)
	if err == nil && tag.RowsAffected() == 0 {
		return missing
	}
	return translate(err)
}

// InvitedUser implements accounts.Tx.
func (t *accountsTx) InvitedUser(ctx context.Context, hash [32]byte, now time.Time) (cloud.User, error) {
	unknown := cloud.Errorf(cloud.CodeUnauthorized, "the invitation is not valid, or has been used or has expired; ask for another one")
	return selectOne(ctx, t.tx, scanUser, unknown, `
		SELECT `+credentialColumns+` FROM users
		WHERE users.invitation_hash = $1 AND users.invitation_expires_at > $2 AND users.active`, hash[:], now)
}

// InsertUser implements accounts.Tx.
func (t *accountsTx) InsertUser(ctx context.Context, user cloud.User) error {
	_, err := t.tx.Exec(ctx, `INSERT INTO users (id, name, folded_name, role, active, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		user.ID, user.Name, fold(user.Name), user.Role, user.Active, stamp(user.CreatedAt))
	return translate(err)
}

// UpdateUser implements accounts.Tx.
func (t *accountsTx) UpdateUser(ctx context.Context, user cloud.User) error {
	return t.exec(ctx, noUser(user.ID), `
		UPDATE users SET name = $2, folded_name = $3, role = $4, active = $5, last_login_at = $6 WHERE id = $1`,
		user.ID, user.Name, fold(user.Name), user.Role, user.Active, timeOrNull(user.LastLoginAt))
}

// DeleteUser implements accounts.Tx.
func (t *accountsTx) DeleteUser(ctx context.Context, id string) error {
	return t.exec(ctx, noUser(id), `DELETE FROM users WHERE id = $1`, id)
}

// SetPassword implements accounts.Tx.
func (t *accountsTx) SetPassword(ctx context.Context, userID, hash string, expires time.Time) error {
	return t.exec(ctx, noUser(userID), `
		UPDATE users SET password_hash = $2, password_expires_at = $3, invitation_hash = NULL, invitation_expires_at = NULL
		WHERE id = $1`, userID, hash, timeOrNull(expires))
}

// SetInvitation implements accounts.Tx.
func (t *accountsTx) SetInvitation(ctx context.Context, userID string, hash [32]byte, expires time.Time) error {
	return t.exec(ctx, noUser(userID), `
		UPDATE users SET invitation_hash = $2, invitation_expires_at = $3, password_hash = NULL, password_expires_at = NULL
		WHERE id = $1`, userID, hash[:], stamp(expires))
}

// SetTOTP implements accounts.Tx.
func (t *accountsTx) SetTOTP(ctx context.Context, userID string, secret *cloud.Sealed, inForce bool) error {
	if secret != nil {
		return t.exec(ctx, noUser(userID), `
			UPDATE users SET totp_key_id = $2, totp_sealed = $3, totp_in_force = $4 WHERE id = $1`,
			userID, secret.KeyID, secret.Box, inForce)
	}
	err := t.exec(ctx, noUser(userID), `
		UPDATE users SET totp_key_id = NULL, totp_sealed = NULL, totp_in_force = false WHERE id = $1`, userID)
	if err != nil {
		return err
	}
	return t.SetRecoveryCodes(ctx, userID, nil)
}

// SetTOTPStep implements accounts.Tx.
func (t *accountsTx) SetTOTPStep(ctx context.Context, userID string, step int64) error {
	return t.exec(ctx, noUser(userID), `UPDATE users SET totp_step = $2 WHERE id = $1`, userID, step)
}

// SetRecoveryCodes implements accounts.Tx.
func (t *accountsTx) SetRecoveryCodes(ctx context.Context, userID string, hashes [][32]byte) error {
	if !cloud.IsID(userID) {
		return noUser(userID)
	}
	if _, err := t.tx.Exec(ctx, `DELETE FROM recovery_codes WHERE user_id = $1`, userID); err != nil {
		return translate(err)
	}
	codes := make([][]byte, len(hashes))
	for i := range hashes {
		codes[i] = hashes[i][:]
	}
	_, err := t.tx.Exec(ctx, `INSERT INTO recovery_codes (user_id, hash) SELECT DISTINCT $1::uuid, unnest($2::bytea[])`, userID, codes)
	return translate(err)
}

// UseRecoveryCode implements accounts.Tx.
func (t *accountsTx) UseRecoveryCode(ctx context.Context, userID string, hash [32]byte) (bool, error) {
	if !cloud.IsID(userID) {
		return false, nil
	}
	tag, err := t.tx.Exec(ctx, `DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2`, userID, hash[:])
	return tag.RowsAffected() == 1, translate(err)
}

// InsertSession implements accounts.Tx. The user's sessions that are over make
// way, and of too many the ones used longest ago.
func (t *accountsTx) InsertSession(ctx context.Context, s cloud.Session, hash [32]byte) error {
	if !cloud.IsID(s.UserID) {
		return noUser(s.UserID)
	}
	_, err := t.tx.Exec(ctx, `
		DELETE FROM sessions WHERE user_id = $1 AND (expires_at <= $2 OR id IN (
			SELECT id FROM sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY seen_at DESC, id DESC OFFSET $3 - 1))`,
		s.UserID, stamp(s.CreatedAt), cloud.MaxUserSessions)
	if err != nil {
		return translate(err)
	}
	_, err = t.tx.Exec(ctx, `
		INSERT INTO sessions (id, user_id, hash, created_at, seen_at, expires_at, address, user_agent)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		s.ID, s.UserID, hash[:], stamp(s.CreatedAt), stamp(s.SeenAt), stamp(s.ExpiresAt), text(s.Address), text(s.UserAgent))
	return translate(err)
}

// EndSession implements accounts.Tx.
func (t *accountsTx) EndSession(ctx context.Context, userID, id string) error {
	missing := cloud.Errorf(cloud.CodeNotFound, "there is no session %q", id)
	if !cloud.IsID(userID) {
		return missing
	}
	return t.exec(ctx, missing, `DELETE FROM sessions WHERE id = $1 AND user_id = $2`, id, userID)
}

// EndSessions implements accounts.Tx.
func (t *accountsTx) EndSessions(ctx context.Context, userID, except string) (int, error) {
	if !cloud.IsID(userID) {
		return 0, nil
	}
	tag, err := t.tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2`, userID, idOrNull(except))
	return int(tag.RowsAffected()), translate(err)
}

// InsertKey implements accounts.Tx.
func (t *accountsTx) InsertKey(ctx context.Context, k cloud.APIKey, parent string, hash [32]byte) error {
	if k.AppID != "" && !cloud.IsID(k.AppID) {
		return errNoKeyApp
	}
	scopes := k.Scopes
	if scopes == nil {
		scopes = []cloud.Scope{}
	}
	_, err := t.tx.Exec(ctx, `
		INSERT INTO api_keys (id, user_id, app_id, parent_id, name, hash, scopes, expires_at, created_at)
		VALUES ($1, $2, $3, nullif($4, '')::uuid, $5, $6, $7, $8, $9)`,
		k.ID, k.UserID, idOrNull(k.AppID), parent, k.Name, hash[:], scopes, timeOrNull(k.ExpiresAt), stamp(k.CreatedAt))
	return translate(err)
}

// DeleteKey implements accounts.Tx.
func (t *accountsTx) DeleteKey(ctx context.Context, userID, id string) error {
	missing := cloud.Errorf(cloud.CodeNotFound, "there is no API key %q", id)
	if !cloud.IsID(userID) {
		return missing
	}
	return t.exec(ctx, missing, `DELETE FROM api_keys WHERE id = $1 AND user_id = $2`, id, userID)
}

// SetMember implements accounts.Tx.
func (t *accountsTx) SetMember(ctx context.Context, appID, userID string, role cloud.AppRole) (cloud.AppMember, error) {
	switch {
	case !cloud.IsID(appID):
		return cloud.AppMember{}, noApp(appID)
	case !cloud.IsID(userID):
		return cloud.AppMember{}, noUser(userID)
	}
	auditApp(ctx, appID, "")
	return selectOne(ctx, t.tx, scanMember, noUser(userID), `
		WITH saved AS (
			INSERT INTO app_members (app_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT ON CONSTRAINT app_members_pkey DO UPDATE SET role = excluded.role
			RETURNING user_id, role, created_at)
		SELECT users.id, users.name, saved.role, saved.created_at FROM saved JOIN users ON users.id = saved.user_id`,
		appID, userID, role, t.now)
}

// RemoveMember implements accounts.Tx.
func (t *accountsTx) RemoveMember(ctx context.Context, appID, userID string) error {
	missing := cloud.Errorf(cloud.CodeNotFound, "the app has no such member")
	if !cloud.IsID(userID) {
		return missing
	}
	auditApp(ctx, appID, "")
	return t.exec(ctx, missing, `DELETE FROM app_members WHERE app_id = $1 AND user_id = $2`, appID, userID)
}
