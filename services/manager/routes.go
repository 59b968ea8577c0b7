package manager

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// RouteDraft is a route as it is asked for.
type RouteDraft struct {
	Method string // "" means cloud.AnyMethod
	Host   string
	Path   string
	Mode   cloud.DispatchMode // "" means cloud.Sync
}

// RouteConflict is the Details of a CodeRouteConflict error: the route that
// already answers there.
type RouteConflict struct {
	Route  cloud.Route
	Script string // its script's name
}

// site is what a route of an app must agree with.
type site struct {
	app     cloud.App
	domains []cloud.Domain
	routes  []cloud.Route
	names   map[string]string // of scripts, by id
}

// siteReader is what AppTx and a Store bound to an app have in common.
type siteReader interface {
	Routes(ctx context.Context) ([]cloud.Route, error)
	Domains(ctx context.Context) ([]cloud.Domain, error)
}

func readSite(ctx context.Context, from siteReader, app cloud.App, scripts []cloud.Script) (*site, error) {
	routes, err := from.Routes(ctx)
	if err != nil {
		return nil, err
	}
	domains, err := from.Domains(ctx)
	if err != nil {
		return nil, err
	}
	s := &site{app: app, domains: domains, routes: routes, names: map[string]string{}}
	for _, script := range scripts {
		s.names[script.ID] = script.Name
	}
	return s, nil
}

// Routes returns the app's routes by path, host and method, and the names of
// its scripts by id.
func (m *Manager) Routes(ctx context.Context, appID string) ([]cloud.Route, map[string]string, error) {
	scripts, err := m.store.Scripts(ctx, appID)
	if err != nil {
		return nil, nil, err
	}
	routes, err := m.store.Routes(ctx, appID)
	if err != nil {
		return nil, nil, err
	}
	names := make(map[string]string, len(scripts))
	for _, s := range scripts {
		names[s.ID] = s.Name
	}
	return routes, names, nil
}

// AddRoute leads requests to an endpoint script, found by its name.
// CodeNotFound about "script"; CodeInvalid about "script", "method", "host",
// "path" or "mode"; CodeReserved; CodeRouteConflict with a RouteConflict;
// CodeLimit.
func (m *Manager) AddRoute(ctx context.Context, appID, script string, d RouteDraft) (cloud.Route, error) {
	var added cloud.Route
	err := m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		app, err := tx.App(ctx)
		if err != nil {
			return err
		}
		scripts, err := tx.Scripts(ctx)
		if err != nil {
			return err
		}
		site, err := readSite(ctx, tx, app, scripts)
		if err != nil {
			return err
		}
		route, err := m.route(site, scripts, script, d)
		if err != nil {
			return err
		}
		if err := site.conflict(route); err != nil {
			return err
		}
		added, err = m.addRoute(ctx, tx, site, route)
		return err
	})
	return added, err
}

// CheckRoute previews AddRoute: the errors are the same, nothing changes.
func (m *Manager) CheckRoute(ctx context.Context, app cloud.App, script string, d RouteDraft) error {
	scripts, err := m.store.Scripts(ctx, app.ID)
	if err != nil {
		return err
	}
	site, err := readSite(ctx, storedApp{m.store, app.ID}, app, scripts)
	if err != nil {
		return err
	}
	route, err := m.route(site, scripts, script, d)
	if err != nil {
		return err
	}
	return site.conflict(route)
}

// DeleteRoute removes a route. CodeNotFound.
func (m *Manager) DeleteRoute(ctx context.Context, appID, id string) error {
	if !cloud.IsID(id) {
		return cloud.Errorf(cloud.CodeNotFound, "the app has no route with the id %q", id)
	}
	return m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		routes, err := tx.Routes(ctx)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(routes, func(r cloud.Route) bool { return r.ID == id }); i >= 0 {
			rename(ctx, id, routeName(routes[i]))
		}
		return tx.DeleteRoute(ctx, id)
	})
}

// routeName is what the audit log calls a route.
func routeName(r cloud.Route) string { return r.Method + " " + r.Host + r.Path }

// MatchRoute tells which route a request would reach, its script's name and the
// parameters. The errors are those of Router.Match.
func (m *Manager) MatchRoute(ctx context.Context, appID, method, url string) (cloud.Route, string, map[string]string, error) {
	method = strings.ToUpper(method)
	if err := cloud.CheckMethod(method); err != nil || method == cloud.AnyMethod {
		return cloud.Route{}, "", nil, cloud.Invalid("method", "%q is no method of a request that reaches scripts", method)
	}
	route, params, err := m.router.Match(appID, method, url)
	if err != nil {
		return cloud.Route{}, "", nil, err
	}
	script, err := m.store.Script(ctx, appID, route.ScriptID)
	return route, script.Name, params, err
}

// route makes the route that d asks for, if it is well formed and allowed in
// the app; it does not look at other routes.
func (m *Manager) route(s *site, scripts []cloud.Script, script string, d RouteDraft) (cloud.Route, error) {
	i := slices.IndexFunc(scripts, func(have cloud.Script) bool { return have.Name == script })
	switch {
	case i < 0:
		return cloud.Route{}, cloud.Invalid("script", "the app %s has no script %q", s.app.Slug, script)
	case scripts[i].Kind != cloud.Endpoint:
		return cloud.Route{}, cloud.Invalid("script", "%q is a module, which others import; only an endpoint can have routes", script)
	}
	r := cloud.Route{AppID: s.app.ID, ScriptID: scripts[i].ID, Method: strings.ToUpper(d.Method), Path: d.Path, Mode: d.Mode}
	if r.Method == "" {
		r.Method = cloud.AnyMethod
	}
	if err := cloud.CheckMethod(r.Method); err != nil {
		return cloud.Route{}, err
	}
	switch r.Mode {
	case "":
		r.Mode = cloud.Sync
	case cloud.Sync, cloud.Async:
	default:
		return cloud.Route{}, cloud.Invalid("mode", "%q is neither sync nor async", d.Mode)
	}
	host, err := cloud.ParseHostPattern(d.Host)
	if err != nil {
		return cloud.Route{}, err
	}
	if err := m.checkRouteHost(s, host); err != nil {
		return cloud.Route{}, err
	}
	r.Host = hostText(host)
	if _, err := cloud.ParsePathPattern(d.Path); err != nil {
		return cloud.Route{}, err
	}
	return r, checkReserved(s.app, d.Path)
}

func (m *Manager) checkRouteHost(s *site, host cloud.HostPattern) error {
	switch {
	case host.Kind == cloud.HostAny:
		return nil
	case s.app.Slug == cloud.DefaultApp:
		if host.Kind == cloud.HostStrict && m.instance(host.Name) {
			return nil
		}
		return cloud.Invalid("host", "%q is not one of the instance's own hosts, the only ones that the app %q answers on", hostText(host), cloud.DefaultApp)
	case covers(hostsOfSlug(s.app.Slug), s.domains, host):
		return nil
	}
	return cloud.Invalid("host", "%q is not one of the app's hosts; add it to the app's domains first", hostText(host))
}

func checkReserved(app cloud.App, path string) error {
	reserved := ""
	if app.Slug == cloud.DefaultApp {
		reserved = cloud.Reserved(path)
	} else if path == "/healthz" {
		reserved = path
	}
	if reserved == "" {
		return nil
	}
	err := cloud.Errorf(cloud.CodeReserved, "%q reaches into %s, which belongs to PiCloud; choose another path", path, reserved)
	err.Field = "path"
	return err
}

// conflict is a CodeRouteConflict error if another route answers where r would.
func (s *site) conflict(r cloud.Route) error {
	i := slices.IndexFunc(s.routes, func(have cloud.Route) bool { return cloud.Conflicts(have, r) })
	if i < 0 {
		return nil
	}
	other := s.routes[i]
	host := "any host"
	if other.Host != "" {
		host = "the host " + other.Host
	}
	err := cloud.Errorf(cloud.CodeRouteConflict, "%s %s on %s already leads to the script %q", other.Method, other.Path, host, s.names[other.ScriptID])
	err.Field = "path"
	err.Details = RouteConflict{Route: other, Script: s.names[other.ScriptID]}
	return err
}

func (m *Manager) addRoute(ctx context.Context, tx AppTx, s *site, r cloud.Route) (cloud.Route, error) {
	if len(s.routes) >= m.quotas.Routes {
		return cloud.Route{}, cloud.Errorf(cloud.CodeLimit, "the app has %d routes, the most it may have", len(s.routes))
	}
	added, err := tx.AddRoute(ctx, r)
	if err != nil {
		return cloud.Route{}, fmt.Errorf("add route %s %s: %w", r.Method, r.Path, err)
	}
	s.routes = append(s.routes, added)
	return added, nil
}

// storedApp reads one app outside a change.
type storedApp struct {
	store Store
	appID string
}

func (s storedApp) Routes(ctx context.Context) ([]cloud.Route, error) {
	return s.store.Routes(ctx, s.appID)
}

func (s storedApp) Domains(ctx context.Context) ([]cloud.Domain, error) {
	return s.store.Domains(ctx, s.appID)
}
