package manager

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

// AppPath is the part of a path that names an app. The app is found before an
// operation runs: see caller.
type AppPath struct {
	App string `path:"app" doc:"Slug, former slug or id" example:"default"`
}

type appJSON struct {
	ID        string        `json:"id" format:"uuid"`
	Slug      string        `json:"slug"`
	Name      string        `json:"name"`
	MyRole    cloud.AppRole `json:"my_role" enum:"app_admin,editor,viewer" doc:"The caller's role in the app"`
	URL       string        `json:"url" doc:"Where the app is reached, as seen from the request's host"`
	CreatedAt time.Time     `json:"created_at"`
	UpdatedAt time.Time     `json:"updated_at"`
}

func (m *Manager) appJSON(ctx context.Context, c *caller, app cloud.App) (appJSON, error) {
	domains, err := m.appDomains(ctx, app)
	if err != nil {
		return appJSON{}, err
	}
	return appJSON{
		ID: app.ID, Slug: app.Slug, Name: app.Name, MyRole: c.principal.RoleIn(app.ID), URL: c.origin.app(app, domains),
		CreatedAt: app.CreatedAt.UTC(), UpdatedAt: app.UpdatedAt.UTC(),
	}, nil
}

func (m *Manager) appDomains(ctx context.Context, app cloud.App) ([]cloud.Domain, error) {
	if app.Slug == cloud.DefaultApp {
		return nil, nil
	}
	return m.store.Domains(ctx, app.ID)
}

func (m *Manager) oneApp(ctx context.Context, c *caller, app cloud.App, err error) (*body[appJSON], error) {
	if err != nil {
		return nil, err
	}
	out, err := m.appJSON(ctx, c, app)
	return &body[appJSON]{out}, err
}

func (m *Manager) registerApps(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-apps", Method: http.MethodGet, Path: prefix + "/apps", Tags: []string{"apps"},
		Summary: "List the apps that the caller may know of",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*items[appJSON], error) {
		apps, err := m.VisibleApps(ctx, c.principal)
		if err != nil {
			return nil, err
		}
		list := make([]appJSON, len(apps))
		for i, a := range apps {
			if list[i], err = m.appJSON(ctx, c, a); err != nil {
				return nil, err
			}
		}
		return listOf(list), nil
	})

	type createAppInput struct {
		Body struct {
			Slug string `json:"slug" doc:"1 to 63 of a-z, 0-9 and inner hyphens"`
			Name string `json:"name,omitempty" doc:"For people; the slug if absent"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "create-app", Method: http.MethodPost, Path: prefix + "/apps", Tags: []string{"apps"},
		Summary: "Create an app", DefaultStatus: http.StatusCreated, Description: "The caller is its app_admin.",
	}, func(ctx context.Context, c *caller, in *createAppInput) (*body[appJSON], error) {
		about(ctx, thing("apps", in.Body.Slug)+fact("name", in.Body.Name))
		app, err := m.CreateApp(ctx, in.Body.Slug, in.Body.Name, c.principal)
		if err != nil {
			return nil, err
		}
		now := *c.principal // with what it is in the new app
		now.Apps = maps.Clone(now.Apps)
		if now.Apps == nil {
			now.Apps = map[string]cloud.AppRole{}
		}
		now.Apps[app.ID] = cloud.AppAdminRole
		c.principal = &now
		return m.oneApp(ctx, c, app, nil)
	})

	operation(m, api, huma.Operation{
		OperationID: "get-app", Method: http.MethodGet, Path: prefix + "/apps/{app}", Tags: []string{"apps"},
		Summary: "Show an app",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*body[appJSON], error) {
		return m.oneApp(ctx, c, c.app, nil)
	})

	type updateAppInput struct {
		AppPath
		Body struct {
			Slug *string `json:"slug,omitempty" doc:"The one that is given up leads here until another app takes it"`
			Name *string `json:"name,omitempty"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "update-app", Method: http.MethodPatch, Path: prefix + "/apps/{app}", Tags: []string{"apps"},
		Summary: "Rename an app",
	}, func(ctx context.Context, c *caller, in *updateAppInput) (*body[appJSON], error) {
		note(ctx, setTo("slug", in.Body.Slug), setTo("name", in.Body.Name))
		app, err := m.UpdateApp(ctx, c.app.ID, AppChange{Slug: in.Body.Slug, Name: in.Body.Name})
		return m.oneApp(ctx, c, app, err)
	})

	operation(m, api, huma.Operation{
		OperationID: "delete-app", Method: http.MethodDelete, Path: prefix + "/apps/{app}", Tags: []string{"apps"},
		Summary: "Delete an app and everything in it",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*struct{}, error) {
		return &struct{}{}, m.DeleteApp(ctx, c.app.ID)
	})
}
