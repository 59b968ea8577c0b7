package manager

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type domainJSON struct {
	ID        string    `json:"id" format:"uuid"`
	Host      string    `json:"host" example:"*.example.com"`
	CreatedAt time.Time `json:"created_at"`
}

func newDomainJSON(d cloud.Domain) domainJSON {
	return domainJSON{ID: d.ID, Host: d.Host, CreatedAt: d.CreatedAt.UTC()}
}

func (m *Manager) registerDomains(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-domains", Method: http.MethodGet, Path: prefix + "/apps/{app}/domains", Tags: []string{"domains"},
		Summary: "List the hosts that an app claims",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*items[domainJSON], error) {
		domains, err := m.Domains(ctx, c.app.ID)
		if err != nil {
			return nil, err
		}
		list := make([]domainJSON, len(domains))
		for i, d := range domains {
			list[i] = newDomainJSON(d)
		}
		return listOf(list), nil
	})

	type addDomainInput struct {
		AppPath
		Body struct {
			Host string `json:"host" doc:"A host name, or *.NAME for all below it"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "add-domain", Method: http.MethodPost, Path: prefix + "/apps/{app}/domains", Tags: []string{"domains"},
		Summary: "Claim a host for an app", DefaultStatus: http.StatusCreated,
	}, func(ctx context.Context, c *caller, in *addDomainInput) (*body[domainJSON], error) {
		about(ctx, thing("domains", in.Body.Host))
		d, err := m.AddDomain(ctx, c.app.ID, in.Body.Host, c.principal)
		return &body[domainJSON]{newDomainJSON(d)}, err
	})

	type deleteInput struct {
		AppPath
		Host string `path:"host"`
	}
	operation(m, api, huma.Operation{
		OperationID: "delete-domain", Method: http.MethodDelete, Path: prefix + "/apps/{app}/domains/{host}", Tags: []string{"domains"},
		Summary: "Give a claim up",
	}, func(ctx context.Context, c *caller, in *deleteInput) (*struct{}, error) {
		return &struct{}{}, m.DeleteDomain(ctx, c.app.ID, in.Host)
	})
}
