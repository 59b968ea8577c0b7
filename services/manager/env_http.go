package manager

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type variableJSON struct {
	Name      string    `json:"name"`
	Value     string    `json:"value"`
	UpdatedAt time.Time `json:"updated_at"`
}

type secretJSON struct {
	Name      string    `json:"name"`
	UpdatedAt time.Time `json:"updated_at"`
}

// EnvPath is the part of a path that names a variable or a secret of an app.
type EnvPath struct {
	AppPath
	Name string `path:"name" doc:"Letters, digits and _, beginning with no digit"`
}

type setEnvInput struct {
	EnvPath
	Body struct {
		Value string `json:"value" doc:"At most 64 KiB"`
	}
}

func (m *Manager) registerEnv(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-variables", Method: http.MethodGet, Path: prefix + "/apps/{app}/variables", Tags: []string{"env"},
		Summary: "List an app's variables by name",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*items[variableJSON], error) {
		entries, err := m.variables.ListVariables(ctx, c.call())
		if err != nil {
			return nil, err
		}
		list := make([]variableJSON, len(entries))
		for i, e := range entries {
			list[i] = variableJSON{Name: e.Name, Value: e.Value, UpdatedAt: e.UpdatedAt.UTC()}
		}
		return listOf(list), nil
	})

	operation(m, api, huma.Operation{
		OperationID: "set-variable", Method: http.MethodPut, Path: prefix + "/apps/{app}/variables/{name}", Tags: []string{"env"},
		Summary: "Create or change a variable",
	}, func(ctx context.Context, c *caller, in *setEnvInput) (*struct{}, error) {
		return &struct{}{}, m.variables.SetVariable(ctx, c.call(), in.Name, in.Body.Value)
	})

	operation(m, api, huma.Operation{
		OperationID: "delete-variable", Method: http.MethodDelete, Path: prefix + "/apps/{app}/variables/{name}", Tags: []string{"env"},
		Summary: "Delete a variable",
	}, func(ctx context.Context, c *caller, in *EnvPath) (*struct{}, error) {
		present, err := m.variables.DeleteVariable(ctx, c.call(), in.Name)
		if err == nil && !present {
			err = cloud.Errorf(cloud.CodeNotFound, "the app has no variable %q", in.Name)
		}
		return &struct{}{}, err
	})

	operation(m, api, huma.Operation{
		OperationID: "list-secrets", Method: http.MethodGet, Path: prefix + "/apps/{app}/secrets", Tags: []string{"env"},
		Summary: "List the names of an app's secrets", Description: "Values never leave through the API.",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*items[secretJSON], error) {
		entries, err := m.secrets.List(ctx, c.call())
		if err != nil {
			return nil, err
		}
		list := make([]secretJSON, len(entries))
		for i, e := range entries {
			list[i] = secretJSON{Name: e.Name, UpdatedAt: e.UpdatedAt.UTC()}
		}
		return listOf(list), nil
	})

	operation(m, api, huma.Operation{
		OperationID: "set-secret", Method: http.MethodPut, Path: prefix + "/apps/{app}/secrets/{name}", Tags: []string{"env"},
		Summary: "Create or change a secret",
	}, func(ctx context.Context, c *caller, in *setEnvInput) (*struct{}, error) {
		return &struct{}{}, m.secrets.Set(ctx, c.call(), in.Name, in.Body.Value)
	})

	operation(m, api, huma.Operation{
		OperationID: "delete-secret", Method: http.MethodDelete, Path: prefix + "/apps/{app}/secrets/{name}", Tags: []string{"env"},
		Summary: "Delete a secret",
	}, func(ctx context.Context, c *caller, in *EnvPath) (*struct{}, error) {
		present, err := m.secrets.Delete(ctx, c.call(), in.Name)
		if err == nil && !present {
			err = cloud.Errorf(cloud.CodeNotFound, "the app has no secret %q", in.Name)
		}
		return &struct{}{}, err
	})
}
