package accounts

import (
	"context"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
)

// Keys implements cloud.Accounts.
func (s *Service) Keys(ctx context.Context, userID string) ([]cloud.APIKey, error) {
	return s.store.Keys(ctx, userID)
}

// CreateKey implements cloud.Accounts. An app that the user has no role in is as
// one that does not exist.
func (s *Service) CreateKey(ctx context.Context, p *cloud.Principal, draft cloud.KeyDraft) (cloud.APIKey, string, error) {
	now := s.now().UTC().Truncate(time.Microsecond)
	if err := checkKey(draft, now); err != nil {
		return cloud.APIKey{}, "", err
	}
	if err := checkMint(p, draft); err != nil {
		return cloud.APIKey{}, "", err
	}
	if draft.AppID != "" && (!cloud.IsID(draft.AppID) || p.RoleIn(draft.AppID) == "") {
		return cloud.APIKey{}, "", errNoKeyApp
	}
	key := cloud.APIKey{
		ID: cloud.NewID(), UserID: p.UserID, Name: draft.Name, Scopes: slices.Clone(draft.Scopes),
		AppID: draft.AppID, CreatedAt: now,
	}
	if !draft.ExpiresAt.IsZero() {
		key.ExpiresAt = draft.ExpiresAt.UTC().Truncate(time.Microsecond)
	}
	var parent string
	if p.Key != nil {
		parent = p.Key.ID
	}
	token := mint(s.random, cloud.KeyPrefix)
	err := s.store.Change(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := self(ctx, tx, p); err != nil {
			return err
		}
		keys, err := tx.Keys(ctx, p.UserID)
		if err != nil {
			return err
		}
		if len(keys) >= cloud.MaxKeysPerUser {
			return cloud.Errorf(cloud.CodeLimit, "the user has %d API keys, which is the most there can be; revoke one that is not needed", len(keys))
		}
		return tx.InsertKey(ctx, key, parent, HashToken(token))
	})
	if err != nil {
		if cloud.CodeOf(err) == cloud.CodeNotFound && key.AppID != "" {
			err = errNoKeyApp.Because(err)
		}
		return cloud.APIKey{}, "", err
	}
	return key, token, nil
}

var errNoKeyApp = cloud.Invalid("app", "no such app")

// checkKey refuses what is no key, whoever wants it.
func checkKey(draft cloud.KeyDraft, now time.Time) error {
	switch n := utf8.RuneCountInString(draft.Name); {
	case n == 0:
		return cloud.Invalid("name", "is empty; name what will use the key")
	case n > cloud.MaxKeyName:
		return cloud.Invalid("name", "has %d characters; at most %d are allowed", n, cloud.MaxKeyName)
	case !utf8.ValidString(draft.Name) || !printable(draft.Name):
		return cloud.Invalid("name", "holds characters that cannot be shown")
	case len(draft.Scopes) == 0:
		return cloud.Invalid("scopes", "is empty; a key without scopes may do nothing")
	}
	for i, scope := range draft.Scopes {
		switch {
		case !slices.Contains(cloud.Scopes, scope):
			return cloud.Invalid("scopes", "%.40q is no scope; there are %q", scope, cloud.Scopes)
		case slices.Contains(draft.Scopes[:i], scope):
			return cloud.Invalid("scopes", "names %s twice", scope)
		case scope == cloud.ScopeInstanceAdmin && draft.AppID != "":
			return cloud.Invalid("scopes", "a key that is bound to an app cannot have %s", scope)
		}
	}
	switch {
	case draft.ExpiresAt.IsZero():
		return nil
	case !draft.ExpiresAt.After(now):
		return cloud.Invalid("expires_at", "is past")
	case draft.ExpiresAt.After(now.AddDate(100, 0, 0)):
		return cloud.Invalid("expires_at", "is more than 100 years ahead; leave it out for a key that never expires")
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// checkMint refuses a key that could do more than the one that p came with.
func checkMint(p *cloud.Principal, draft cloud.KeyDraft) error {
	if p == nil || p.UserID == "" {
		return cloud.Errorf(cloud.CodeForbidden, "only a user may have API keys")
	}
	if p.Key == nil {
		return nil
	}
	for _, scope := range draft.Scopes {
		if !slices.Contains(p.Key.Scopes, scope) {
			return cloud.Errorf(cloud.CodeForbidden, "an API key makes no key with a scope that it lacks: %s", scope)
		}
	}
	if p.Key.AppID != "" && draft.AppID != p.Key.AppID {
		return cloud.Errorf(cloud.CodeForbidden, "an API key that is bound to an app makes keys that are bound to the same app only")
	}
	if limit := p.Key.ExpiresAt; !limit.IsZero() && (draft.ExpiresAt.IsZero() || draft.ExpiresAt.After(limit)) {
		return cloud.Errorf(cloud.CodeForbidden, "an API key makes no key that lives longer than itself, until %s", limit.UTC().Format(time.RFC3339))
	}
	return nil
}

// administers tells whether a key may do for its user what concerns the whole
// instance.
func administers(k *cloud.Key) bool {
	return k != nil && k.AppID == "" && slices.Contains(k.Scopes, cloud.ScopeInstanceAdmin)
}

// RevokeKey implements cloud.Accounts.
func (s *Service) RevokeKey(ctx context.Context, userID, keyID string) error {
	if !cloud.IsID(userID) || !cloud.IsID(keyID) {
		return cloud.Errorf(cloud.CodeNotFound, "no such key")
	}
	return s.store.Change(ctx, func(ctx context.Context, tx Tx) error { return tx.DeleteKey(ctx, userID, keyID) })
}
