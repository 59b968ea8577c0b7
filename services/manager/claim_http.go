package manager

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

func (m *Manager) registerClaim(api huma.API) {
	type claimInput struct {
		Body struct {
			Name     string `json:"name" doc:"Of the first owner: letters, digits and . _ - @"`
			Password string `json:"password" format:"password"`
			Cookie   bool   `json:"cookie,omitempty" doc:"Set the session's cookie instead of telling its token"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "claim", Method: http.MethodPost, Path: prefix + "/claim", Tags: []string{"sessions"},
		Summary: "Become the first owner of an instance that has none", DefaultStatus: http.StatusCreated, MaxBodyBytes: maxStrangersBody,
	}, func(ctx context.Context, c *caller, in *claimInput) (*loggedInOutput, error) {
		about(ctx, thing("users", in.Body.Name))
		l, err := m.accounts.Claim(ctx, in.Body.Name, in.Body.Password, c.client)
		return newLoggedInOutput(c, l, in.Body.Cookie), err
	})
}
