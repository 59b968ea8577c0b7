package accounts

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Authenticate implements cloud.Accounts.
func (s *Service) Authenticate(ctx context.Context, token string) (*cloud.Principal, error) {
	switch {
	case wellFormed(cloud.KeyPrefix, token):
		return s.byKey(ctx, HashToken(token))
	case wellFormed(cloud.SessionPrefix, token):
		return s.bySession(ctx, HashToken(token))
	case strings.HasPrefix(token, cloud.InvitationPrefix):
		return nil, cloud.Errorf(cloud.CodeUnauthorized, "this is an invitation, which sets a password; log in then")
	default:
		return nil, cloud.Errorf(cloud.CodeUnauthorized, "the token is neither an API key nor a session's; one begins with %s or %s and has %d characters",
			cloud.KeyPrefix, cloud.SessionPrefix, len(cloud.KeyPrefix)+tokenEncoding.EncodedLen(tokenBytes))
	}
}

func (s *Service) byKey(ctx context.Context, hash [32]byte) (*cloud.Principal, error) {
	now := s.now()
	p, used, err := s.store.PrincipalByKey(ctx, hash, now)
	if err != nil {
		return nil, err
	}
	s.note(ctx, p.Key.ID, used, now, func() error { return s.store.NoteKeyUse(ctx, p.Key.ID, now) })
	return p, nil
}

func (s *Service) bySession(ctx context.Context, hash [32]byte) (*cloud.Principal, error) {
	now := s.now()
	p, seen, err := s.store.PrincipalBySession(ctx, hash, now)
	if err != nil {
		return nil, err
	}
	s.note(ctx, p.SessionID, seen, now, func() error {
		return s.store.NoteSessionUse(ctx, p.SessionID, now, now.Add(cloud.SessionLife))
	})
	return p, nil
}

// Principals are the users with the ids as principals, by id: for what runs in
// their name without a key or session, such as events. Users who are gone or
// inactive are left out.
func (s *Service) Principals(ctx context.Context, userIDs []string) (map[string]*cloud.Principal, error) {
	return s.store.Principals(ctx, userIDs)
}

// note records the use of a key or session if that is due. A failure is not the
// caller's.
func (s *Service) note(ctx context.Context, id string, last, now time.Time, record func() error) {
	if !s.noted.due(id, last, now) {
		return
	}
	if err := record(); err != nil {
		s.noted.forget(id)
		s.log.WarnContext(ctx, "use of a credential not noted", "id", id, "error", err)
	}
}

// notes remembers when uses were last noted, so that requests that come
// together do not all write.
type notes struct {
	mu sync.Mutex
	at map[string]time.Time // by the id of a key or session
}

// Uses are noted no more often than noteEvery, and maxNotes remembered. Ours.
const (
	noteEvery = time.Hour
	maxNotes  = 1000
)

// due tells whether the use of id, last noted at a time, is to be noted now, and
// remembers that it is.
func (n *notes) due(id string, last, now time.Time) bool {
	recent := func(t time.Time) bool { return now.Sub(t).Abs() < noteEvery } // a clock may have been set back
	if recent(last) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, ok := n.at[id]; ok && recent(at) {
		return false
	}
	if n.at == nil || len(n.at) >= maxNotes {
		n.at = map[string]time.Time{}
	}
	n.at[id] = now
	return true
}

// forget makes the next use of id due again.
func (n *notes) forget(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.at, id)
}
