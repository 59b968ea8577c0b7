package manager

import (
	"context"
	"slices"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// Scripts returns the app's scripts by name, without their sources.
func (m *Manager) Scripts(ctx context.Context, appID string) ([]cloud.Script, error) {
	return m.store.Scripts(ctx, appID)
}

// Script finds a script by name or id. CodeNotFound.
func (m *Manager) Script(ctx context.Context, appID, ref string) (cloud.Script, error) {
	if cloud.CheckScriptName(ref) != nil { // an id has the form of a name
		return cloud.Script{}, noScript(ref)
	}
	return m.store.Script(ctx, appID, ref)
}

func noScript(ref string) error {
	return cloud.Errorf(cloud.CodeNotFound, "the app has no script %q", ref)
}

// Versions returns the kept versions of a script, newest first, without their
// sources. CodeNotFound.
func (m *Manager) Versions(ctx context.Context, appID, ref string) ([]cloud.ScriptVersion, error) {
	s, err := m.Script(ctx, appID, ref)
	if err != nil {
		return nil, err
	}
	return m.store.Versions(ctx, appID, s.ID)
}

// Version returns one kept version of a script. CodeNotFound.
func (m *Manager) Version(ctx context.Context, appID, ref string, version int) (cloud.ScriptVersion, error) {
	s, err := m.Script(ctx, appID, ref)
	if err != nil {
		return cloud.ScriptVersion{}, err
	}
	return m.store.Version(ctx, appID, s.ID, version)
}

// SaveScript creates or changes one script and no route. The errors are those
// of Deploy, without the prefix that says which script they are about.
func (m *Manager) SaveScript(ctx context.Context, appID string, d ScriptDraft, by string) (Saved, error) {
	var saved []Saved
	err := m.change(ctx, appID, func(ctx context.Context, tx AppTx) (err error) {
		scripts, err := tx.Scripts(ctx)
		if err != nil {
			return err
		}
		d.Routes = []RouteDraft{}
		if saved, err = m.save(ctx, tx, scripts, []ScriptDraft{d}, by); err != nil {
			return unprefixed(err, "scripts[0].")
		}
		note(ctx, fact("version", saved[0].Script.Version))
		return nil
	})
	if err != nil {
		return Saved{}, err
	}
	return saved[0], nil
}

// Rollback saves an old version's kind, language and source as a new version;
// limits stay. CodeNotFound; the errors of a save.
func (m *Manager) Rollback(ctx context.Context, appID, ref string, version int, by string) (cloud.Script, error) {
	var saved []Saved
	err := m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		scripts, err := tx.Scripts(ctx)
		if err != nil {
			return err
		}
		s, err := find(scripts, ref)
		if err != nil {
			return err
		}
		old, err := tx.Version(ctx, s.ID, version)
		if err != nil {
			return err
		}
		d := ScriptDraft{Name: s.Name, Kind: old.Kind, Language: old.Language, Source: old.Source, Routes: []RouteDraft{}}
		if saved, err = m.save(ctx, tx, scripts, []ScriptDraft{d}, by); err != nil {
			return unprefixed(err, "scripts[0].")
		}
		rename(ctx, ref, s.Name)
		note(ctx, fact("version", saved[0].Script.Version), fact("from", version))
		return nil
	})
	if err != nil {
		return cloud.Script{}, err
	}
	return saved[0].Script, nil
}

// DeleteScript removes a script with its versions, routes and triggers. CodeNotFound;
// CodeConflict naming the importers of a module.
func (m *Manager) DeleteScript(ctx context.Context, appID, ref string) error {
	return m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		scripts, err := tx.Scripts(ctx)
		if err != nil {
			return err
		}
		s, err := find(scripts, ref)
		if err != nil {
			return err
		}
		if s.Kind == cloud.Module {
			importers, err := m.importers(ctx, scripts, s.Name)
			if err != nil {
				return err
			}
			if len(importers) > 0 {
				return cloud.Errorf(cloud.CodeConflict, "%q is imported by %s; change or delete them first", s.Name, strings.Join(importers, ", "))
			}
		}
		rename(ctx, ref, s.Name)
		return tx.DeleteScript(ctx, s.ID)
	})
}

// importers are the names of the scripts whose build would contain the module.
// Endpoints know; modules, which are kept unbuilt, are asked by building them.
func (m *Manager) importers(ctx context.Context, scripts []cloud.Script, module string) ([]string, error) {
	var names []string
	sources := modules(scripts)
	for _, s := range scripts {
		imports := s.Imports
		if s.Kind == cloud.Module && s.Name != module {
			b, err := m.builder.Build(ctx, source(s), sources)
			if err != nil && cloud.CodeOf(err) != cloud.CodeBuildFailed {
				return nil, err
			}
			imports = b.Imports
		}
		if slices.Contains(imports, module) {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

func find(scripts []cloud.Script, ref string) (cloud.Script, error) {
	i := slices.IndexFunc(scripts, func(s cloud.Script) bool { return s.Name == ref })
	if i < 0 {
		i = slices.IndexFunc(scripts, func(s cloud.Script) bool { return s.ID == ref })
	}
	if i < 0 {
		return cloud.Script{}, noScript(ref)
	}
	return scripts[i], nil
}

func source(s cloud.Script) cloud.Source {
	return cloud.Source{Name: s.Name, Language: s.Language, Text: s.Source}
}

// modules are the sources that other scripts of the app may import.
func modules(scripts []cloud.Script) map[string]cloud.Source {
	m := map[string]cloud.Source{}
	for _, s := range scripts {
		if s.Kind == cloud.Module {
			m[s.Name] = source(s)
		}
	}
	return m
}
