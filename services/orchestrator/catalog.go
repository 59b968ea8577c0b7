package orchestrator

import (
	"context"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Catalog holds what dispatching needs in memory: every app's hosts, routes and
// runnable scripts. Reading takes no lock. It follows the changes that any
// process commits for as long as it runs.
type Catalog struct {
	source   Source
	hosts    Hosts
	onChange func(appID string, state *cloud.AppState)
	onDue    func()
	log      *slog.Logger

	mu     sync.Mutex // serialises loads, so that a later one is never overtaken
	apps   map[string]*app
	table  atomic.Pointer[table]
	loaded chan struct{} // closed after the first load

	start sync.Once
	stop  context.CancelFunc
	done  chan struct{}
}

// CatalogConfig is what a Catalog needs.
type CatalogConfig struct {
	Source Source
	Hosts  Hosts
	// OnChange, if not nil, is called after an app was loaded again, with nil for
	// one that is gone. It must not call the Catalog's Reload.
	OnChange func(appID string, state *cloud.AppState)
	// OnDue, if not nil, is called when events may have become due by what another
	// process did, and when news of that may have been missed. It must not block.
	OnDue  func()
	Logger *slog.Logger
}

// app is one app, compiled.
type app struct {
	state   cloud.AppState
	router  *router
	scripts map[string]cloud.Runnable
}

// table is the state of all apps at one moment.
type table struct {
	hosts   *hostTable
	apps    map[string]*app
	scripts map[string]*app // by script id
}

// NewCatalog returns a Catalog that knows nothing until Start.
func NewCatalog(c CatalogConfig) *Catalog {
	if c.OnDue == nil {
		c.OnDue = func() {}
	}
	return &Catalog{
		source: c.Source, hosts: c.Hosts, onChange: c.OnChange, onDue: c.OnDue, log: c.Logger,
		apps: map[string]*app{}, loaded: make(chan struct{}),
	}
}

// Start begins to load and to follow changes, in the background: while the
// database is away it tries again, with growing pauses up to 5 s. Stop ends it,
// for good. Further calls do nothing.
func (c *Catalog) Start() {
	c.start.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		c.stop, c.done = cancel, make(chan struct{})
		go func() {
			defer close(c.done)
			c.follow(ctx)
		}()
	})
}

// Stop ends following changes and waits for it. It may be called without Start
// and more than once.
func (c *Catalog) Stop() {
	if c.stop != nil {
		c.stop()
		<-c.done
	}
}

// Loaded is closed once the tables have been loaded.
func (c *Catalog) Loaded() <-chan struct{} { return c.loaded }

func (c *Catalog) follow(ctx context.Context) {
	const first, last = 100 * time.Millisecond, 5 * time.Second
	pause := first
	for {
		err := c.source.Watch(ctx, func() error {
			if err := c.ReloadAll(ctx); err != nil {
				return err
			}
			pause = first
			return nil
		}, func(appID string) error { return c.Reload(ctx, appID) }, c.onDue)
		if ctx.Err() != nil {
			return
		}
		c.log.Warn("not following the database; trying again", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, last)
	}
}

// ReloadAll loads every app anew.
func (c *Catalog) ReloadAll(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	states, err := c.source.Load(ctx)
	if err != nil {
		return err
	}
	before := c.apps
	c.apps = make(map[string]*app, len(states))
	for _, s := range states {
		c.apps[s.App.ID] = compile(s)
	}
	c.swap()
	for id := range before {
		if c.apps[id] == nil {
			c.changed(id, nil)
		}
	}
	for id, a := range c.apps {
		c.changed(id, &a.state)
	}
	return nil
}

// Reload loads one app anew; when it returns nil, requests see at least what was
// committed before the call.
func (c *Catalog) Reload(ctx context.Context, appID string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table.Load() == nil {
		return nil // the first load is still to come and will see it
	}
	state, exists, err := c.source.LoadApp(ctx, appID)
	if err != nil {
		return err
	}
	if !exists {
		delete(c.apps, appID)
		c.swap()
		c.changed(appID, nil)
		return nil
	}
	c.apps[appID] = compile(state)
	c.swap()
	c.changed(appID, &state)
	return nil
}

func (c *Catalog) changed(appID string, state *cloud.AppState) {
	if c.onChange != nil {
		c.onChange(appID, state)
	}
}

func compile(s cloud.AppState) *app {
	a := &app{state: s, router: newRouter(s.Routes), scripts: map[string]cloud.Runnable{}}
	for _, r := range s.Scripts {
		a.scripts[r.ID] = r
	}
	return a
}

// swap makes the loaded apps the ones that requests see.
func (c *Catalog) swap() {
	t := &table{
		hosts:   newHostTable(c.hosts, slices.Collect(maps.Values(c.apps))),
		apps:    maps.Clone(c.apps),
		scripts: map[string]*app{},
	}
	for _, a := range c.apps {
		for id := range a.scripts {
			t.scripts[id] = a
		}
	}
	if c.table.Swap(t) == nil {
		close(c.loaded)
	}
}

// Match tells which route and script of an app a request would reach; the
// errors are those of dispatching. A host that is none of the app's own is an
// error too.
func (c *Catalog) Match(appID, method, rawURL string) (cloud.Route, map[string]string, error) {
	t := c.table.Load()
	if t == nil {
		return cloud.Route{}, nil, errNotLoaded
	}
	a := t.apps[appID]
	if a == nil {
		return cloud.Route{}, nil, cloud.Errorf(cloud.CodeNotFound, "no such app")
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Path != "" && u.Path[0] != '/' {
		return cloud.Route{}, nil, cloud.Invalid("url", "%q is no URL or absolute path", rawURL)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	host := cloud.NormalHost(u.Host)
	if host != "" && t.hosts.find(host) != a {
		return cloud.Route{}, nil, cloud.Errorf(cloud.CodeHostUnknown, "the host %s does not lead to this app", host)
	}
	m, err := a.router.match(host, method, u)
	return m.Route, m.Params, err
}

// PlanScript is the plan for running a script of an app for an event: in nobody's
// name yet. CodeNotFound if the app has no such endpoint, as far as is known here;
// CodeUnavailable before the tables are loaded.
func (c *Catalog) PlanScript(appID, scriptID string) (*cloud.Plan, error) {
	t := c.table.Load()
	if t == nil {
		return nil, errNotLoaded
	}
	if a := t.apps[appID]; a != nil {
		if script, ok := a.scripts[scriptID]; ok {
			return &cloud.Plan{App: a.state.App, Script: script, Env: a.state.Env}, nil
		}
	}
	return nil, cloud.Errorf(cloud.CodeNotFound, "the app has no endpoint with the id %q", scriptID)
}
