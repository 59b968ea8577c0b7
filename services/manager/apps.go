package manager

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
)

// MaxAppName bounds an app's name in characters.
const MaxAppName = 100

// AppChange is what UpdateApp changes; nil leaves a field as it is.
type AppChange struct {
	Slug *string
	Name *string
}

// VisibleApps returns the apps that the principal may know of, by slug.
func (m *Manager) VisibleApps(ctx context.Context, p *cloud.Principal) ([]cloud.App, error) {
	apps, err := m.store.Apps(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(apps, func(a cloud.App) bool { return m.mayKnow(p, a.ID) != nil }), nil
}

// CreateApp makes an app. An empty name becomes the slug. Its creator, if not nil,
// is app_admin in it from then on: an owner is that anywhere, others become so in
// the app's member list. CodeInvalid about "slug" or "name", CodeConflict about
// "slug", CodeLimit.
func (m *Manager) CreateApp(ctx context.Context, slug, name string, creator *cloud.Principal) (cloud.App, error) {
	if name == "" {
		name = slug
	}
	if err := m.checkApp(slug, name); err != nil {
		return cloud.App{}, err
	}
	apps, err := m.store.Apps(ctx)
	if err != nil {
		return cloud.App{}, err
	}
	if len(apps) >= m.quotas.Apps {
		return cloud.App{}, cloud.Errorf(cloud.CodeLimit, "this instance has %d apps, the most it keeps; delete one first", len(apps))
	}
	adminID := ""
	if creator != nil && creator.Role != cloud.Owner {
		adminID = creator.UserID
	}
	app, err := m.store.CreateApp(ctx, cloud.App{Slug: slug, Name: name}, adminID)
	if err != nil {
		return cloud.App{}, namingSlug(err, slug)
	}
	m.changed(ctx, app.ID)
	return app, nil
}

// UpdateApp renames an app. The slug it gives up leads to it until another app
// takes it. CodeInvalid about "slug" or "name", CodeConflict about "slug", or
// about a route whose host goes with the slug.
func (m *Manager) UpdateApp(ctx context.Context, appID string, c AppChange) (cloud.App, error) {
	var app cloud.App
	err := m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		old, err := tx.App(ctx)
		if err != nil {
			return err
		}
		slug, name := old.Slug, old.Name
		if c.Slug != nil {
			slug = *c.Slug
		}
		if c.Name != nil {
			name = *c.Name
		}
		if slug != old.Slug && old.Slug == cloud.DefaultApp {
			return cloud.Invalid("slug", "the app %q cannot be renamed", cloud.DefaultApp)
		}
		if err := m.checkApp(slug, name); err != nil {
			return err
		}
		if slug != old.Slug {
			if err := m.checkHostsKept(ctx, tx, old, hostsOfSlug(slug)); err != nil {
				return err
			}
		}
		if err := tx.Rename(ctx, slug, name); err != nil {
			return namingSlug(err, slug)
		}
		app, err = tx.App(ctx)
		return err
	})
	return app, err
}

// DeleteApp removes an app and everything in it. CodeInvalid for the default
// app.
func (m *Manager) DeleteApp(ctx context.Context, appID string) error {
	return m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		app, err := tx.App(ctx)
		if err != nil {
			return err
		}
		if app.Slug == cloud.DefaultApp {
			return cloud.Invalid("app", "the app %q cannot be deleted", cloud.DefaultApp)
		}
		return tx.Delete(ctx)
	})
}

// namingSlug makes the store's conflict about a slug say which one it is.
func namingSlug(err error, slug string) error {
	if cloud.CodeOf(err) != cloud.CodeConflict {
		return err
	}
	named := cloud.Errorf(cloud.CodeConflict, "another app has the slug %q; choose another", slug)
	named.Field = "slug"
	return named.Because(err)
}

func (m *Manager) checkApp(slug, name string) error {
	if err := cloud.CheckSlug(slug); err != nil {
		return err
	}
	for _, h := range hostsOfSlug(slug) {
		if slug != cloud.DefaultApp && m.instance(h) {
			return cloud.Invalid("slug", "%q would answer on %s, which is the device's own name", slug, h)
		}
	}
	switch n := utf8.RuneCountInString(name); {
	case name == "":
		return cloud.Invalid("name", "is empty")
	case n > MaxAppName:
		return cloud.Invalid("name", "has %d characters; at most %d are allowed", n, MaxAppName)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return cloud.Invalid("name", "%q has a control character or is not valid UTF-8", name)
		}
	}
	return nil
}
