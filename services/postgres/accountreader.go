package postgres

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
)

// accountReader is what reads accounts alike in and outside of changes.
type accountReader struct{ q querier }

// foldedName is a user's name as it is compared and ordered.
const foldedName = `coalesce(users.folded_name, lower(users.name))`

// fold makes equal what differs only by case, in every script: of all characters
// that strings.EqualFold takes for one, it takes the first, in lower case.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		first := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			first = min(first, other)
		}
		return unicode.ToLower(first)
	}, text(name))
}

func noUser(ref string) *cloud.Error {
	return cloud.Errorf(cloud.CodeNotFound, "there is no user %q", ref)
}

const credentialColumns = `users.id, users.name, users.role, users.active, users.created_at, users.last_login_at,
	coalesce(users.password_hash, ''), users.password_expires_at, users.invitation_hash IS NOT NULL,
	users.totp_key_id, users.totp_sealed, users.totp_in_force, users.totp_step`

func scanCredentials(row pgx.CollectableRow) (c accounts.Credentials, err error) {
	var (
		lastLogin, passwordExpires *time.Time
		invited                    bool
		totpKey                    *string
		totpBox                    []byte
	)
	u := &c.User
	err = row.Scan(&u.ID, &u.Name, &u.Role, &u.Active, &u.CreatedAt, &lastLogin,
		&c.PasswordHash, &passwordExpires, &invited,
		&totpKey, &totpBox, &c.TOTPInForce, &c.TOTPStep)
	if err != nil {
		return c, err
	}
	u.CreatedAt, u.LastLoginAt = u.CreatedAt.UTC(), timeOf(lastLogin)
	u.SecondFactor = c.TOTPInForce
	c.PasswordExpires = timeOf(passwordExpires)
	if totpKey != nil {
		c.TOTP = &cloud.Sealed{KeyID: *totpKey, Box: totpBox}
	}
	switch {
	case invited:
		u.Access = cloud.AccessInvited
	case c.PasswordHash == "":
		u.Access = cloud.AccessNone
	case passwordExpires != nil:
		u.Access = cloud.AccessOneTime
	default:
		u.Access = cloud.AccessPassword
	}
	return c, nil
}

func scanUser(row pgx.CollectableRow) (cloud.User, error) {
	c, err := scanCredentials(row)
	return c.User, err
}

// Users implements accounts.Store and accounts.Tx.
func (r accountReader) Users(ctx context.Context) ([]cloud.User, error) {
	return selectAll(ctx, r.q, scanUser, `SELECT `+credentialColumns+` FROM users ORDER BY `+foldedName+` COLLATE "C"`)
}

// Credentials implements accounts.Store and accounts.Tx. No name has the form of
// an id.
func (r accountReader) Credentials(ctx context.Context, ref string) (accounts.Credentials, error) {
	sql, arg := `WHERE `+foldedName+` = $1`, fold(ref)
	if cloud.IsID(ref) {
		sql, arg = `WHERE users.id = $1`, ref
	}
	return selectOne(ctx, r.q, scanCredentials, noUser(ref), `SELECT `+credentialColumns+` FROM users `+sql, arg)
}

// Keys implements accounts.Store and accounts.Tx.
func (r accountReader) Keys(ctx context.Context, userID string) ([]cloud.APIKey, error) {
	if !cloud.IsID(userID) {
		return nil, nil
	}
	return selectAll(ctx, r.q, scanKey, `
		SELECT id, user_id, name, scopes, coalesce(app_id::text, ''), expires_at, last_used_at, created_at
		FROM api_keys WHERE user_id = $1 ORDER BY created_at DESC, id DESC`, userID)
}

func scanKey(row pgx.CollectableRow) (k cloud.APIKey, err error) {
	var expires, used *time.Time
	err = row.Scan(&k.ID, &k.UserID, &k.Name, &k.Scopes, &k.AppID, &expires, &used, &k.CreatedAt)
	k.ExpiresAt, k.LastUsedAt, k.CreatedAt = timeOf(expires), timeOf(used), k.CreatedAt.UTC()
	return k, err
}

// Sessions implements accounts.Store and accounts.Tx.
func (r accountReader) Sessions(ctx context.Context, userID string, now time.Time) ([]cloud.Session, error) {
	if !cloud.IsID(userID) {
		return nil, nil
	}
	return selectAll(ctx, r.q, scanSession, `
		SELECT id, user_id, created_at, seen_at, expires_at, address, user_agent
		FROM sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY seen_at DESC, id DESC`, userID, now)
}

func scanSession(row pgx.CollectableRow) (s cloud.Session, err error) {
	err = row.Scan(&s.ID, &s.UserID, &s.CreatedAt, &s.SeenAt, &s.ExpiresAt, &s.Address, &s.UserAgent)
	s.CreatedAt, s.SeenAt, s.ExpiresAt = s.CreatedAt.UTC(), s.SeenAt.UTC(), s.ExpiresAt.UTC()
	return s, err
}

// timeOf is a nullable time in UTC; null is zero.
func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// timeOrNull is t as stored; zero is null.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = stamp(t)
	return &t
}
