package caddycloud

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Manager is the handler picloud_manager: the API, /version and /healthz. On
// hosts of apps it answers /healthz alone and passes everything else on.
//
//	picloud_manager
type Manager struct {
	services *Services
	shutdown *shutdown
}

// shutdown tells when the server that a handler belongs to begins to shut down.
type shutdown struct {
	watch sync.Once
	begun chan struct{}
}

// CaddyModule returns the Caddy module information.
func (Manager) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.picloud_manager", New: func() caddy.Module { return new(Manager) }}
}

// Provision finds the app.
func (m *Manager) Provision(ctx caddy.Context) (err error) {
	m.shutdown = &shutdown{begun: make(chan struct{})}
	m.services, err = servicesOf(ctx)
	return err
}

// ServeHTTP answers requests for the control plane.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !m.services.ForManager(r) {
		return next.ServeHTTP(w, r)
	}
	if r.URL.Path != "/healthz" {
		m.services.awaitLoaded(r.Context())
	}
	if isStream(r) {
		ctx, cancel := m.shutdown.until(r)
		defer cancel()
		r = r.WithContext(ctx)
	}
	m.services.Manager.ServeHTTP(w, fromClient(r))
	return nil
}

// fromClient is r with the address of the client for its remote address: behind
// proxies that Caddy's option trusted_proxies names, the one that they say.
func fromClient(r *http.Request) *http.Request {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if ip == "" {
		return r
	}
	r = r.WithContext(r.Context())
	r.RemoteAddr = ip
	return r
}

// isStream tells whether the answer has no end of its own.
func isStream(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/executions:tail") }

// until is r's context, cancelled when the server begins to shut down: net/http
// would wait for the answer's end otherwise.
func (s *shutdown) until(r *http.Request) (context.Context, context.CancelFunc) {
	if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		s.watch.Do(func() { server.RegisterOnShutdown(func() { close(s.begun) }) })
	}
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		select {
		case <-s.begun:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Orchestrator is the middleware picloud_orchestrator: it finds the app, route
// and script of a request for the handler behind it.
//
//	picloud_orchestrator
type Orchestrator struct {
	services *Services
}

// CaddyModule returns the Caddy module information.
func (Orchestrator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.picloud_orchestrator", New: func() caddy.Module { return new(Orchestrator) }}
}

// Provision finds the app.
func (o *Orchestrator) Provision(ctx caddy.Context) (err error) {
	o.services, err = servicesOf(ctx)
	return err
}

// ServeHTTP hands the request on with its plan, or answers where it leads
// nowhere.
func (o *Orchestrator) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	o.services.awaitLoaded(r.Context())
	return o.services.Dispatcher.ServeHTTP(w, r, next.ServeHTTP)
}

// Executor is the terminal handler picloud_executor: it runs the script that
// picloud_orchestrator chose.
//
//	picloud_executor
type Executor struct {
	services *Services
}

// CaddyModule returns the Caddy module information.
func (Executor) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.picloud_executor", New: func() caddy.Module { return new(Executor) }}
}

// Provision finds the app.
func (e *Executor) Provision(ctx caddy.Context) (err error) {
	e.services, err = servicesOf(ctx)
	return err
}

// ServeHTTP carries out the request's plan.
func (e *Executor) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	e.services.memory.Used()
	e.services.Executor.ServeHTTP(w, r)
	return nil
}

func servicesOf(ctx caddy.Context) (*Services, error) {
	app, err := ctx.App("picloud")
	if err != nil {
		return nil, fmt.Errorf("the handlers of PiCloud need the picloud app: %w", err)
	}
	return app.(*App).services, nil
}
