package accounts

import (
	"context"
	"strings"
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
