package manager

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type routeJSON struct {
	ID     string             `json:"id" format:"uuid"`
	Script string             `json:"script" doc:"Name of the script it leads to"`
	Method string             `json:"method" doc:"ANY or one method"`
	Host   string             `json:"host" doc:"Empty for every host of the app"`
	Path   string             `json:"path" example:"/users/:id"`
	Mode   cloud.DispatchMode `json:"mode" enum:"sync,async" doc:"async: a request is answered with 202, and the script runs afterwards"`
	URL    string             `json:"url" doc:"The path on the app's address"`
}

func newRouteJSON(c *caller, domains []cloud.Domain, r cloud.Route, script string) routeJSON {
	return routeJSON{
		ID: r.ID, Script: script, Method: r.Method, Host: r.Host, Path: r.Path, Mode: r.Mode,
		URL: c.origin.route(c.app, domains, r),
	}
}

// routeJSON describes a route in an answer whose status is decided already; if
// the app's domains cannot be read, its address is the one without any.
func (m *Manager) routeJSON(ctx context.Context, c *caller, r cloud.Route, script string) routeJSON {
	domains, err := m.appDomains(ctx, c.app)
	if err != nil {
		m.log.WarnContext(ctx, "cannot read an app's domains", "app_id", c.app.ID, "error", err)
	}
	return newRouteJSON(c, domains, r, script)
}

// conflictJSON are the details of a route conflict.
type conflictJSON struct {
	Conflict routeJSON `json:"conflict"`
}

// RouteDraftJSON is a route as it is asked for, without its script.
type RouteDraftJSON struct {
	Method string             `json:"method,omitempty" doc:"ANY if absent"`
	Host   string             `json:"host,omitempty" doc:"A host of the app, or *.NAME; every host of the app if absent"`
	Path   string             `json:"path" doc:"Exact /greet, with parameters /users/:id, or prefix /files/*" example:"/greet"`
	Mode   cloud.DispatchMode `json:"mode,omitempty" enum:"sync,async" doc:"sync if absent"`
}

func (r RouteDraftJSON) draft() RouteDraft {
	return RouteDraft(r)
}

// routeDrafts keeps nil apart from empty.
func routeDrafts(routes []RouteDraftJSON) []RouteDraft {
	if routes == nil {
		return nil
	}
	drafts := make([]RouteDraft, len(routes))
	for i, r := range routes {
		drafts[i] = r.draft()
	}
	return drafts
}

type routeInput struct {
	AppPath
	Body struct {
		Script string `json:"script" doc:"Name of an endpoint script"`
		RouteDraftJSON
	}
}

func (m *Manager) registerRoutes(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-routes", Method: http.MethodGet, Path: prefix + "/apps/{app}/routes", Tags: []string{"routes"},
		Summary: "List an app's routes",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*items[routeJSON], error) {
		routes, names, err := m.Routes(ctx, c.app.ID)
		if err != nil {
			return nil, err
		}
		domains, err := m.appDomains(ctx, c.app)
		if err != nil {
			return nil, err
		}
		list := make([]routeJSON, len(routes))
		for i, r := range routes {
			list[i] = newRouteJSON(c, domains, r, names[r.ScriptID])
		}
		return listOf(list), nil
	})

	operation(m, api, huma.Operation{
		OperationID: "add-route", Method: http.MethodPost, Path: prefix + "/apps/{app}/routes", Tags: []string{"routes"},
		Summary: "Lead requests to a script", DefaultStatus: http.StatusCreated,
	}, func(ctx context.Context, c *caller, in *routeInput) (*body[routeJSON], error) {
		about(ctx, thing("routes", cmp.Or(in.Body.Method, cloud.AnyMethod)+" "+in.Body.Host+in.Body.Path)+fact("script", in.Body.Script)+fact("mode", in.Body.Mode))
		r, err := m.AddRoute(ctx, c.app.ID, in.Body.Script, in.Body.draft())
		if err != nil {
			return nil, err
		}
		return &body[routeJSON]{m.routeJSON(ctx, c, r, in.Body.Script)}, nil
	})

	type deleteInput struct {
		AppPath
		Route string `path:"route" doc:"Id"`
	}
	operation(m, api, huma.Operation{
		OperationID: "delete-route", Method: http.MethodDelete, Path: prefix + "/apps/{app}/routes/{route}", Tags: []string{"routes"},
		Summary: "Delete a route",
	}, func(ctx context.Context, c *caller, in *deleteInput) (*struct{}, error) {
		return &struct{}{}, m.DeleteRoute(ctx, c.app.ID, in.Route)
	})

	type checkRouteOutput struct {
		Body struct {
			OK       bool       `json:"ok"`
			Conflict *routeJSON `json:"conflict,omitempty" doc:"The route that already answers there"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "check-route", Method: http.MethodPost, Path: prefix + "/apps/{app}/routes:check", Tags: []string{"routes"},
		Summary: "Tell whether a route could be added",
	}, func(ctx context.Context, c *caller, in *routeInput) (*checkRouteOutput, error) {
		out := &checkRouteOutput{}
		err := m.CheckRoute(ctx, c.app, in.Body.Script, in.Body.draft())
		if e, ok := errors.AsType[*cloud.Error](err); ok {
			if conflict, ok := e.Details.(RouteConflict); ok {
				other := m.routeJSON(ctx, c, conflict.Route, conflict.Script)
				out.Body.Conflict = &other
				return out, nil
			}
		}
		out.Body.OK = true
		return out, err
	})

	type matchRouteInput struct {
		AppPath
		Method string `query:"method" default:"GET"`
		URL    string `query:"url" required:"true" doc:"A URL of the app, or a path" example:"/users/7"`
	}
	type matchRouteOutput struct {
		Body struct {
			Route  routeJSON         `json:"route"`
			Script string            `json:"script" doc:"Name of the script that would run"`
			Params map[string]string `json:"params" doc:"Values of the path's parameters"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "match-route", Method: http.MethodGet, Path: prefix + "/apps/{app}/routes:match", Tags: []string{"routes"},
		Summary: "Tell which route and script a request would reach",
	}, func(ctx context.Context, c *caller, in *matchRouteInput) (*matchRouteOutput, error) {
		route, script, params, err := m.MatchRoute(ctx, c.app.ID, in.Method, in.URL)
		if err != nil {
			return nil, err
		}
		out := &matchRouteOutput{}
		out.Body.Route = m.routeJSON(ctx, c, route, script)
		out.Body.Script = script
		out.Body.Params = params
		if params == nil {
			out.Body.Params = map[string]string{}
		}
		return out, nil
	})
}
