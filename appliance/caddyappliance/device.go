package caddyappliance

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"

	board "github.com/picloud/picloud/appliance/device"
	"github.com/picloud/picloud/appliance/sleep"
	"github.com/picloud/picloud/services/caddycloud"
	"github.com/picloud/picloud/services/cloud"
)

// Bounds of waiting for the database, ours.
const (
	// patience is how long the process stays for a database that does not come, such
	// as one that recovers from a power cut.
	patience = 5 * time.Minute
	// unseen is when to look again, while nobody has been able to.
	unseen = 15 * time.Minute
)

// databaseCgroup is the control group of the unit that runs the database.
const databaseCgroup = "/sys/fs/cgroup/system.slice/picloud-postgres.service"

// device is the board as the services see it, one in a process.
type device struct {
	keeper *sleep.Keeper
	wake   *sleep.WakeFile
	ledger *sleep.Ledger
	clock  board.Clock
	log    *slog.Logger
	began  time.Time

	mu      sync.Mutex
	tenants []*tenant
	started bool
	gone    bool

	quit    chan struct{}
	waiting sync.WaitGroup
}

func newDevice(a App) *device {
	d := &device{
		wake: sleep.NewWakeFile(a.WakeFile, a.log),
		ledger: sleep.NewLedger(sleep.LedgerConfig{
			File: a.Ledger, Cause: sleep.Cause(), Boot: sleep.BootID(),
			Read: sleep.Meter{DatabaseCgroup: databaseCgroup}.Read, Logger: a.log,
		}),
		clock: board.Clock{
			Wait: time.Duration(a.ClockWait), Waited: filepath.Join(filepath.Dir(a.WakeFile), "clock-waited"), Logger: a.log,
		},
		log: a.log, began: time.Now(), quit: make(chan struct{}),
	}
	d.keeper = sleep.New(sleep.Config{Busy: d.busy, End: end, Logger: a.log})
	caddy.OnExit(func(context.Context) { d.save() })
	return d
}

// end has Caddy end the process as it does when systemd asks for it.
func end() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) }

// Destruct implements caddy.Destructor.
func (d *device) Destruct() error {
	d.keeper.Stop()
	close(d.quit)
	d.waiting.Wait()
	if !caddy.Exiting() {
		d.mu.Lock()
		d.gone = true
		d.mu.Unlock()
	}
	return nil
}

// save keeps account of what this process took, when it exits.
func (d *device) save() {
	d.mu.Lock()
	unused := d.gone || !d.started
	d.mu.Unlock()
	if unused {
		return
	}
	if err := d.ledger.Save(); err != nil {
		d.log.Warn("the energy ledger was not written", "error", err)
	}
}

// tenant are services that run on the device; after a reload there may be others
// beside them.
type tenant struct {
	*device
	services *caddycloud.Services
	leases   int // generations of the configuration
	at       time.Time
	known    bool
}

// take lets services run on the device.
func (d *device) take(s *caddycloud.Services) {
	d.mu.Lock()
	i := d.tenant(s)
	if i >= 0 {
		d.tenants[i].leases++
		d.mu.Unlock()
		return
	}
	t := &tenant{device: d, services: s, leases: 1}
	d.tenants = append(d.tenants, t)
	d.mu.Unlock()
	s.Attach(t)
}

// leave ends take. What is due for the last services stays known.
func (d *device) leave(s *caddycloud.Services) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.tenant(s)
	if d.tenants[i].leases--; d.tenants[i].leases == 0 && len(d.tenants) > 1 {
		d.tenants = slices.Delete(d.tenants, i, i+1)
		d.announce()
	}
}

func (d *device) tenant(s *caddycloud.Services) int {
	return slices.IndexFunc(d.tenants, func(t *tenant) bool { return t.services == s })
}

// start begins to look for the end. While services wait for their database, it
// waits with them.
func (d *device) start(s *caddycloud.Services, after time.Duration) {
	d.mu.Lock()
	d.started = true
	d.announce()
	d.mu.Unlock()
	d.keeper.Enter()
	d.waiting.Go(func() {
		defer d.keeper.Leave()
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-s.Met():
		case <-d.quit:
		case <-timer.C:
			d.log.Warn("the database does not come: PiCloud does not stay awake for it", "waited", patience)
		}
	})
	d.keeper.Start(after)
}

// busy is what needs the process although nobody is connected.
func (d *device) busy() string {
	d.mu.Lock()
	tenants := slices.Clone(d.tenants)
	d.mu.Unlock()
	for _, t := range tenants {
		if reason := t.services.Busy(); reason != "" {
			return reason
		}
	}
	return ""
}

// announce writes when the process must run again. The mutex is held.
func (d *device) announce() {
	if !d.started {
		return
	}
	var at time.Time
	known := false
	for _, t := range d.tenants {
		if t.known && !t.at.IsZero() && (at.IsZero() || t.at.Before(at)) {
			at = t.at
		}
		known = known || t.known
	}
	if !known {
		at = d.began.Add(unseen)
	}
	d.wake.Set(at)
}

// Touch implements caddycloud.Device.
func (t *tenant) Touch() { t.keeper.Touch() }

// Alarm implements caddycloud.Device.
func (t *tenant) Alarm(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at, t.known = at, true
	t.announce()
}

// Trusted implements caddycloud.Device.
func (t *tenant) Trusted(ctx context.Context) error { return t.clock.Trusted(ctx) }

// Energy implements manager.Device.
func (t *tenant) Energy(_ context.Context, days int) (cloud.Energy, error) {
	return t.ledger.Energy(days), nil
}
