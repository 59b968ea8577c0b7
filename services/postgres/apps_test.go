package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/postgres"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func change(t testing.TB, s *postgres.Apps, appID string, f func(tx manager.AppTx) error) error {
	t.Helper()
	return s.ChangeApp(t.Context(), appID, func(_ context.Context, tx manager.AppTx) error { return f(tx) })
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func testBuild(code string, imports ...string) *cloud.Build {
	return &cloud.Build{Code: code, SourceMap: []byte(`{"version":3}`), Hash: "hash of " + code, Exports: []string{"default"}, Imports: imports}
}

func TestApps_App(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewApps(pool, func() time.Time { return noon })
	a, err := s.CreateApp(t.Context(), cloud.App{Slug: "shop", Name: "Shop"}, "")
	must(t, err)
	equal(t, a, cloud.App{ID: a.ID, Slug: "shop", Name: "Shop", CreatedAt: noon, UpdatedAt: noon})

	find := func(ref string) cloud.App {
		t.Helper()
		got, err := s.App(t.Context(), ref)
		must(t, err)
		return got
	}
	equal(t, find("shop"), a)
	equal(t, find(a.ID), a)
	for _, ref := range []string{"", "nope", "SHOP", cloud.NewID(), "x'; --"} {
		_, err := s.App(t.Context(), ref)
		wantCode(t, err, cloud.CodeNotFound)
	}
	_, err = s.CreateApp(t.Context(), cloud.App{Slug: "shop"}, "")
	wantCode(t, err, cloud.CodeConflict)
	var e *cloud.Error
	if !errors.As(err, &e) || e.Field != "slug" {
		t.Errorf("conflict %v, want it about slug", err)
	}

	t.Run("a former slug leads to the app until another takes it", func(t *testing.T) {
		must(t, change(t, s, a.ID, func(tx manager.AppTx) error { return tx.Rename(t.Context(), "store", "Store") }))
		equal(t, find("shop").Slug, "store")
		must(t, change(t, s, a.ID, func(tx manager.AppTx) error { return tx.Rename(t.Context(), "third", "Store") }))
		must(t, change(t, s, a.ID, func(tx manager.AppTx) error { return tx.Rename(t.Context(), "shop", "Store") }))
		equal(t, find("third").ID, a.ID)
		b, err := s.CreateApp(t.Context(), cloud.App{Slug: "third"}, "")
		must(t, err)
		equal(t, find("third"), b)
		equal(t, find("store").ID, a.ID)
		err = change(t, s, b.ID, func(tx manager.AppTx) error { return tx.Rename(t.Context(), "shop", "") })
		wantCode(t, err, cloud.CodeConflict)
		must(t, change(t, s, b.ID, func(tx manager.AppTx) error { return tx.Rename(t.Context(), "store", "B") }))
		equal(t, find("store").ID, b.ID)
		apps, err := s.Apps(t.Context())
		must(t, err)
		equal(t, []string{apps[0].Slug, apps[1].Slug}, []string{"shop", "store"})
	})
	t.Run("a deleted app takes everything along", func(t *testing.T) {
		must(t, change(t, s, a.ID, func(tx manager.AppTx) error { return tx.Delete(t.Context()) }))
		_, err := s.App(t.Context(), a.ID)
		wantCode(t, err, cloud.CodeNotFound)
		err = change(t, s, a.ID, func(manager.AppTx) error { return nil })
		wantCode(t, err, cloud.CodeNotFound)
	})
}

func TestApps_ChangeApp(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewApps(pool, func() time.Time { return noon })
	app := createApp(t, pool, "app")

	t.Run("an error rolls everything back and is returned as it is", func(t *testing.T) {
		mine := errors.New("no")
		err := change(t, s, app.ID, func(tx manager.AppTx) error {
			_, err := tx.SaveScript(t.Context(), cloud.Script{Name: "s", Kind: cloud.Module, Language: cloud.JavaScript}, nil, "me")
			must(t, err)
			return mine
		})
		if !errors.Is(err, mine) {
			t.Fatalf("error %v, want the change's own", err)
		}
		scripts, err := s.Scripts(t.Context(), app.ID)
		must(t, err)
		equal(t, len(scripts), 0)
	})
	t.Run("changes of one app come one after the other", func(t *testing.T) {
		var wg sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			wg.Go(func() {
				errs[i] = s.ChangeApp(t.Context(), app.ID, func(ctx context.Context, tx manager.AppTx) error {
					a, err := tx.App(ctx)
					if err != nil {
						return err
					}
					return tx.Rename(ctx, a.Slug, a.Name+"+")
				})
			})
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		a, err := s.App(t.Context(), app.ID)
		must(t, err)
		equal(t, a.Name, "app++++++")
	})
	t.Run("data is written meanwhile", func(t *testing.T) {
		must(t, change(t, s, app.ID, func(manager.AppTx) error {
			_, err := postgres.NewKV(pool, nil).Increment(t.Context(), cloud.Cause{}, app.ID, "c", "k", 1, noon)
			return err
		}))
	})
}

func TestApps_Script(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewApps(pool, func() time.Time { return noon })
	app, other := createApp(t, pool, "app"), createApp(t, pool, "other")
	asked := cloud.Limits{Wall: 3 * time.Second, CPU: 1500 * time.Millisecond, Memory: 1 << 20, RequestBody: 1, ResponseBody: 2, HostCalls: 3, Fetches: 4, Log: 5}
	script := cloud.Script{Name: "hello", Kind: cloud.Endpoint, Language: cloud.TypeScript, Source: "source 1", Limits: asked}
	save := func(script cloud.Script, build *cloud.Build) (saved cloud.Script) {
		t.Helper()
		must(t, change(t, s, app.ID, func(tx manager.AppTx) (err error) {
			saved, err = tx.SaveScript(t.Context(), script, build, "ann")
			return err
		}))
		return saved
	}
	first := save(script, testBuild("code 1", "lib"))
	want := script
	want.ID, want.AppID, want.Version, want.CreatedAt, want.UpdatedAt, want.Imports = first.ID, app.ID, 1, noon, noon, []string{"lib"}
	equal(t, first, want)

	t.Run("is found by name and id, in its app alone", func(t *testing.T) {
		want := want
		want.Imports = nil
		for _, ref := range []string{"hello", first.ID} {
			got, err := s.Script(t.Context(), app.ID, ref)
			must(t, err)
			equal(t, got, want)
			_, err = s.Script(t.Context(), other.ID, ref)
			wantCode(t, err, cloud.CodeNotFound)
		}
		all, err := s.Scripts(t.Context(), app.ID)
		must(t, err)
		want.Source = ""
		equal(t, all, []cloud.Script{want})
	})
	t.Run("a change sees sources and imports", func(t *testing.T) {
		must(t, change(t, s, app.ID, func(tx manager.AppTx) error {
			all, err := tx.Scripts(t.Context())
			must(t, err)
			equal(t, all, []cloud.Script{want})
			return nil
		}))
	})
	t.Run("the last versions are kept", func(t *testing.T) {
		for i := 2; i <= cloud.KeptVersions+3; i++ {
			script.Source = fmt.Sprint("source ", i)
			saved := save(script, testBuild("code"))
			equal(t, saved.Version, i)
			equal(t, saved.ID, first.ID)
		}
		versions, err := s.Versions(t.Context(), app.ID, first.ID)
		must(t, err)
		equal(t, len(versions), cloud.KeptVersions)
		equal(t, versions[0], cloud.ScriptVersion{Version: 23, Kind: cloud.Endpoint, Language: cloud.TypeScript, CreatedAt: noon, CreatedBy: "ann"})
		equal(t, versions[cloud.KeptVersions-1].Version, 4)
		v, err := s.Version(t.Context(), app.ID, first.ID, 4)
		must(t, err)
		equal(t, v.Source, "source 4")
		for _, gone := range []int{3, 0, -1, 24, 1 << 40} {
			_, err = s.Version(t.Context(), app.ID, first.ID, gone)
			wantCode(t, err, cloud.CodeNotFound)
		}
		_, err = s.Version(t.Context(), other.ID, first.ID, 4)
		wantCode(t, err, cloud.CodeNotFound)
	})
	t.Run("a module has no build, an endpoint must", func(t *testing.T) {
		m := save(cloud.Script{Name: "lib", Kind: cloud.Module, Language: cloud.JavaScript}, nil)
		err := change(t, s, app.ID, func(tx manager.AppTx) error { return tx.SetBuild(t.Context(), m.ID, testBuild("x")) })
		wantCode(t, err, cloud.CodeNotFound)
		must(t, change(t, s, app.ID, func(tx manager.AppTx) error { return tx.SetBuild(t.Context(), first.ID, testBuild("rebuilt", "lib")) }))
		state, ok, err := postgres.NewSource(pool, cloud.DefaultLimits, nil).LoadApp(t.Context(), app.ID)
		must(t, err)
		equal(t, ok, true)
		equal(t, state.Scripts[0].Build, testBuild("rebuilt", "lib"))
		equal(t, state.Scripts[0].Version, 23)
	})
	t.Run("another app's script cannot be changed", func(t *testing.T) {
		for _, f := range []func(tx manager.AppTx) error{
			func(tx manager.AppTx) error { return tx.SetBuild(t.Context(), first.ID, testBuild("evil")) },
			func(tx manager.AppTx) error { return tx.DeleteScript(t.Context(), first.ID) },
			func(tx manager.AppTx) error {
				_, err := tx.AddRoute(t.Context(), cloud.Route{ScriptID: first.ID, Method: "GET", Path: "/", Mode: cloud.Sync})
				return err
			},
			func(tx manager.AppTx) error { _, err := tx.Version(t.Context(), first.ID, 4); return err },
			func(tx manager.AppTx) error { return tx.DeleteScript(t.Context(), "no id") },
		} {
			wantCode(t, change(t, s, other.ID, f), cloud.CodeNotFound)
		}
	})
	t.Run("text that cannot be kept is refused", func(t *testing.T) {
		err := change(t, s, app.ID, func(tx manager.AppTx) error {
			_, err := tx.SaveScript(t.Context(), cloud.Script{Name: "nul", Kind: cloud.Module, Source: "a\x00b"}, nil, "ann")
			return err
		})
		wantCode(t, err, cloud.CodeInvalid)
	})
	t.Run("goes with its versions and routes", func(t *testing.T) {
		must(t, change(t, s, app.ID, func(tx manager.AppTx) error {
			_, err := tx.AddRoute(t.Context(), cloud.Route{ScriptID: first.ID, Method: "GET", Path: "/", Mode: cloud.Sync})
			return err
		}))
		must(t, change(t, s, app.ID, func(tx manager.AppTx) error { return tx.DeleteScript(t.Context(), first.ID) }))
		versions, err := s.Versions(t.Context(), app.ID, first.ID)
		must(t, err)
		routes, err := s.Routes(t.Context(), app.ID)
		must(t, err)
		equal(t, len(versions)+len(routes), 0)
	})
}

func TestApps_Routes(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewApps(pool, nil)
	app, other := createApp(t, pool, "app"), createApp(t, pool, "other")
	scriptIn := func(appID string) (id string) {
		must(t, change(t, s, appID, func(tx manager.AppTx) error {
			saved, err := tx.SaveScript(t.Context(), cloud.Script{Name: "s", Kind: cloud.Endpoint, Language: cloud.JavaScript}, testBuild("x"), "ann")
			id = saved.ID
			return err
		}))
		return id
	}
	script, others := scriptIn(app.ID), scriptIn(other.ID)
	add := func(appID string, r cloud.Route) (added cloud.Route, err error) {
		err = change(t, s, appID, func(tx manager.AppTx) (err error) {
			added, err = tx.AddRoute(t.Context(), r)
			return err
		})
		return added, err
	}
	var want []cloud.Route
	for _, r := range []cloud.Route{
		{Method: "GET", Path: "/b"}, {Method: "ANY", Path: "/a"}, {Method: "GET", Path: "/a", Host: "x.example"},
		{Method: "GET", Path: "/a"}, {Method: "GET", Path: "/users/:id"}, {Method: "GET", Path: "/users/*"},
	} {
		r.ScriptID, r.Mode = script, cloud.Sync
		added, err := add(app.ID, r)
		must(t, err)
		r.ID, r.AppID = added.ID, app.ID
		equal(t, added, r)
		want = append(want, r)
	}
	for _, r := range []cloud.Route{
		{Method: "GET", Path: "/a"}, {Method: "GET", Path: "/a", Host: "X.example"}, {Method: "GET", Path: "/users/:name"}, {Method: "GET", Path: "/users/*"},
	} {
		r.ScriptID, r.Mode = script, cloud.Sync
		_, err := add(app.ID, r)
		wantCode(t, err, cloud.CodeRouteConflict)
		r.ScriptID = others
		_, err = add(other.ID, r)
		must(t, err)
	}
	slices.SortFunc(want, func(a, b cloud.Route) int {
		return strings.Compare(a.Path+"\x00"+a.Host+"\x00"+a.Method, b.Path+"\x00"+b.Host+"\x00"+b.Method)
	})
	got, err := s.Routes(t.Context(), app.ID)
	must(t, err)
	equal(t, got, want)

	del := func(appID, id string) error {
		return change(t, s, appID, func(tx manager.AppTx) error { return tx.DeleteRoute(t.Context(), id) })
	}
	wantCode(t, del(other.ID, want[0].ID), cloud.CodeNotFound)
	must(t, del(app.ID, want[0].ID))
	wantCode(t, del(app.ID, want[0].ID), cloud.CodeNotFound)
}

func TestApps_Domains(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewApps(pool, func() time.Time { return noon })
	app, other := createApp(t, pool, "app"), createApp(t, pool, "other")
	add := func(appID, host string) (d cloud.Domain, err error) {
		err = change(t, s, appID, func(tx manager.AppTx) (err error) {
			d, err = tx.AddDomain(t.Context(), host)
			return err
		})
		return d, err
	}
	first, err := add(app.ID, "Shop.example.com")
	must(t, err)
	equal(t, first, cloud.Domain{ID: first.ID, AppID: app.ID, Host: "shop.example.com", CreatedAt: noon})
	second, err := add(app.ID, "*.example.com")
	must(t, err)
	for _, appID := range []string{app.ID, other.ID} {
		_, err = add(appID, "shop.example.com")
		wantCode(t, err, cloud.CodeConflict)
	}
	got, err := s.Domains(t.Context(), app.ID)
	must(t, err)
	equal(t, got, []cloud.Domain{second, first})
	del := func(appID, host string) error {
		return change(t, s, appID, func(tx manager.AppTx) error { return tx.DeleteDomain(t.Context(), host) })
	}
	wantCode(t, del(other.ID, first.Host), cloud.CodeNotFound)
	must(t, del(app.ID, "SHOP.example.com"))
	wantCode(t, del(app.ID, first.Host), cloud.CodeNotFound)
}

// A claim waits for another app's, which it sees then.
func TestApps_DomainsOfOthers(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	s := postgres.NewApps(pool, nil)
	app, other := createApp(t, pool, "app"), createApp(t, pool, "other")
	// sees tells whether these are the claims of others, in order.
	sees := func(tx manager.AppTx, want ...string) error {
		claims, err := tx.DomainsOfOthers(t.Context())
		var hosts []string
		for _, d := range claims {
			hosts = append(hosts, d.Host)
		}
		if err == nil && !slices.Equal(hosts, want) {
			err = fmt.Errorf("claims of others: %q, want %q", hosts, want)
		}
		return err
	}
	add := func(tx manager.AppTx, host string) error {
		_, err := tx.AddDomain(t.Context(), host)
		return err
	}
	must(t, change(t, s, app.ID, func(tx manager.AppTx) error { return add(tx, "first.example.com") }))
	second := make(chan error, 1)
	must(t, change(t, s, app.ID, func(tx manager.AppTx) error {
		must(t, sees(tx))
		go func() {
			second <- s.ChangeApp(t.Context(), other.ID, func(_ context.Context, tx manager.AppTx) error {
				return errors.Join(sees(tx, "*.example.com", "first.example.com"), add(tx, "second.example.com"))
			})
		}()
		waitForLock(t, pool)
		return add(tx, "*.example.com")
	}))
	must(t, <-second)
	must(t, change(t, s, app.ID, func(tx manager.AppTx) error { return sees(tx, "second.example.com") }))
}
