package manager

import (
	"context"
	"slices"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// KeyDraft is an API key to be.
type KeyDraft struct {
	Name      string
	Scopes    []cloud.Scope
	App       string    // slug, former slug or id; "" for all
	ExpiresAt time.Time // zero: never
}

// CreateKey makes a key for p's user; see cloud.Accounts. An app that p may not
// know of: CodeInvalid about "app".
func (m *Manager) CreateKey(ctx context.Context, p *cloud.Principal, draft KeyDraft) (key cloud.APIKey, token string, err error) {
	d := cloud.KeyDraft{Name: draft.Name, Scopes: draft.Scopes, ExpiresAt: draft.ExpiresAt}
	slug := ""
	if draft.App != "" {
		app, err := m.appFor(ctx, p, draft.App)
		if cloud.CodeOf(err) == cloud.CodeNotFound {
			err = cloud.Invalid("app", "%s", message(err)).Because(err)
		}
		if err != nil {
			return key, "", err
		}
		d.AppID, slug = app.ID, app.Slug
	}
	note(ctx, setTo("scopes", new(joined(d.Scopes))), fact("app", slug))
	if !d.ExpiresAt.IsZero() {
		note(ctx, fact("expires_at", d.ExpiresAt.UTC().Format(time.RFC3339)))
	}
	return m.accounts.CreateKey(ctx, p, d)
}

// Keys returns those of the user's keys that p may see: all, but a key sees only
// keys that can do no more than itself.
func (m *Manager) Keys(ctx context.Context, p *cloud.Principal, userID string) ([]cloud.APIKey, error) {
	keys, err := m.accounts.Keys(ctx, userID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(keys, func(k cloud.APIKey) bool { return p.UserID == userID && !within(k, p.Key) }), nil
}

// RevokeKey ends a key of the user that Keys would return. CodeNotFound;
// CodeForbidden if the user is an owner and p is not.
func (m *Manager) RevokeKey(ctx context.Context, p *cloud.Principal, user cloud.User, keyID string) error {
	if err := mayEnd(p, user); err != nil {
		return err
	}
	keys, err := m.Keys(ctx, p, user.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(keys, func(k cloud.APIKey) bool { return k.ID == keyID })
	if i < 0 {
		return cloud.Errorf(cloud.CodeNotFound, "there is no API key with the id %q", keyID)
	}
	rename(ctx, keyID, keys[i].Name)
	return m.accounts.RevokeKey(ctx, user.ID, keyID)
}

// within tells whether k can do no more than outer; nil is a session, which can
// do everything.
func within(k cloud.APIKey, outer *cloud.Key) bool {
	if outer == nil {
		return true
	}
	if outer.AppID != "" && outer.AppID != k.AppID {
		return false
	}
	return !slices.ContainsFunc(k.Scopes, func(s cloud.Scope) bool { return !slices.Contains(outer.Scopes, s) })
}
