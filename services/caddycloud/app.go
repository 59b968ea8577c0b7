package caddycloud

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud/services/cloud"
)

// App is the Caddy app "picloud". In a Caddyfile it is a global option:
//
//	{
//		picloud {
//			database   <postgres URL>   # default: $PICLOUD_DATABASE_URL
//			worker     <path>           # default: picloud-worker beside the server's binary
//			public_url <URL>            # where people outside reach the instance
//			hosts      <name...>        # names of the instance itself, beside the machine's own and NAME.local
//			secret_key_file <path>      # the master key of secrets; default: see FindSecretKey
//			executions {
//				max        <count>      # at once, in all; default 32
//				per_app    <count>      # at once, of one app; default 24
//				queue_wait <duration>   # for a free place, then 503; default 1s
//				idle_stop  <duration>   # after which a worker without work is stopped; default 60s
//			}
//			drain <duration>            # for executions at a stop; default 10s
//			state_dir <path>            # where to keep what the next start answers from before the database does; default: nowhere
//		}
//	}
//
// Each option may be given once.
type App struct {
	Database  string   `json:"database,omitempty"`
	Worker    string   `json:"worker,omitempty"`
	PublicURL string   `json:"public_url,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`

	SecretKeyFile string `json:"secret_key_file,omitempty"`

	Executions Executions     `json:"executions,omitzero"`
	Drain      caddy.Duration `json:"drain,omitempty"`
	StateDir   string         `json:"state_dir,omitempty"`

	services *Services
	key      [sha256.Size]byte
	log      *slog.Logger
}

// Executions bounds how much runs at once.
type Executions struct {
	Max       int            `json:"max,omitempty"`
	PerApp    int            `json:"per_app,omitempty"`
	QueueWait caddy.Duration `json:"queue_wait,omitempty"`
	IdleStop  caddy.Duration `json:"idle_stop,omitempty"`
}

// pool keeps the services of each configuration across reloads, so that
// requests in flight, workers and database connections outlive the generation
// of Caddy's configuration that began them.
var pool = caddy.NewUsagePool()

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "picloud", New: func() caddy.Module { return new(App) }}
}

// Provision fills the defaults, composes the services and registers what they
// count with Caddy's metrics. It does not connect, write or listen.
func (a *App) Provision(ctx caddy.Context) error {
	a.log = ctx.Slogger()
	if err := a.fillDefaults(); err != nil {
		return err
	}
	config, err := json.Marshal(a)
	if err != nil {
		return err
	}
	a.key = sha256.Sum256(config)
	value, _, err := pool.LoadOrNew(a.key, func() (caddy.Destructor, error) { return Open(a.config()) })
	if err != nil {
		return err
	}
	a.services = value.(*Services)
	return ctx.GetMetricsRegistry().Register(a.services.meter)
}

func (a *App) fillDefaults() error {
	if a.Database == "" {
		a.Database = os.Getenv("PICLOUD_DATABASE_URL")
	}
	if a.Database == "" {
		return errors.New(`picloud: no database: set "database" in the picloud option, or PICLOUD_DATABASE_URL`)
	}
	if a.Worker == "" {
		worker, err := WorkerPath()
		if err != nil {
			return fmt.Errorf("picloud: %w; name it with \"worker\"", err)
		}
		a.Worker = worker
	}
	if a.Drain == 0 {
		a.Drain = caddy.Duration(10 * time.Second)
	}
	return nil
}

// WorkerPath is where picloud-worker is by default: beside this program.
func WorkerPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding picloud-worker: %w", err)
	}
	return filepath.Join(filepath.Dir(self), "picloud-worker"), nil
}

func (a *App) config() Config {
	var names []string
	if hostname, err := os.Hostname(); err == nil {
		names = machineHosts(hostname)
	}
	for _, h := range a.Hosts {
		names = append(names, cloud.NormalHost(h))
	}
	if u, err := url.Parse(a.PublicURL); err == nil && u.Host != "" {
		names = append(names, cloud.NormalHost(u.Host))
	}
	return Config{
		Database:      a.Database,
		Worker:        a.Worker,
		InstanceHosts: names,
		SecretKey:     FindSecretKey(a.SecretKeyFile),
		Capacity:      a.Executions.Max,
		AppShare:      a.Executions.PerApp,
		QueueWait:     time.Duration(a.Executions.QueueWait),
		IdleStop:      time.Duration(a.Executions.IdleStop),
		Drain:         time.Duration(a.Drain),
		StateDir:      a.StateDir,
		Logger:        a.log,
	}
}

// machineHosts are the names by which a machine with this host name is reached
// in its network; none if it is no name for a network.
func machineHosts(hostname string) []string {
	name := cloud.NormalHost(hostname)
	if p, err := cloud.ParseHostPattern(name); err != nil || p.Kind != cloud.HostStrict {
		return nil
	}
	short, _, _ := strings.Cut(name, ".")
	return slices.Compact([]string{name, short, short + ".local"})
}

// Validate refuses what cannot work.
func (a *App) Validate() error {
	if a.PublicURL != "" {
		u, err := url.Parse(a.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("picloud: public_url %q is not of the form https://host", a.PublicURL)
		}
	}
	for _, h := range a.Hosts {
		if p, err := cloud.ParseHostPattern(h); err != nil || p.Kind != cloud.HostStrict {
			return fmt.Errorf("picloud: hosts: %q is no host name", h)
		}
	}
	if a.Executions.PerApp > a.Executions.Max && a.Executions.Max > 0 {
		return fmt.Errorf("picloud: executions: per_app (%d) is over max (%d)", a.Executions.PerApp, a.Executions.Max)
	}
	return nil
}

// Start begins to follow the database. It does not wait for it: until the
// tables are loaded, requests are answered with 503.
func (a *App) Start() error {
	a.services.Start()
	return nil
}

// Stop lets requests in flight end. When the whole process exits, what still
// runs after the drain time is cut off, so that no endless answer can hold it.
func (a *App) Stop() error {
	if caddy.Exiting() {
		a.services.CutAfterDrain()
	}
	return nil
}

// Cleanup releases the services; the last generation to do so stops them.
func (a *App) Cleanup() error {
	if a.services == nil {
		return nil
	}
	_, err := pool.Delete(a.key)
	return err
}

// Services are the composed services, for the handlers and the dev command.
func (a *App) Services() *Services { return a.services }
