package caddyappliance

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the picloud_appliance option is given twice")
	}
	var a App
	if err := a.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "picloud_appliance", Value: caddyconfig.JSON(a, nil)}, nil
}

// UnmarshalCaddyfile reads the global option; see App for its syntax.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := map[string]bool{}
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("%s is given twice", option)
		}
		seen[option] = true
		var err error
		switch option {
		case "sleep_after":
			err = durationArg(d, &a.SleepAfter)
		case "wake_file":
			err = oneArg(d, &a.WakeFile)
		case "ledger":
			err = oneArg(d, &a.Ledger)
		case "clock_wait":
			err = durationArg(d, &a.ClockWait)
		default:
			err = d.Errf("unknown option %q; there are sleep_after, wake_file, ledger and clock_wait", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func oneArg(d *caddyfile.Dispenser, to *string) error {
	if !d.AllArgs(to) || *to == "" {
		return d.ArgErr()
	}
	return nil
}

func durationArg(d *caddyfile.Dispenser, to *caddy.Duration) error {
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	duration, err := caddy.ParseDuration(text)
	if err != nil || duration <= 0 {
		return d.Errf("%q is no duration such as 60s", text)
	}
	*to = caddy.Duration(duration)
	return nil
}

func parseRequests(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	r := new(Requests)
	return r, r.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive, which has no options.
func (r *Requests) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return nothingMore(d) }

// UnmarshalCaddyfile reads the listener wrapper, which has no options.
func (l *Listeners) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return nothingMore(d) }

func nothingMore(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("unknown option %q; picloud_awake has none", d.Val())
	}
	return nil
}
