package accounts

import (
	"context"
	"net/netip"
	"strings"
	"time"
	"unicode"

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

// begin begins a session of the user.
func (s *Service) begin(ctx context.Context, tx Tx, user cloud.User, client cloud.Client) (cloud.LoggedIn, error) {
	now := s.now().UTC().Truncate(time.Microsecond)
	user.LastLoginAt = now
	if err := tx.UpdateUser(ctx, user); err != nil {
		return cloud.LoggedIn{}, err
	}
	living, err := tx.Sessions(ctx, user.ID, now)
	if err != nil {
		return cloud.LoggedIn{}, err
	}
	for _, old := range living[min(len(living), cloud.MaxUserSessions-1):] {
		if err := tx.EndSession(ctx, user.ID, old.ID); err != nil {
			return cloud.LoggedIn{}, err
		}
	}
	in := cloud.LoggedIn{
		Token: mint(s.random, cloud.SessionPrefix),
		User:  user,
		Session: cloud.Session{
			ID: cloud.NewID(), UserID: user.ID, CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(cloud.SessionLife),
			Address: address(client), UserAgent: userAgent(client),
		},
	}
	return in, tx.InsertSession(ctx, in.Session, HashToken(in.Token))
}

// address is the client's IP address, or "".
func address(c cloud.Client) string {
	a, err := netip.ParseAddr(c.Address)
	if err != nil {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

// maxUserAgent is in bytes.
const maxUserAgent = 200

// userAgent is what the client says of itself, as text that can be stored and
// shown.
func userAgent(c cloud.Client) string {
	printable := func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}
	return strings.Map(printable, strings.ToValidUTF8(c.UserAgent[:min(maxUserAgent, len(c.UserAgent))], ""))
}
