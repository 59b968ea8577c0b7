package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
)

// Accounts keeps users and what they log in with: an accounts.Store.
type Accounts struct {
	accountReader
	pool *pgxpool.Pool
	now  func() time.Time
}

var _ accounts.Store = (*Accounts)(nil)

// NewAccounts returns a store on pool. Nil now means time.Now.
func NewAccounts(pool *pgxpool.Pool, now func() time.Time) *Accounts {
	if now == nil {
		now = time.Now
	}
	return &Accounts{accountReader: accountReader{pool}, pool: pool, now: now}
}

// Change implements accounts.Store.
func (s *Accounts) Change(ctx context.Context, change func(ctx context.Context, tx accounts.Tx) error) error {
	return inChange(ctx, s.pool, s.now, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM instance FOR NO KEY UPDATE`); err != nil {
			return err
		}
		return change(ctx, &accountsTx{accountReader: accountReader{tx}, tx: tx, now: stamp(s.now())})
	})
}

// memberships are a user's roles by app id, as a JSON object.
const memberships = `coalesce((SELECT jsonb_object_agg(m.app_id, m.role) FROM app_members m WHERE m.user_id = users.id), '{}')`

// credential is a principal and when its key or session was last used.
type credential struct {
	principal *cloud.Principal
	used      time.Time
}

// PrincipalByKey implements accounts.Store.
func (s *Accounts) PrincipalByKey(ctx context.Context, hash [32]byte, now time.Time) (*cloud.Principal, time.Time, error) {
	unknown := cloud.Errorf(cloud.CodeUnauthorized, "the API key is not valid here, or has expired")
	c, err := selectOne(ctx, s.pool, scanKeyHolder, unknown, `
		SELECT users.id, users.name, users.role, `+memberships+`,
		       k.id, k.name, k.scopes, coalesce(k.app_id::text, ''), k.expires_at, k.last_used_at
		FROM api_keys k JOIN users ON users.id = k.user_id
		WHERE k.hash = $1 AND users.active AND (k.expires_at IS NULL OR k.expires_at > $2)`, hash[:], now)
	return c.principal, c.used, err
}

func scanKeyHolder(row pgx.CollectableRow) (c credential, err error) {
	p := &cloud.Principal{Key: &cloud.Key{}}
	var expires, used *time.Time
	err = row.Scan(&p.UserID, &p.Name, &p.Role, &p.Apps,
		&p.Key.ID, &p.Key.Name, &p.Key.Scopes, &p.Key.AppID, &expires, &used)
	p.Key.ExpiresAt = timeOf(expires)
	return credential{p, timeOf(used)}, err
}

// PrincipalBySession implements accounts.Store.
func (s *Accounts) PrincipalBySession(ctx context.Context, hash [32]byte, now time.Time) (*cloud.Principal, time.Time, error) {
	unknown := cloud.Errorf(cloud.CodeUnauthorized, "the session has ended; log in again")
	c, err := selectOne(ctx, s.pool, scanSessionHolder, unknown, `
		SELECT users.id, users.name, users.role, `+memberships+`, s.id, s.seen_at
		FROM sessions s JOIN users ON users.id = s.user_id
		WHERE s.hash = $1 AND users.active AND s.expires_at > $2`, hash[:], now)
	return c.principal, c.used, err
}

func scanSessionHolder(row pgx.CollectableRow) (c credential, err error) {
	p := &cloud.Principal{}
	err = row.Scan(&p.UserID, &p.Name, &p.Role, &p.Apps, &p.SessionID, &c.used)
	return credential{p, c.used.UTC()}, err
}

// Principals implements accounts.Store.
func (s *Accounts) Principals(ctx context.Context, userIDs []string) (map[string]*cloud.Principal, error) {
	userIDs = slices.DeleteFunc(slices.Clone(userIDs), func(id string) bool { return !cloud.IsID(id) })
	found, err := selectAll(ctx, s.pool, scanPrincipal, `
		SELECT users.id, users.name, users.role, `+memberships+` FROM users WHERE users.id = ANY($1) AND users.active`, userIDs)
	principals := make(map[string]*cloud.Principal, len(found))
	for _, p := range found {
		principals[p.UserID] = p
	}
	return principals, err
}

func scanPrincipal(row pgx.CollectableRow) (*cloud.Principal, error) {
	p := &cloud.Principal{}
	return p, row.Scan(&p.UserID, &p.Name, &p.Role, &p.Apps)
}

// NoteKeyUse implements accounts.Store.
func (s *Accounts) NoteKeyUse(ctx context.Context, keyID string, at time.Time) error {
	return s.note(ctx, `
		UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)`,
		keyID, stamp(at))
}

// NoteSessionUse implements accounts.Store.
func (s *Accounts) NoteSessionUse(ctx context.Context, sessionID string, at, expires time.Time) error {
	return s.note(ctx, `
		UPDATE sessions SET seen_at = $2, expires_at = $3 WHERE id = $1 AND seen_at < $2`,
		sessionID, stamp(at), stamp(expires))
}

// note runs a statement about one key or session whose commit does not wait for
// the disk.
func (s *Accounts) note(ctx context.Context, sql, id string, args ...any) error {
	if !cloud.IsID(id) {
		return nil
	}
	return inTransaction(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql, append([]any{id}, args...)...)
		return err
	})
}

// Owned implements accounts.Store.
func (s *Accounts) Owned(ctx context.Context) (bool, error) {
	return selectOne(ctx, s.pool, pgx.RowTo[bool], errSchema, `SELECT EXISTS (SELECT FROM users WHERE role = 'owner' AND active)`)
}

// User implements accounts.Store.
func (s *Accounts) User(ctx context.Context, ref string) (cloud.User, error) {
	c, err := s.Credentials(ctx, ref)
	return c.User, err
}

// Members implements accounts.Store.
func (s *Accounts) Members(ctx context.Context, appID string) ([]cloud.AppMember, error) {
	if !cloud.IsID(appID) {
		return nil, nil
	}
	return selectAll(ctx, s.pool, scanMember, `
		SELECT users.id, users.name, m.role, m.created_at FROM app_members m JOIN users ON users.id = m.user_id
		WHERE m.app_id = $1 ORDER BY `+foldedName+` COLLATE "C"`, appID)
}

func scanMember(row pgx.CollectableRow) (m cloud.AppMember, err error) {
	err = row.Scan(&m.UserID, &m.UserName, &m.Role, &m.CreatedAt)
	m.CreatedAt = m.CreatedAt.UTC()
	return m, err
}
