// Package caddyappliance makes of a board that serves PiCloud an appliance, as
// Caddy modules: the app "picloud_appliance", which lets the process end when
// nothing needs it, the listener wrapper and the handler picloud_awake, which tell
// it of connections and requests. Without the app in its configuration, a server
// stays up.
package caddyappliance

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Listeners{})
	caddy.RegisterModule(Requests{})

	httpcaddyfile.RegisterGlobalOption("picloud_appliance", parseApp)
	httpcaddyfile.RegisterHandlerDirective("picloud_awake", parseRequests)
	httpcaddyfile.RegisterDirectiveOrder("picloud_awake", httpcaddyfile.Before, "header")
}

var (
	_ caddy.App             = (*App)(nil)
	_ caddy.Provisioner     = (*App)(nil)
	_ caddy.CleanerUpper    = (*App)(nil)
	_ caddyfile.Unmarshaler = (*App)(nil)

	_ caddy.Provisioner     = (*Listeners)(nil)
	_ caddy.ListenerWrapper = (*Listeners)(nil)
	_ caddyfile.Unmarshaler = (*Listeners)(nil)

	_ caddy.Provisioner           = (*Requests)(nil)
	_ caddyhttp.MiddlewareHandler = (*Requests)(nil)
	_ caddyfile.Unmarshaler       = (*Requests)(nil)
)
