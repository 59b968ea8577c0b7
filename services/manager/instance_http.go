package manager

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type healthJSON struct {
	Status string `json:"status" enum:"ok"`
}

type whoamiJSON struct {
	UserID string             `json:"user_id"`
	Name   string             `json:"name"`
	Role   cloud.InstanceRole `json:"role" enum:"owner,admin,member"`
	Key    *keyJSON           `json:"key" doc:"The API key that was used"`
}

// TransformSchema says that key may be null.
func (whoamiJSON) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "key")
}

type keyJSON struct {
	ID     string        `json:"id"`
	Scopes []cloud.Scope `json:"scopes" nullable:"false"`
	AppID  string        `json:"app_id" doc:"The only app it works for; empty for all"`
}

type body[T any] struct {
	Body T
}

// items is the body of a list.
type items[T any] struct {
	Body struct {
		Items []T `json:"items" nullable:"false"`
	}
}

func listOf[T any](list []T) *items[T] {
	var out items[T]
	out.Body.Items = list
	if list == nil {
		out.Body.Items = []T{}
	}
	return &out
}

type openapiOutput struct {
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	Body         []byte
}

func (m *Manager) registerInstance(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz", Tags: []string{"instance"},
		Summary: "Tell that the server answers; on every host",
	}, func(context.Context, *caller, *struct{}) (*body[healthJSON], error) {
		return &body[healthJSON]{healthJSON{Status: "ok"}}, nil
	})
	operation(m, api, huma.Operation{
		OperationID: "version", Method: http.MethodGet, Path: "/version", Tags: []string{"instance"},
		Summary: "Tell what is running",
	}, func(context.Context, *caller, *struct{}) (*body[Version], error) {
		return &body[Version]{m.version}, nil
	})
	operation(m, api, huma.Operation{
		OperationID: "openapi", Method: http.MethodGet, Path: prefix + "/openapi.json", Tags: []string{"instance"},
		Summary: "Describe the API, as OpenAPI 3.1",
	}, func(context.Context, *caller, *struct{}) (*openapiOutput, error) {
		return &openapiOutput{ContentType: "application/openapi+json", CacheControl: "no-cache", Body: m.document}, nil
	})
	operation(m, api, huma.Operation{
		OperationID: "whoami", Method: http.MethodGet, Path: prefix + "/me", Tags: []string{"instance"},
		Summary: "Tell who the caller is",
	}, func(_ context.Context, c *caller, _ *struct{}) (*body[whoamiJSON], error) {
		p := c.principal
		out := whoamiJSON{UserID: p.UserID, Name: p.Name, Role: p.Role}
		if p.Key != nil {
			out.Key = &keyJSON{ID: p.Key.ID, Scopes: append([]cloud.Scope{}, p.Key.Scopes...), AppID: p.Key.AppID}
		}
		return &body[whoamiJSON]{out}, nil
	})
}
