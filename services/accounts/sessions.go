package accounts

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// Sessions implements cloud.Accounts.
func (s *Service) Sessions(ctx context.Context, userID string) ([]cloud.Session, error) {
	return s.store.Sessions(ctx, userID, s.now())
}

// EndSession implements cloud.Accounts.
func (s *Service) EndSession(ctx context.Context, userID, sessionID string) error {
	if !cloud.IsID(userID) || !cloud.IsID(sessionID) {
		return cloud.Errorf(cloud.CodeNotFound, "no such session")
	}
	return s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		return tx.EndSession(ctx, userID, sessionID)
	})
}

// EndOtherSessions implements cloud.Accounts.
func (s *Service) EndOtherSessions(ctx context.Context, p *cloud.Principal) (ended int, err error) {
	if err := needSession(p); err != nil {
		return 0, err
	}
	err = s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		ended, err = tx.EndSessions(ctx, p.UserID, p.SessionID)
		return err
	})
	return ended, err
}
