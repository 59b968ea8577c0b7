package accounts

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Memory is a Store that forgets everything at the end of the process: for tests
// of what is built on one. It is safe for concurrent use.
type Memory struct {
	changing sync.Mutex            // held by whoever replaces state
	state    atomic.Pointer[state] // what it points to never changes
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store. appExists tells which apps there are; nil:
// every one.
func NewMemory(appExists func(appID string) bool) *Memory {
	if appExists == nil {
		appExists = func(string) bool { return true }
	}
	m := &Memory{}
	m.state.Store(&state{
		appExists: appExists,
		accounts:  map[string]account{},
		sessions:  map[string]session{},
		keys:      map[string]key{},
		members:   map[membership]cloud.AppMember{},
	})
	return m
}

// state is everything at one moment. As a Tx it is the copy that becomes the
// next state.
type state struct {
	appExists func(appID string) bool
	accounts  map[string]account // by user id
	sessions  map[string]session // by id
	keys      map[string]key     // by id
	members   map[membership]cloud.AppMember
}

var _ Tx = (*state)(nil)

type account struct {
	Credentials
	recovery          map[[32]byte]bool // replaced, never changed
	invitation        [32]byte
	invitationExpires time.Time // zero: there is none
}

type session struct {
	cloud.Session
	hash [32]byte
}

type key struct {
	cloud.APIKey
	parent string // the id of the key it was made by, or ""
	hash   [32]byte
}

type membership struct{ app, user string }

// Change implements Store.
func (m *Memory) Change(ctx context.Context, change func(ctx context.Context, tx Tx) error) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	s := *m.state.Load()
	s.accounts = maps.Clone(s.accounts)
	s.sessions = maps.Clone(s.sessions)
	s.keys = maps.Clone(s.keys)
	s.members = maps.Clone(s.members)
	if err := change(ctx, &s); err != nil {
		return err
	}
	m.state.Store(&s)
	return nil
}

// PrincipalByKey implements Store.
func (m *Memory) PrincipalByKey(_ context.Context, hash [32]byte, now time.Time) (*cloud.Principal, time.Time, error) {
	s := m.state.Load()
	for _, k := range s.keys {
		if k.hash != hash || expired(k.ExpiresAt, now) || !s.accounts[k.UserID].User.Active {
			continue
		}
		p := s.principal(k.UserID)
		p.Key = &cloud.Key{ID: k.ID, Name: k.Name, Scopes: slices.Clone(k.Scopes), AppID: k.AppID, ExpiresAt: k.ExpiresAt}
		return p, k.LastUsedAt, nil
	}
	return nil, time.Time{}, cloud.Errorf(cloud.CodeUnauthorized, "the API key is not valid here, or has expired")
}

// PrincipalBySession implements Store.
func (m *Memory) PrincipalBySession(_ context.Context, hash [32]byte, now time.Time) (*cloud.Principal, time.Time, error) {
	s := m.state.Load()
	for _, k := range s.sessions {
		if k.hash != hash || expired(k.ExpiresAt, now) || !s.accounts[k.UserID].User.Active {
			continue
		}
		p := s.principal(k.UserID)
		p.SessionID = k.ID
		return p, k.SeenAt, nil
	}
	return nil, time.Time{}, cloud.Errorf(cloud.CodeUnauthorized, "the session has ended; log in again")
}

// Principals implements Store.
func (m *Memory) Principals(_ context.Context, userIDs []string) (map[string]*cloud.Principal, error) {
	s := m.state.Load()
	principals := map[string]*cloud.Principal{}
	for _, id := range userIDs {
		if s.accounts[id].User.Active {
			principals[id] = s.principal(id)
		}
	}
	return principals, nil
}

func (s *state) principal(userID string) *cloud.Principal {
	user := s.accounts[userID].User
	p := &cloud.Principal{UserID: user.ID, Name: user.Name, Role: user.Role, Apps: map[string]cloud.AppRole{}}
	for at, member := range s.members {
		if at.user == userID {
			p.Apps[at.app] = member.Role
		}
	}
	return p
}

func expired(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// stamp is t as stores keep it.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// NoteKeyUse implements Store.
func (m *Memory) NoteKeyUse(ctx context.Context, keyID string, at time.Time) error {
	return m.Change(ctx, func(_ context.Context, tx Tx) error {
		s := tx.(*state)
		if k, ok := s.keys[keyID]; ok {
			k.LastUsedAt = stamp(at)
			s.keys[keyID] = k
		}
		return nil
	})
}

// NoteSessionUse implements Store.
func (m *Memory) NoteSessionUse(ctx context.Context, sessionID string, at, expires time.Time) error {
	return m.Change(ctx, func(_ context.Context, tx Tx) error {
		s := tx.(*state)
		if k, ok := s.sessions[sessionID]; ok {
			k.SeenAt, k.ExpiresAt = stamp(at), stamp(expires)
			s.sessions[sessionID] = k
		}
		return nil
	})
}

// Owned implements Store.
func (m *Memory) Owned(context.Context) (bool, error) {
	for _, a := range m.state.Load().accounts {
		if a.User.Role == cloud.Owner && a.User.Active {
			return true, nil
		}
	}
	return false, nil
}

// Users implements Store.
func (m *Memory) Users(ctx context.Context) ([]cloud.User, error) { return m.state.Load().Users(ctx) }

// User implements Store.
func (m *Memory) User(ctx context.Context, ref string) (cloud.User, error) {
	c, err := m.Credentials(ctx, ref)
	return c.User, err
}

// Credentials implements Store.
func (m *Memory) Credentials(ctx context.Context, name string) (Credentials, error) {
	return m.state.Load().Credentials(ctx, name)
}

// Sessions implements Store.
func (m *Memory) Sessions(ctx context.Context, userID string, now time.Time) ([]cloud.Session, error) {
	return m.state.Load().Sessions(ctx, userID, now)
}

// Keys implements Store.
func (m *Memory) Keys(ctx context.Context, userID string) ([]cloud.APIKey, error) {
	return m.state.Load().Keys(ctx, userID)
}

// Members implements Store.
func (m *Memory) Members(_ context.Context, appID string) ([]cloud.AppMember, error) {
	s := m.state.Load()
	var members []cloud.AppMember
	for at, member := range s.members {
		if at.app == appID {
			members = append(members, s.named(member))
		}
	}
	slices.SortFunc(members, func(a, b cloud.AppMember) int { return compareNames(a.UserName, b.UserName) })
	return members, nil
}

// named is the member with the name that the user has by now.
func (s *state) named(m cloud.AppMember) cloud.AppMember {
	m.UserName = s.accounts[m.UserID].User.Name
	return m
}

func compareNames(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }

// Users implements Tx.
func (s *state) Users(context.Context) ([]cloud.User, error) {
	users := make([]cloud.User, 0, len(s.accounts))
	for _, a := range s.accounts {
		users = append(users, a.user())
	}
	slices.SortFunc(users, func(a, b cloud.User) int { return compareNames(a.Name, b.Name) })
	return users, nil
}

// user is the user with what follows from their credentials.
func (a account) user() cloud.User {
	u := a.User
	switch {
	case !a.invitationExpires.IsZero():
		u.Access = cloud.AccessInvited
	case a.PasswordHash == "":
		u.Access = cloud.AccessNone
	case !a.PasswordExpires.IsZero():
		u.Access = cloud.AccessOneTime
	default:
		u.Access = cloud.AccessPassword
	}
	u.SecondFactor = a.TOTPInForce
	return u
}

// Credentials implements Tx.
func (s *state) Credentials(_ context.Context, name string) (Credentials, error) {
	for id, a := range s.accounts {
		if strings.EqualFold(a.User.Name, name) || strings.EqualFold(id, name) {
			c := a.Credentials
			c.User = a.user()
			return c, nil
		}
	}
	return Credentials{}, cloud.Errorf(cloud.CodeNotFound, "no such user")
}

// Keys implements Tx.
func (s *state) Keys(_ context.Context, userID string) ([]cloud.APIKey, error) {
	var keys []cloud.APIKey
	for _, k := range s.keys {
		if k.UserID == userID {
			keys = append(keys, k.APIKey)
		}
	}
	slices.SortFunc(keys, func(a, b cloud.APIKey) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
	return keys, nil
}

// Sessions implements Tx.
func (s *state) Sessions(_ context.Context, userID string, now time.Time) ([]cloud.Session, error) {
	var sessions []cloud.Session
	for _, k := range s.sessions {
		if k.UserID == userID && !expired(k.ExpiresAt, now) {
			sessions = append(sessions, k.Session)
		}
	}
	slices.SortFunc(sessions, func(a, b cloud.Session) int {
		return cmp.Or(b.SeenAt.Compare(a.SeenAt), cmp.Compare(b.ID, a.ID))
	})
	return sessions, nil
}

// InvitedUser implements Tx.
func (s *state) InvitedUser(_ context.Context, hash [32]byte, now time.Time) (cloud.User, error) {
	for _, a := range s.accounts {
		if a.User.Active && a.invitationExpires.After(now) && a.invitation == hash {
			return a.user(), nil
		}
	}
	return cloud.User{}, cloud.Errorf(cloud.CodeUnauthorized, "the invitation is not valid, or has been used or has expired; ask for another one")
}

// InsertUser implements Tx.
func (s *state) InsertUser(_ context.Context, user cloud.User) error {
	if err := s.checkFree(user); err != nil {
		return err
	}
	s.accounts[user.ID] = account{Credentials: Credentials{User: cloud.User{
		ID: user.ID, Name: user.Name, Role: user.Role, Active: user.Active, CreatedAt: stamp(user.CreatedAt),
	}}}
	return nil
}

// checkFree refuses a user's name that another user has.
func (s *state) checkFree(user cloud.User) error {
	for id, a := range s.accounts {
		if id != user.ID && strings.EqualFold(a.User.Name, user.Name) {
			return &cloud.Error{Code: cloud.CodeConflict, Field: "name", Message: "another user has this name"}
		}
	}
	return nil
}

// update changes one account.
func (s *state) update(userID string, change func(a *account)) error {
	a, ok := s.accounts[userID]
	if !ok {
		return cloud.Errorf(cloud.CodeNotFound, "no such user")
	}
	change(&a)
	s.accounts[userID] = a
	return nil
}

// UpdateUser implements Tx.
func (s *state) UpdateUser(_ context.Context, user cloud.User) error {
	if err := s.checkFree(user); err != nil {
		return err
	}
	return s.update(user.ID, func(a *account) {
		a.User.Name, a.User.Role, a.User.Active, a.User.LastLoginAt = user.Name, user.Role, user.Active, stamp(user.LastLoginAt)
	})
}

// DeleteUser implements Tx.
func (s *state) DeleteUser(_ context.Context, id string) error {
	if _, ok := s.accounts[id]; !ok {
		return cloud.Errorf(cloud.CodeNotFound, "no such user")
	}
	delete(s.accounts, id)
	maps.DeleteFunc(s.sessions, func(_ string, k session) bool { return k.UserID == id })
	maps.DeleteFunc(s.keys, func(_ string, k key) bool { return k.UserID == id })
	maps.DeleteFunc(s.members, func(at membership, _ cloud.AppMember) bool { return at.user == id })
	return nil
}

// SetPassword implements Tx.
func (s *state) SetPassword(_ context.Context, userID, hash string, expires time.Time) error {
	return s.update(userID, func(a *account) {
		a.PasswordHash, a.PasswordExpires = hash, stamp(expires)
		a.invitation, a.invitationExpires = [32]byte{}, time.Time{}
	})
}

// SetInvitation implements Tx.
func (s *state) SetInvitation(_ context.Context, userID string, hash [32]byte, expires time.Time) error {
	return s.update(userID, func(a *account) {
		a.PasswordHash, a.PasswordExpires = "", time.Time{}
		a.invitation, a.invitationExpires = hash, stamp(expires)
	})
}

// SetTOTP implements Tx.
func (s *state) SetTOTP(_ context.Context, userID string, secret *cloud.Sealed, inForce bool) error {
	return s.update(userID, func(a *account) {
		a.TOTP, a.TOTPInForce = nil, false
		if secret == nil {
			a.recovery = nil
			return
		}
		a.TOTP, a.TOTPInForce = &cloud.Sealed{KeyID: secret.KeyID, Box: slices.Clone(secret.Box)}, inForce
	})
}

// SetTOTPStep implements Tx.
func (s *state) SetTOTPStep(_ context.Context, userID string, step int64) error {
	return s.update(userID, func(a *account) { a.TOTPStep = step })
}

// SetRecoveryCodes implements Tx.
func (s *state) SetRecoveryCodes(_ context.Context, userID string, hashes [][32]byte) error {
	return s.update(userID, func(a *account) {
		a.recovery = map[[32]byte]bool{}
		for _, hash := range hashes {
			a.recovery[hash] = true
		}
	})
}

// UseRecoveryCode implements Tx.
func (s *state) UseRecoveryCode(_ context.Context, userID string, hash [32]byte) (bool, error) {
	var found bool
	err := s.update(userID, func(a *account) {
		found = a.recovery[hash]
		a.recovery = maps.Clone(a.recovery)
		delete(a.recovery, hash)
	})
	return found, err
}

// InsertSession implements Tx.
func (s *state) InsertSession(_ context.Context, k cloud.Session, hash [32]byte) error {
	maps.DeleteFunc(s.sessions, func(_ string, old session) bool {
		return old.UserID == k.UserID && expired(old.ExpiresAt, k.CreatedAt)
	})
	k.CreatedAt, k.SeenAt, k.ExpiresAt = stamp(k.CreatedAt), stamp(k.SeenAt), stamp(k.ExpiresAt)
	s.sessions[k.ID] = session{k, hash}
	return nil
}

// EndSession implements Tx.
func (s *state) EndSession(_ context.Context, userID, id string) error {
	if k, ok := s.sessions[id]; !ok || k.UserID != userID {
		return cloud.Errorf(cloud.CodeNotFound, "no such session")
	}
	delete(s.sessions, id)
	return nil
}

// EndSessions implements Tx.
func (s *state) EndSessions(_ context.Context, userID, except string) (int, error) {
	before := len(s.sessions)
	maps.DeleteFunc(s.sessions, func(id string, k session) bool { return k.UserID == userID && id != except })
	return before - len(s.sessions), nil
}

// InsertKey implements Tx.
func (s *state) InsertKey(_ context.Context, k cloud.APIKey, parent string, hash [32]byte) error {
	if _, ok := s.keys[parent]; parent != "" && !ok {
		return cloud.Errorf(cloud.CodeUnauthorized, "the API key was revoked")
	}
	if k.AppID != "" && !s.appExists(k.AppID) {
		return &cloud.Error{Code: cloud.CodeNotFound, Field: "app", Message: "the app does not exist"}
	}
	k.CreatedAt, k.ExpiresAt, k.LastUsedAt = stamp(k.CreatedAt), stamp(k.ExpiresAt), time.Time{}
	k.Scopes = slices.Clone(k.Scopes)
	s.keys[k.ID] = key{k, parent, hash}
	return nil
}

// DeleteKey implements Tx.
func (s *state) DeleteKey(_ context.Context, userID, id string) error {
	if k, ok := s.keys[id]; !ok || k.UserID != userID {
		return cloud.Errorf(cloud.CodeNotFound, "no such key")
	}
	s.deleteKeys(id)
	return nil
}

// deleteKeys removes a key and all that were made by it.
func (s *state) deleteKeys(id string) {
	delete(s.keys, id)
	for child, k := range s.keys {
		if k.parent == id {
			s.deleteKeys(child)
		}
	}
}

// SetMember implements Tx.
func (s *state) SetMember(_ context.Context, appID, userID string, role cloud.AppRole) (cloud.AppMember, error) {
	if _, ok := s.accounts[userID]; !ok {
		return cloud.AppMember{}, cloud.Errorf(cloud.CodeNotFound, "no such user")
	}
	if !s.appExists(appID) {
		return cloud.AppMember{}, cloud.Errorf(cloud.CodeNotFound, "the app does not exist any more")
	}
	member, ok := s.members[membership{appID, userID}]
	if !ok {
		member = cloud.AppMember{UserID: userID, CreatedAt: stamp(time.Now())}
	}
	member.Role = role
	s.members[membership{appID, userID}] = member
	return s.named(member), nil
}

// RemoveMember implements Tx.
func (s *state) RemoveMember(_ context.Context, appID, userID string) error {
	at := membership{appID, userID}
	if _, ok := s.members[at]; !ok {
		return cloud.Errorf(cloud.CodeNotFound, "the app has no such member")
	}
	delete(s.members, at)
	return nil
}
