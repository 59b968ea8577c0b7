package caddyappliance

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud/appliance/sleep"
	"github.com/picloud/picloud/services/caddycloud"
)

// App is the Caddy app "picloud_appliance". In a Caddyfile it is a global option:
//
//	{
//		picloud_appliance {
//			sleep_after <duration>  # without anything that needs the process; default 60s
//			wake_file   <path>      # says when it must run again, in Unix seconds; default /run/picloud/wake-at
//			ledger      <path>      # what being awake took, by day; default /var/lib/picloud/energy.json
//			clock_wait  <duration>  # for a clock to be set from the network, where there is none that runs on; default 2m
//		}
//	}
//
// Each option may be given once. It belongs with the listener wrapper and the
// directive of the name picloud_awake. A reload changes sleep_after alone; the
// others hold from the next start.
type App struct {
	SleepAfter caddy.Duration `json:"sleep_after,omitempty"`
	WakeFile   string         `json:"wake_file,omitempty"`
	Ledger     string         `json:"ledger,omitempty"`
	ClockWait  caddy.Duration `json:"clock_wait,omitempty"`

	log      *slog.Logger
	services *caddycloud.Services
	device   *device
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "picloud_appliance", New: func() caddy.Module { return new(App) }}
}

// pool keeps the device across reloads: the connections that it counts outlive the
// generation of Caddy's configuration that accepted them.
var pool = caddy.NewUsagePool()

// Provision finds the services and makes them run on the device. It writes nothing.
func (a *App) Provision(ctx caddy.Context) error {
	a.log = ctx.Slogger()
	cloud, err := ctx.AppIfConfigured("picloud")
	if err != nil {
		return fmt.Errorf("picloud_appliance needs the picloud option: %w", err)
	}
	a.services = cloud.(*caddycloud.App).Services()
	value, _, err := pool.LoadOrNew("device", func() (caddy.Destructor, error) { return newDevice(a.filled()), nil })
	if err != nil {
		return err
	}
	a.device = value.(*device)
	a.device.take(a.services)
	return nil
}

// filled is a with the defaults in the place of what is not set.
func (a *App) filled() App {
	f := *a
	f.SleepAfter = cmp.Or(f.SleepAfter, caddy.Duration(time.Minute))
	f.WakeFile = cmp.Or(f.WakeFile, "/run/picloud/wake-at")
	f.Ledger = cmp.Or(f.Ledger, "/var/lib/picloud/energy.json")
	f.ClockWait = cmp.Or(f.ClockWait, caddy.Duration(2*time.Minute))
	return f
}

// Start lets the process end from now on when nothing needs it.
func (a *App) Start() error {
	a.device.start(a.services, time.Duration(a.filled().SleepAfter))
	return nil
}

// Stop does nothing: what needs the process may outlive this generation.
func (a *App) Stop() error { return nil }

// Cleanup lets the services go, and the device with the last generation.
func (a *App) Cleanup() error {
	if a.device == nil {
		return nil
	}
	a.device.leave(a.services)
	_, err := pool.Delete("device")
	return err
}

// keeperOf is who counts what needs the process.
func keeperOf(ctx caddy.Context) (*sleep.Keeper, error) {
	app, err := ctx.AppIfConfigured("picloud_appliance")
	if err != nil {
		return nil, fmt.Errorf("picloud_awake needs the picloud_appliance option: %w", err)
	}
	return app.(*App).device.keeper, nil
}
