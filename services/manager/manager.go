package manager

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Builder turns sources into what runs.
type Builder interface {
	// Build builds entry with those of modules that it imports, by their names. A
	// source that does not build: CodeBuildFailed with the diagnostics.
	Build(ctx context.Context, entry cloud.Source, modules map[string]cloud.Source) (cloud.Build, error)
}

// Router knows where requests would go.
type Router interface {
	// Match tells which route of the app a request would reach, with its
	// parameters. rawURL may lack scheme and host. CodeRouteUnknown,
	// CodeMethodNotAllowed, CodeHostUnknown, CodeInvalid about "url".
	Match(appID, method, rawURL string) (cloud.Route, map[string]string, error)
}

// Quotas bound what one instance and one app hold.
type Quotas struct {
	Apps    int
	Scripts int // per app
	Routes  int // per app
	Domains int // per app

	Triggers int // per app
}

// DefaultQuotas are generous for a single-board computer.
var DefaultQuotas = Quotas{Apps: 200, Scripts: 200, Routes: 500, Domains: 20, Triggers: cloud.MaxTriggers}

// Version says what is running.
type Version struct {
	Version string `json:"version" doc:"Release, such as 0.1.0"`
	Commit  string `json:"commit" doc:"Git commit it was built from; empty if unknown"`
	Go      string `json:"go" doc:"Go release it was built with"`
}

// Config is what a Manager works with. Store, Builder, Authorizer, Accounts and
// Router are required.
type Config struct {
	Store      Store
	Builder    Builder
	Authorizer cloud.Authorizer
	Accounts   cloud.Accounts
	Router     Router

	// Reload is called after each committed change of an app, before the answer,
	// so that the caller's next request sees the change. A failure is logged, not
	// answered: the change is durable. Nil: nothing to reload.
	Reload func(ctx context.Context, appID string) error

	// KV is what the data browser shows. Nil: an empty one.
	KV cloud.KV

	// Secrets and Variables keep the env of apps, and make their changes seen. Nil:
	// they refuse everything with CodeUnavailable.
	Secrets   cloud.Secrets
	Variables cloud.Variables

	// CheckTrigger completes a trigger as it is asked for: the retry policy, and the
	// next run of a schedule. CodeInvalid about the field that is wrong. Nil: there
	// are no triggers.
	CheckTrigger func(t cloud.Trigger, now time.Time) (cloud.Trigger, error)

	// Events is the outbox. Nil: it refuses everything with CodeUnavailable.
	Events Events

	// Metrics answers GET /api/v1/metrics. Nil: CodeUnavailable.
	Metrics http.Handler

	// Tail yields the executions that end from now on, of one script or, with an
	// empty scriptID, of the whole app. It closes the channel when ctx ends or the
	// server stops. Nil: none.
	Tail func(ctx context.Context, appID, scriptID string) <-chan cloud.Execution

	// Device tells what the machine takes. Nil: nothing is known of it.
	Device Device

	// InstanceHosts tells whether a host in normal form is the instance's own.
	// Nil: none is.
	InstanceHosts func(host string) bool

	Ceilings cloud.Limits // zero fields: cloud.LimitCeilings
	Quotas   Quotas       // zero fields: DefaultQuotas
	Version  Version
	Logger   *slog.Logger     // nil: slog.Default()
	Now      func() time.Time // nil: time.Now
}

// Manager is the control plane. Its methods may be called concurrently; it is
// the http.Handler of /api/v1/…, /admin/, /healthz and /version.
//
// The methods that change things do not ask who calls: that is the HTTP
// layer's, whose rules stand in access.go.
type Manager struct {
	store     Store
	builder   Builder
	authz     cloud.Authorizer
	router    Router
	accounts  cloud.Accounts
	reload    func(ctx context.Context, appID string) error
	kv        cloud.KV
	secrets   cloud.Secrets
	variables cloud.Variables
	events    Events
	metrics   http.Handler
	tail      func(ctx context.Context, appID, scriptID string) <-chan cloud.Execution
	device    Device
	instance  func(host string) bool
	ceilings  cloud.Limits
	quotas    Quotas
	version   Version
	log       *slog.Logger
	now       func() time.Time
	// checkTrigger is Config.CheckTrigger.
	checkTrigger func(t cloud.Trigger, now time.Time) (cloud.Trigger, error)
	heartbeat    time.Duration // between comments of an idle event stream, and between questions whether its caller may still see it

	changing chan struct{}          // slots of changes under way
	http     func() http.Handler    // made by the first request
	document func() ([]byte, error) // the OpenAPI document
	stopping chan struct{}
	stop     sync.Once
}

// New checks the configuration and returns a Manager that is ready to serve.
func New(c Config) (*Manager, error) {
	switch {
	case c.Store == nil:
		return nil, errors.New("manager: Config.Store is missing")
	case c.Builder == nil:
		return nil, errors.New("manager: Config.Builder is missing")
	case c.Authorizer == nil:
		return nil, errors.New("manager: Config.Authorizer is missing")
	case c.Accounts == nil:
		return nil, errors.New("manager: Config.Accounts is missing")
	case c.Router == nil:
		return nil, errors.New("manager: Config.Router is missing")
	}
	m := &Manager{
		store:        c.Store,
		builder:      c.Builder,
		authz:        c.Authorizer,
		router:       c.Router,
		accounts:     c.Accounts,
		reload:       c.Reload,
		kv:           c.KV,
		secrets:      c.Secrets,
		variables:    c.Variables,
		events:       c.Events,
		metrics:      c.Metrics,
		tail:         c.Tail,
		device:       c.Device,
		instance:     c.InstanceHosts,
		ceilings:     c.Ceilings.Or(cloud.LimitCeilings),
		quotas:       c.Quotas.or(DefaultQuotas),
		version:      c.Version,
		log:          c.Logger,
		now:          c.Now,
		checkTrigger: c.CheckTrigger,
		heartbeat:    25 * time.Second,
		changing:     make(chan struct{}, maxChanges),
		stopping:     make(chan struct{}),
	}
	if m.kv == nil {
		m.kv = cloud.Services{}.KV()
	}
	if m.secrets == nil {
		m.secrets = cloud.Services{}.Secrets()
	}
	if m.variables == nil {
		m.variables = noVariables{}
	}
	if m.checkTrigger == nil {
		m.checkTrigger = noTriggers
	}
	if m.events == nil {
		m.events = noEvents{}
	}
	if m.device == nil {
		m.device = noDevice{}
	}
	if m.instance == nil {
		m.instance = func(string) bool { return false }
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	if m.now == nil {
		m.now = time.Now
	}
	m.version.Go = cmp.Or(m.version.Go, runtime.Version())
	m.http = sync.OnceValue(m.newAPI)
	return m, nil
}

func (q Quotas) or(d Quotas) Quotas {
	return Quotas{
		Apps:    cmp.Or(q.Apps, d.Apps),
		Scripts: cmp.Or(q.Scripts, d.Scripts),
		Routes:  cmp.Or(q.Routes, d.Routes),
		Domains: cmp.Or(q.Domains, d.Domains),

		Triggers: cmp.Or(q.Triggers, d.Triggers),
	}
}

// Stop ends the open event streams, so that a server that drains its
// connections need not wait for them. It may be called more than once.
func (m *Manager) Stop() { m.stop.Do(func() { close(m.stopping) }) }

// ServeHTTP serves the API. A path with an empty or dot segment names nothing:
// net/http would redirect it to another resource.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header(), r.URL.Path)
	if p := strings.TrimSuffix(r.URL.EscapedPath(), "/"); p != "" && path.Clean(p) != p {
		m.nothing(w, r, cloud.Errorf(cloud.CodeNotFound, "the API has nothing at %s: a segment of the path is empty, . or ..; write dots as %%2E", r.URL.Path))
		return
	}
	m.http().ServeHTTP(w, r)
}

// maxChanges is how many changes run at once, others wait. Each holds a
// connection to the database while it builds, and those of the data services
// must not run out.
const maxChanges = 3

// change runs a change of an app in its transaction and makes it seen.
func (m *Manager) change(ctx context.Context, appID string, change func(ctx context.Context, tx AppTx) error) error {
	select {
	case m.changing <- struct{}{}:
		defer func() { <-m.changing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := m.store.ChangeApp(ctx, appID, change); err != nil {
		return err
	}
	m.changed(ctx, appID)
	return nil
}

// changed makes a committed change seen, even if its caller has gone.
func (m *Manager) changed(ctx context.Context, appID string) {
	if m.reload == nil {
		return
	}
	if err := m.reload(context.WithoutCancel(ctx), appID); err != nil {
		m.log.ErrorContext(ctx, "cannot reload an app after a change", "app_id", appID, "error", err)
	}
}
