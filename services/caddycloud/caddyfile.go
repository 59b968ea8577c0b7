package caddycloud

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the picloud option is given twice")
	}
	var a App
	if err := a.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "picloud", Value: caddyconfig.JSON(a, nil)}, nil
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
		case "database":
			err = oneArg(d, &a.Database)
		case "worker":
			err = oneArg(d, &a.Worker)
		case "public_url":
			err = oneArg(d, &a.PublicURL)
		case "hosts":
			if a.Hosts = d.RemainingArgs(); len(a.Hosts) == 0 {
				err = d.ArgErr()
			}
		case "secret_key_file":
			err = oneArg(d, &a.SecretKeyFile)
		case "executions":
			err = a.Executions.unmarshal(d)
		case "drain":
			err = durationArg(d, &a.Drain)
		case "state_dir":
			err = oneArg(d, &a.StateDir)
		default:
			err = d.Errf("unknown option %q; there are database, worker, public_url, hosts, secret_key_file, executions, drain and state_dir", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Executions) unmarshal(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("executions: %s is given twice", option)
		}
		seen[option] = true
		var err error
		switch option {
		case "max":
			err = countArg(d, &e.Max)
		case "per_app":
			err = countArg(d, &e.PerApp)
		case "queue_wait":
			err = durationArg(d, &e.QueueWait)
		case "idle_stop":
			err = durationArg(d, &e.IdleStop)
		default:
			err = d.Errf("executions: unknown option %q; there are max, per_app, queue_wait and idle_stop", option)
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
		return d.Errf("%q is no duration such as 10s", text)
	}
	*to = caddy.Duration(duration)
	return nil
}

func countArg(d *caddyfile.Dispenser, to *int) error {
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 {
		return d.Errf("%q is no count of 1 or more", text)
	}
	*to = count
	return nil
}

func parseManager(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	m := new(Manager)
	return m, m.UnmarshalCaddyfile(h.Dispenser)
}

func parseOrchestrator(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	o := new(Orchestrator)
	return o, o.UnmarshalCaddyfile(h.Dispenser)
}

func parseExecutor(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	e := new(Executor)
	return e, e.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive, which has no options.
func (m *Manager) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return nothingMore(d) }

// UnmarshalCaddyfile reads the directive, which has no options.
func (o *Orchestrator) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return nothingMore(d) }

// UnmarshalCaddyfile reads the directive, which has no options.
func (e *Executor) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return nothingMore(d) }

func nothingMore(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("unknown option %q; this directive has none", d.Val())
	}
	return nil
}
