package orchestrator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// fakeSource keeps apps in memory. Each send to events is a change that Watch
// tells of, or, if empty, the loss of its connection.
type fakeSource struct {
	mu     sync.Mutex
	apps   map[string]cloud.AppState
	fails  error // of reading apps
	events chan string
	loads  int
}

func (s *fakeSource) load() ([]cloud.AppState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	var states []cloud.AppState
	for _, a := range s.apps {
		states = append(states, a)
	}
	return states, s.fails
}

func (s *fakeSource) LoadApp(_ context.Context, id string) (cloud.AppState, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.apps[id]
	return a, ok, s.fails
}

func (s *fakeSource) Watch(ctx context.Context, connected func(func() ([]cloud.AppState, error)) error, changed func(string) error, due func()) error {
	if err := connected(s.load); err != nil {
		return err
	}
	due()
	for {
		select {
		case <-ctx.Done():
			return nil
		case id := <-s.events:
			if id == "" {
				return errors.New("connection lost")
			}
			if err := changed(id); err != nil {
				return err
			}
		}
	}
}

func (s *fakeSource) set(id string, routes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := cloud.AppState{App: cloud.App{ID: id, Slug: id}}
	for _, path := range routes {
		a.Routes = append(a.Routes, cloud.Route{ID: path, ScriptID: "s", Method: cloud.AnyMethod, Path: path})
	}
	s.apps[id] = a
}

func withEnv(a cloud.AppState, value string) cloud.AppState {
	a.Env = []cloud.EnvValue{{Name: "V", Value: value}}
	return a
}

func (s *fakeSource) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

func newCatalog(s *fakeSource, onChange func(string, *cloud.AppState)) *Catalog {
	return NewCatalog(CatalogConfig{Source: s, OnChange: onChange, Logger: slog.New(slog.DiscardHandler)})
}

// knows tells whether the catalog leads /path of the app somewhere.
func knows(c *Catalog, appID, path string) bool {
	_, _, err := c.Match(appID, "GET", path)
	return err == nil
}

func TestCatalog_followsChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{apps: map[string]cloud.AppState{}, events: make(chan string)}
		source.set("shop", "/a")
		source.set("gone", "/a")
		var changes []string
		c := newCatalog(source, func(id string, state *cloud.AppState) {
			if state == nil {
				id = "-" + id
			}
			changes = append(changes, id)
		})
		if err := c.Reload(t.Context(), "shop"); err != nil || c.table.Load() != nil {
			t.Errorf("a change before the first load: %v", err)
		}
		c.Start()
		defer c.Stop()
		<-c.Loaded()

		source.set("shop", "/b")
		source.apps["shop"] = withEnv(source.apps["shop"], "new")
		delete(source.apps, "gone")
		source.events <- "shop"
		source.events <- "gone"
		synctest.Wait()
		if knows(c, "shop", "/a") || !knows(c, "shop", "/b") || knows(c, "gone", "/a") {
			t.Error("the changes were not followed")
		}
		if got := string(c.table.Load().apps["shop"].env.Payload()); got != `{"V":"new"}` {
			t.Errorf("the env is %s", got)
		}
		if n := len(changes); n != 4 || !slices.Equal(changes[2:], []string{"shop", "-gone"}) {
			t.Errorf("told of %v", changes)
		}
	})
}

func TestCatalog_recovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{apps: map[string]cloud.AppState{}, events: make(chan string)}
		source.set("shop", "/a")
		away := cloud.Errorf(cloud.CodeUnavailable, "away")
		source.fail(away)
		c := newCatalog(source, nil)
		c.Start()
		defer c.Stop()
		time.Sleep(time.Minute) // of synctest's clock
		synctest.Wait()
		if c.table.Load() != nil || source.loads < 20 || source.loads > 60 {
			t.Errorf("tried %d times in a minute without a database", source.loads)
		}
		source.fail(nil)
		<-c.Loaded()

		// What changes while the connection is lost is read when it is back.
		source.events <- ""
		synctest.Wait()
		source.set("shop", "/b")
		time.Sleep(time.Second)
		if !knows(c, "shop", "/b") {
			t.Error("a change during the loss of the connection was missed")
		}

		// What was there stays while it cannot be read again.
		source.fail(away)
		source.set("shop", "/c")
		source.events <- "shop"
		synctest.Wait()
		if !knows(c, "shop", "/b") || knows(c, "shop", "/c") {
			t.Error("the tables did not stay as they were")
		}
		source.fail(nil)
		time.Sleep(time.Second)
		if !knows(c, "shop", "/c") {
			t.Error("what could not be read was not read again")
		}
	})
}

// A reload of the configuration that changes nothing starts the same catalog
// again.
func TestCatalog_startsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		c := newCatalog(source, nil)
		c.Start()
		c.Start()
		defer c.Stop()
		synctest.Wait()
		if source.loads != 1 {
			t.Errorf("%d followers", source.loads)
		}
	})
}

func TestCatalog_stops(t *testing.T) {
	t.Parallel()
	c := newCatalog(&fakeSource{}, nil)
	c.Stop() // never started
	c.Start()
	<-c.Loaded()
	c.Stop()
	c.Stop()
}

func TestCatalog_Match(t *testing.T) {
	t.Parallel()
	source := &fakeSource{apps: map[string]cloud.AppState{}}
	c := newCatalog(source, nil)
	match := func(app, rawURL string) cloud.Code {
		_, _, err := c.Match(app, "GET", rawURL)
		return cloud.CodeOf(err)
	}
	if got := match("shop", "/a"); got != cloud.CodeUnavailable {
		t.Errorf("before the first load: %q", got)
	}
	source.set("shop", "/", "/a")
	if err := c.loadAll(source.load); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		app, url string
		want     cloud.Code
	}{
		{"shop", "/a", ""},
		{"shop", "/a?b=c", ""},
		{"shop", "http://shop.localhost:8080/a", ""},
		{"shop", "http://shop.local", ""},
		{"shop", "http://localhost/a", cloud.CodeHostUnknown},
		{"shop", "/b", cloud.CodeRouteUnknown},
		{"shop", "a", cloud.CodeInvalid},
		{"shop", "http://[/", cloud.CodeInvalid},
		{"nothing", "/a", cloud.CodeNotFound},
	} {
		if got := match(tt.app, tt.url); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.app, tt.url, got, tt.want)
		}
	}
}
