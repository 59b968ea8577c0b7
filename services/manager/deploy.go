package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
)

// ScriptDraft is a script as it is asked for.
type ScriptDraft struct {
	Name     string
	Kind     cloud.ScriptKind // "": as it is; a new script is an endpoint
	Language cloud.Language   // "": as it is; a new script is TypeScript, of which JavaScript is a part
	Source   string
	Limits   *cloud.Limits // nil: as they are
	// Routes are added where they are missing; routes that are not named stay.
	// Nil: an endpoint without any route gets ANY /NAME and ANY /NAME/*.
	Routes []RouteDraft
}

// Saved is a script after a save.
type Saved struct {
	Script  cloud.Script
	Created bool
}

// Deployed is a script after a deployment, with all its routes.
type Deployed struct {
	Script cloud.Script
	Routes []cloud.Route
}

// Deploy saves scripts and adds routes, all or nothing. Every script is built,
// and so is every endpoint that imports a module that changes. A script whose
// kind, language, source and limits are as they were keeps its version.
//
// CodeInvalid about "scripts[i].…" for a draft that is refused;
// CodeBuildFailed with the diagnostics for a source that does not build, or
// that would break another script, which the message then names; CodeReserved,
// CodeRouteConflict (with a RouteConflict) and CodeLimit.
func (m *Manager) Deploy(ctx context.Context, appID string, drafts []ScriptDraft, by string) ([]Deployed, error) {
	if len(drafts) == 0 {
		return nil, cloud.Invalid("scripts", "is empty; name at least one script")
	}
	var out []Deployed
	err := m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		app, err := tx.App(ctx)
		if err != nil {
			return err
		}
		before, err := tx.Scripts(ctx)
		if err != nil {
			return err
		}
		saved, err := m.save(ctx, tx, before, drafts, by)
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
		old := len(site.routes)
		for i, d := range drafts {
			if err := m.addRoutes(ctx, tx, site, scripts, saved[i].Script, d.Routes); err != nil {
				return prefixed(err, fmt.Sprintf("scripts[%d].", i))
			}
		}
		var things []string
		for _, s := range saved {
			out = append(out, Deployed{Script: s.Script, Routes: site.of(s.Script.ID)})
			things = append(things, thing("scripts", s.Script.Name)+fact("version", s.Script.Version))
		}
		for _, r := range site.routes[old:] {
			things = append(things, thing("routes", routeName(r)))
		}
		about(ctx, things...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// addRoutes adds those of drafts that the script does not have yet.
func (m *Manager) addRoutes(ctx context.Context, tx AppTx, s *site, scripts []cloud.Script, script cloud.Script, drafts []RouteDraft) error {
	if drafts == nil {
		if script.Kind != cloud.Endpoint || len(s.of(script.ID)) > 0 {
			return nil
		}
		drafts = []RouteDraft{{Path: "/" + script.Name}, {Path: "/" + script.Name + "/*"}}
	}
	for i, d := range drafts {
		r, err := m.route(s, scripts, script.Name, d)
		if err != nil {
			return prefixed(err, fmt.Sprintf("routes[%d].", i))
		}
		if s.has(r) {
			continue
		}
		if err := s.conflict(r); err != nil {
			return prefixed(err, fmt.Sprintf("routes[%d].", i))
		}
		if _, err := m.addRoute(ctx, tx, s, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) of(scriptID string) []cloud.Route {
	var routes []cloud.Route
	for _, r := range s.routes {
		if r.ScriptID == scriptID {
			routes = append(routes, r)
		}
	}
	return routes
}

// has tells whether the app has the route, apart from its id.
func (s *site) has(r cloud.Route) bool {
	return slices.ContainsFunc(s.routes, func(have cloud.Route) bool {
		have.ID = r.ID
		return have == r
	})
}

// save is the scripts' part of Deploy. before are all scripts of the app with
// their sources.
func (m *Manager) save(ctx context.Context, tx AppTx, before []cloud.Script, drafts []ScriptDraft, by string) ([]Saved, error) {
	after := slices.Clone(before)
	saved := make([]Saved, len(drafts))
	changed := map[string]bool{}        // scripts that get a new version
	changedModules := map[string]bool{} // names under which imports may now find something else
	for i, d := range drafts {
		at := fmt.Sprintf("scripts[%d].", i)
		if j := slices.IndexFunc(drafts[:i], func(o ScriptDraft) bool { return o.Name == d.Name }); j >= 0 {
			return nil, cloud.Invalid(at+"name", "%q is named twice, as scripts[%d] too", d.Name, j)
		}
		j := slices.IndexFunc(after, func(s cloud.Script) bool { return s.Name == d.Name })
		old := cloud.Script{Name: d.Name, Kind: cloud.Endpoint, Language: cloud.TypeScript}
		if j >= 0 {
			old = after[j]
		}
		s, err := m.draft(old, d)
		if err != nil {
			return nil, prefixed(err, at)
		}
		saved[i] = Saved{Script: s, Created: j < 0}
		if j >= 0 && s.Kind == old.Kind && s.Language == old.Language && s.Source == old.Source && s.Limits == old.Limits {
			continue
		}
		if j >= 0 && old.Kind == cloud.Endpoint && s.Kind == cloud.Module {
			if err := m.checkUnused(ctx, tx, old); err != nil {
				return nil, prefixed(err, at)
			}
		}
		changed[s.Name] = true
		if s.Kind == cloud.Module || old.Kind == cloud.Module {
			changedModules[s.Name] = true
		}
		if j >= 0 {
			after[j] = s
		} else {
			after = append(after, s)
		}
	}
	if len(after) > len(before) && len(after) > m.quotas.Scripts {
		return nil, cloud.Errorf(cloud.CodeLimit, "the app would have %d scripts; at most %d are allowed", len(after), m.quotas.Scripts)
	}
	sources := modules(after)
	builds := make([]cloud.Build, len(drafts))
	for i := range drafts {
		if s := saved[i].Script; changed[s.Name] {
			b, err := m.build(ctx, s, sources)
			if err != nil {
				return nil, prefixed(err, fmt.Sprintf("scripts[%d].", i))
			}
			builds[i] = b
		}
	}
	if err := m.rebuild(ctx, tx, before, changed, changedModules, sources); err != nil {
		return nil, err
	}
	for i := range drafts {
		s := saved[i].Script
		if !changed[s.Name] {
			continue
		}
		build := &builds[i]
		if s.Kind == cloud.Module {
			build = nil
		}
		stored, err := tx.SaveScript(ctx, s, build, by)
		if err != nil {
			return nil, err
		}
		saved[i].Script = stored
	}
	return saved, nil
}

// draft is old with what d asks for, checked.
func (m *Manager) draft(old cloud.Script, d ScriptDraft) (cloud.Script, error) {
	if err := cloud.CheckScriptName(d.Name); err != nil {
		return cloud.Script{}, err
	}
	s := old
	s.Source = d.Source
	if d.Kind != "" {
		s.Kind = d.Kind
	}
	if d.Language != "" {
		s.Language = d.Language
	}
	if d.Limits != nil {
		s.Limits = *d.Limits
	}
	switch s.Kind {
	case cloud.Endpoint, cloud.Module:
	default:
		return cloud.Script{}, cloud.Invalid("kind", "%q is not one of endpoint, module", s.Kind)
	}
	switch s.Language {
	case cloud.JavaScript, cloud.TypeScript, cloud.JSX, cloud.TSX:
	default:
		return cloud.Script{}, cloud.Invalid("language", "%q is not one of js, ts, jsx, tsx", s.Language)
	}
	switch {
	case len(s.Source) > cloud.MaxSource:
		return cloud.Script{}, cloud.Invalid("source", "has %d bytes; at most %d are allowed", len(s.Source), cloud.MaxSource)
	case !utf8.ValidString(s.Source) || strings.ContainsRune(s.Source, 0):
		return cloud.Script{}, cloud.Invalid("source", "is not text: it has a NUL character or is not valid UTF-8")
	}
	return s, s.Limits.Check(m.ceilings)
}

// checkUnused refuses to make a module of an endpoint that something leads to.
func (m *Manager) checkUnused(ctx context.Context, tx AppTx, s cloud.Script) error {
	routes, err := tx.Routes(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(routes, func(r cloud.Route) bool { return r.ScriptID == s.ID }); i >= 0 {
		return cloud.Invalid("kind", "%q cannot become a module while the route %s %s leads to it; delete the route first", s.Name, routes[i].Method, routes[i].Path)
	}
	triggers, err := tx.Triggers(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(triggers, func(t cloud.Trigger) bool { return t.ScriptID == s.ID }); i >= 0 {
		return cloud.Invalid("kind", "%q cannot become a module while a trigger of the kind %s runs it; delete the trigger %s first", s.Name, triggers[i].Kind, triggers[i].ID)
	}
	return nil
}

// build builds s; an endpoint must export something to run.
func (m *Manager) build(ctx context.Context, s cloud.Script, sources map[string]cloud.Source) (cloud.Build, error) {
	b, err := m.builder.Build(ctx, source(s), sources)
	if err != nil {
		return cloud.Build{}, err
	}
	if s.Kind == cloud.Endpoint && !slices.Contains(b.Exports, "default") {
		return cloud.Build{}, cloud.Invalid("source", "the endpoint %q has no default export; add one, such as export default { fetch(request) { return new Response(\"hello\") } }, or save it with kind module", s.Name)
	}
	return b, nil
}

// rebuild replaces the builds of the endpoints that contain a changed module
// and are not saved themselves.
func (m *Manager) rebuild(ctx context.Context, tx AppTx, before []cloud.Script, saved, changedModules map[string]bool, sources map[string]cloud.Source) error {
	for _, s := range before {
		i := slices.IndexFunc(s.Imports, func(name string) bool { return changedModules[name] })
		if i < 0 || saved[s.Name] || s.Kind != cloud.Endpoint {
			continue
		}
		b, err := m.build(ctx, s, sources)
		if err != nil {
			return breaks(err, s.Imports[i], s.Name)
		}
		if err := tx.SetBuild(ctx, s.ID, &b); err != nil {
			return err
		}
	}
	return nil
}

// breaks says of a build error that it is another script's.
func breaks(err error, module, dependent string) error {
	var e *cloud.Error
	if !errors.As(err, &e) || e.Code != cloud.CodeBuildFailed && e.Code != cloud.CodeInvalid {
		return err
	}
	c := *e
	c.Field = ""
	c.Message = fmt.Sprintf("the change of %q would break %q, which imports it: %s", module, dependent, e.Message)
	return c.Because(err)
}

// prefixed returns err with prefix before the field that it is about.
func prefixed(err error, prefix string) error {
	var e *cloud.Error
	if !errors.As(err, &e) || e.Field == "" {
		return err
	}
	c := *e
	c.Field = prefix + e.Field
	return &c
}

// unprefixed undoes prefixed.
func unprefixed(err error, prefix string) error {
	var e *cloud.Error
	if !errors.As(err, &e) {
		return err
	}
	field, ok := strings.CutPrefix(e.Field, prefix)
	if !ok {
		return err
	}
	c := *e
	c.Field = field
	return &c
}
