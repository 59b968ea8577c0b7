package manager

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type apiKeyJSON struct {
	ID         string        `json:"id" format:"uuid"`
	Name       string        `json:"name"`
	Scopes     []cloud.Scope `json:"scopes" nullable:"false"`
	AppID      string        `json:"app_id" doc:"The only app it works for; empty for all"`
	App        string        `json:"app" doc:"That app's slug; empty if there is none that the caller may know of"`
	ExpiresAt  *time.Time    `json:"expires_at" doc:"null: never"`
	LastUsedAt *time.Time    `json:"last_used_at" doc:"Within an hour; null: never"`
	CreatedAt  time.Time     `json:"created_at"`
}

func newAPIKeyJSON(k cloud.APIKey, slugs map[string]string) apiKeyJSON {
	return apiKeyJSON{
		ID: k.ID, Name: k.Name, Scopes: append([]cloud.Scope{}, k.Scopes...), AppID: k.AppID, App: slugs[k.AppID],
		ExpiresAt: orNever(k.ExpiresAt), LastUsedAt: orNever(k.LastUsedAt), CreatedAt: k.CreatedAt.UTC(),
	}
}

// slugs returns the slugs of the apps that the caller may know of, by id.
func (m *Manager) slugs(ctx context.Context, c *caller) (map[string]string, error) {
	apps, err := m.VisibleApps(ctx, c.principal)
	slugs := make(map[string]string, len(apps))
	for _, a := range apps {
		slugs[a.ID] = a.Slug
	}
	return slugs, err
}

func (m *Manager) apiKeyList(ctx context.Context, c *caller, userID string) (*items[apiKeyJSON], error) {
	keys, err := m.Keys(ctx, c.principal, userID)
	if err != nil {
		return nil, err
	}
	slugs, err := m.slugs(ctx, c)
	if err != nil {
		return nil, err
	}
	list := make([]apiKeyJSON, len(keys))
	for i, k := range keys {
		list[i] = newAPIKeyJSON(k, slugs)
	}
	return listOf(list), nil
}

func (m *Manager) registerAPIKeys(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-own-api-keys", Method: http.MethodGet, Path: prefix + "/me/keys", Tags: []string{"keys"},
		Summary: "List the caller's API keys, newest first", Description: "A key sees those that can do no more than itself.",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*items[apiKeyJSON], error) {
		return m.apiKeyList(ctx, c, c.principal.UserID)
	})

	type createKeyInput struct {
		Body struct {
			Name      string        `json:"name" doc:"What it is for"`
			Scopes    []cloud.Scope `json:"scopes" nullable:"false" enum:"script:read,script:write,route:write,domain:manage,log:read,app:admin,instance:admin"`
			App       string        `json:"app,omitempty" doc:"The only app it works for: slug, former slug or id; all if absent"`
			ExpiresAt *time.Time    `json:"expires_at,omitempty" doc:"Never if absent"`
		}
	}
	type createKeyOutput struct {
		Body struct {
			Key   apiKeyJSON `json:"key"`
			Token string     `json:"token" doc:"The key itself, pic_…; it is not shown again"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "create-own-api-key", Method: http.MethodPost, Path: prefix + "/me/keys", Tags: []string{"keys"},
		Summary: "Make an API key for the caller", DefaultStatus: http.StatusCreated,
		Description: "A key makes none that can do more than itself.",
	}, func(ctx context.Context, c *caller, in *createKeyInput) (*createKeyOutput, error) {
		about(ctx, thing("keys", in.Body.Name))
		draft := KeyDraft{Name: in.Body.Name, Scopes: in.Body.Scopes, App: in.Body.App}
		if in.Body.ExpiresAt != nil {
			draft.ExpiresAt = *in.Body.ExpiresAt
		}
		slugs, err := m.slugs(ctx, c) // first: the token is told once
		if err != nil {
			return nil, err
		}
		key, token, err := m.CreateKey(ctx, c.principal, draft)
		out := &createKeyOutput{}
		out.Body.Key, out.Body.Token = newAPIKeyJSON(key, slugs), token
		return out, err
	})

	type ownKeyPath struct {
		Key string `path:"key" doc:"Id"`
	}
	operation(m, api, huma.Operation{
		OperationID: "delete-own-api-key", Method: http.MethodDelete, Path: prefix + "/me/keys/{key}", Tags: []string{"keys"},
		Summary: "End an API key of the caller",
	}, func(ctx context.Context, c *caller, in *ownKeyPath) (*struct{}, error) {
		return &struct{}{}, m.RevokeKey(ctx, c.principal, self(c.principal), in.Key)
	})

	operation(m, api, huma.Operation{
		OperationID: "list-api-keys", Method: http.MethodGet, Path: prefix + "/users/{user}/keys", Tags: []string{"keys"},
		Summary: "List a user's API keys, newest first",
	}, func(ctx context.Context, c *caller, _ *UserPath) (*items[apiKeyJSON], error) {
		return m.apiKeyList(ctx, c, c.user.ID)
	})

	type keyPath struct {
		UserPath
		Key string `path:"key" doc:"Id"`
	}
	operation(m, api, huma.Operation{
		OperationID: "delete-api-key", Method: http.MethodDelete, Path: prefix + "/users/{user}/keys/{key}", Tags: []string{"keys"},
		Summary: "End an API key of a user",
	}, func(ctx context.Context, c *caller, in *keyPath) (*struct{}, error) {
		return &struct{}{}, m.RevokeKey(ctx, c.principal, c.user, in.Key)
	})
}
