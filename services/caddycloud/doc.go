// Package caddycloud makes PiCloud a set of Caddy modules: the app "picloud",
// which composes the services, and the handlers picloud_manager,
// picloud_orchestrator and picloud_executor, which adapt them. It is the
// composition root; the services know nothing of Caddy.
package caddycloud

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Manager{})
	caddy.RegisterModule(Orchestrator{})
	caddy.RegisterModule(Executor{})

	httpcaddyfile.RegisterGlobalOption("picloud", parseApp)
	for _, d := range []struct {
		name  string
		parse httpcaddyfile.UnmarshalHandlerFunc
	}{
		{"picloud_manager", parseManager},
		{"picloud_orchestrator", parseOrchestrator},
		{"picloud_executor", parseExecutor},
	} {
		httpcaddyfile.RegisterHandlerDirective(d.name, d.parse)
		httpcaddyfile.RegisterDirectiveOrder(d.name, httpcaddyfile.Before, "reverse_proxy")
	}
}

var (
	_ caddy.App             = (*App)(nil)
	_ caddy.Provisioner     = (*App)(nil)
	_ caddy.Validator       = (*App)(nil)
	_ caddy.CleanerUpper    = (*App)(nil)
	_ caddyfile.Unmarshaler = (*App)(nil)

	_ caddy.Provisioner           = (*Manager)(nil)
	_ caddyhttp.MiddlewareHandler = (*Manager)(nil)
	_ caddyfile.Unmarshaler       = (*Manager)(nil)

	_ caddy.Provisioner           = (*Orchestrator)(nil)
	_ caddyhttp.MiddlewareHandler = (*Orchestrator)(nil)
	_ caddyfile.Unmarshaler       = (*Orchestrator)(nil)

	_ caddy.Provisioner           = (*Executor)(nil)
	_ caddyhttp.MiddlewareHandler = (*Executor)(nil)
	_ caddyfile.Unmarshaler       = (*Executor)(nil)
)
