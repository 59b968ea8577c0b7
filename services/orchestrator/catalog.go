package orchestrator

import (
	"context"
	"errors"
	"io/fs"
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
// process commits for as long as it runs. With a snapshot it keeps what it knows at
// its end, and begins with that until the database answers.
type Catalog struct {
	source   Source
	hosts    Hosts
	sealer   cloud.Sealer
	snapshot Snapshot
	onChange func(appID string, state *cloud.AppState)
	onDue    func()
	log      *slog.Logger
	patience time.Time // when the database should have answered at the latest

	mu     sync.Mutex // serialises loads, so that a later one is never overtaken
	apps   map[string]*app
	fresh  bool // the apps are from the database
	kept   bool // the snapshot is there and has these apps
	table  atomic.Pointer[table]
	loaded chan struct{} // closed after the first load

	start sync.Once
	stop  context.CancelFunc
	done  chan struct{}
}

// CatalogConfig is what a Catalog needs.
type CatalogConfig struct {
	Source   Source
	Hosts    Hosts
	Sealer   cloud.Sealer // opens secrets. Nil: apps that have some do not run
	Snapshot Snapshot
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
	env     *cloud.Env
	failure error // why its scripts cannot run; nil: they can
	router  *router
	scripts map[string]cloud.Runnable
}

// table is the state of all apps at one moment.
type table struct {
	fresh   bool // as the database has it
	hosts   *hostTable
	apps    map[string]*app
	scripts map[string]*app // by script id
}

// startPatience is how long from the making of a Catalog requests wait for the
// first tables, and are led by those of a snapshot.
const startPatience = 10 * time.Second

// NewCatalog returns a Catalog that knows nothing until Start.
func NewCatalog(c CatalogConfig) *Catalog {
	if c.OnDue == nil {
		c.OnDue = func() {}
	}
	return &Catalog{
		source: c.Source, hosts: c.Hosts, sealer: c.Sealer, snapshot: c.Snapshot,
		onChange: c.OnChange, onDue: c.OnDue, log: c.Logger, patience: time.Now().Add(startPatience),
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
			c.restore()
			c.follow(ctx)
		}()
	})
}

// Stop ends following changes, waits for it, and writes the snapshot if that
// lacks something. It may be called without Start and more than once.
func (c *Catalog) Stop() {
	if c.stop == nil {
		return
	}
	c.stop()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snapshot.Path == "" || !c.fresh || c.kept {
		return
	}
	var states []cloud.AppState
	for _, a := range c.apps {
		states = append(states, a.state)
	}
	if err := c.snapshot.write(states); err != nil {
		c.log.Warn("the snapshot was not written; the next start waits for the database", "error", err)
		return
	}
	c.kept = true
}

// Loaded is closed once requests can be dispatched.
func (c *Catalog) Loaded() <-chan struct{} { return c.loaded }

// restore begins with the snapshot, if there is one that can be used.
func (c *Catalog) restore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	states, err := c.snapshot.read()
	if err == nil {
		err = c.replace(states, false)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("the snapshot is not used; requests wait for the database", "error", err)
	}
}

func (c *Catalog) follow(ctx context.Context) {
	// The first pauses are short, for a database that starts at the same time, and
	// grow slowly: the last one is most of what a request waits too long.
	const first, last, quiet = 5 * time.Millisecond, 5 * time.Second, 100 * time.Millisecond
	pause := first
	for {
		err := c.source.Watch(ctx, func(load func() ([]cloud.AppState, error)) error {
			if err := c.loadAll(load); err != nil {
				return err
			}
			pause = first
			return nil
		}, func(appID string) error { return c.Reload(ctx, appID) }, c.onDue)
		if ctx.Err() != nil {
			return
		}
		if pause >= quiet {
			c.log.Warn("not following the database; trying again", "error", err, "pause", pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(pause*5/4, last)
	}
}

// loadAll loads every app anew.
func (c *Catalog) loadAll(load func() ([]cloud.AppState, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	states, err := load()
	if err != nil {
		return err
	}
	if err := c.replace(states, true); err != nil {
		return err
	}
	if c.snapshot.Path != "" {
		if c.kept = c.snapshot.holds(states); !c.kept {
			c.outdate()
		}
	}
	return nil
}

// outdate takes the snapshot away, so that however this process ends, none is
// there that is older than what it has served.
func (c *Catalog) outdate() {
	c.kept = false
	if err := c.snapshot.remove(); err != nil {
		c.log.Error("the snapshot is out of date, and cannot be removed", "error", err)
	}
}

// replace makes states all that there is. It refuses those of a snapshot if one of
// them cannot run. The mutex is held.
func (c *Catalog) replace(states []cloud.AppState, fresh bool) error {
	apps := make(map[string]*app, len(states))
	for _, s := range states {
		a := c.compile(s)
		if a.failure != nil && !fresh {
			return a.failure
		}
		apps[s.App.ID] = a
	}
	before := c.apps
	c.apps, c.fresh = apps, fresh
	c.swap()
	for id := range before {
		if c.apps[id] == nil {
			c.changed(id, nil)
		}
	}
	for _, a := range c.apps {
		c.adopted(a)
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
	if c.snapshot.Path != "" {
		c.outdate() // also one that the Catalog before this one has written since
	}
	if !exists {
		delete(c.apps, appID)
		c.swap()
		c.changed(appID, nil)
		return nil
	}
	a := c.compile(state)
	c.apps[appID] = a
	c.swap()
	c.adopted(a)
	return nil
}

// adopted tells of an app that requests see from now on.
func (c *Catalog) adopted(a *app) {
	if a.failure != nil {
		c.log.Error("the scripts of an app cannot run", "app_id", a.state.App.ID, "error", a.failure)
	}
	c.changed(a.state.App.ID, &a.state)
}

func (c *Catalog) changed(appID string, state *cloud.AppState) {
	if c.onChange != nil {
		c.onChange(appID, state)
	}
}

// compile makes an app ready. One whose env does not open is there without running,
// so that it holds up no other.
func (c *Catalog) compile(s cloud.AppState) *app {
	env, err := openEnv(s, c.sealer)
	a := &app{state: s, env: env, failure: err, router: newRouter(s.Routes), scripts: map[string]cloud.Runnable{}}
	for _, r := range s.Scripts {
		a.scripts[r.ID] = r
	}
	return a
}

// swap makes the loaded apps the ones that requests see.
func (c *Catalog) swap() {
	t := &table{
		fresh:   c.fresh,
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

// current is what requests may be led by now: nil before there is anything, and
// while there is no more than a snapshot long after the start.
func (c *Catalog) current() *table {
	if t := c.table.Load(); t != nil && (t.fresh || time.Now().Before(c.patience)) {
		return t
	}
	return nil
}

// await is current, or what it becomes while the database may be on its way.
func (c *Catalog) await(ctx context.Context) *table {
	if t := c.current(); t != nil {
		return t
	}
	ctx, cancel := context.WithDeadline(ctx, c.patience)
	defer cancel()
	select {
	case <-c.loaded:
	case <-ctx.Done():
	}
	return c.current()
}

// Match tells which route and script of an app a request would reach; the
// errors are those of dispatching. A host that is none of the app's own is an
// error too.
func (c *Catalog) Match(appID, method, rawURL string) (cloud.Route, map[string]string, error) {
	t := c.current()
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
// CodeUnavailable before the tables are loaded, and while a secret of the app does
// not open.
func (c *Catalog) PlanScript(appID, scriptID string) (*cloud.Plan, error) {
	t := c.current()
	if t == nil {
		return nil, errNotLoaded
	}
	if a := t.apps[appID]; a != nil {
		if script, ok := a.scripts[scriptID]; ok {
			if a.failure != nil {
				return nil, a.failure
			}
			return &cloud.Plan{App: a.state.App, Script: script, Env: a.env}, nil
		}
	}
	return nil, cloud.Errorf(cloud.CodeNotFound, "the app has no endpoint with the id %q", scriptID)
}
