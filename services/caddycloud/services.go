package caddycloud

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/executor"
	"github.com/picloud/picloud/services/idle"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/kv"
	"github.com/picloud/picloud/services/manager"
	"github.com/picloud/picloud/services/orchestrator"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/secrets"
)

// What the program that links this package says of itself, before it opens
// anything.
var (
	Version = "dev"
	Commit  = ""
	// BuildCommand is a program with arguments that calls build.Serve on its
	// standard input and output: each build runs in such a process, so that a
	// source that overflows a stack takes no server with it. Empty: in this one.
	BuildCommand []string
	// Fatal, if not nil, ends the process, since the master key that it was given is
	// not the one of its database. It must not wait for Destruct.
	Fatal func(error)
)

// Config is what Open needs.
type Config struct {
	Database      string   // PostgreSQL URL
	Worker        string   // path of picloud-worker
	InstanceHosts []string // further names of the instance, in normal form
	SecretKey     SecretKey

	// Zero values of these are the executor's defaults.
	Capacity, AppShare  int
	QueueWait, IdleStop time.Duration

	Drain    time.Duration // how long Destruct waits for executions
	StateDir string        // for the snapshot, readable by its owner alone; "": none is kept
	Logger   *slog.Logger
}

// Services are the parts of PiCloud, put together.
type Services struct {
	Manager    *manager.Manager
	Dispatcher *orchestrator.Dispatcher
	Executor   *executor.Executor
	Events     *events.Dispatcher

	device   attached
	met      chan struct{}
	meet     func() // closes met
	meter    *meter
	pool     *pgxpool.Pool
	hosts    orchestrator.Hosts
	catalog  *orchestrator.Catalog
	recorder *executor.Recorder
	builds   *buildSet
	memory   *idle.Notice // when requests have ceased
	clock    *clockWatch
	drain    time.Duration
	log      *slog.Logger

	keyring *secrets.Guard
	checks  chan struct{} // empty: the keyring is still to be checked
	checker sync.WaitGroup
}

// Open puts the services together. It does not connect to the database; Start
// does. Destruct ends what Open and Start began.
func Open(c Config) (_ *Services, err error) {
	s := &Services{hosts: orchestrator.Hosts{Names: c.InstanceHosts}, builds: newBuildSet(), memory: idle.New(memoryIdle, releaseMemory), drain: c.Drain}
	s.met = make(chan struct{})
	s.meet = sync.OnceFunc(func() { close(s.met) })
	ring, err := c.SecretKey.keyring()
	if err != nil {
		return nil, err
	}
	if s.clock, err = watchClock(never); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.clock.Close()
		}
	}()
	if s.pool, err = postgres.NewPool(context.Background(), c.Database); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		if s.Executor != nil {
			s.Executor.Stop(context.Background()) // nothing runs yet
		}
		s.pool.Close()
	}()
	if s.recorder, err = executor.NewRecorder(executor.RecorderConfig{Store: postgres.NewExecutions(s.pool), Logger: c.Logger}); err != nil {
		return nil, err
	}
	s.log, s.checks = c.Logger, make(chan struct{}, 1)
	vault := postgres.NewEnv(s.pool, nil)
	s.keyring = secrets.NewGuard(ring, vault)
	var policy authz.Policy
	poke := func() { s.Events.Poke() }
	emitter := postgres.NewEmitter(postgres.EmitterConfig{Poke: poke, Logger: c.Logger})
	entries := kv.New(kv.Config{Store: postgres.NewKV(s.pool, emitter), Authorizer: policy})
	outbox := postgres.NewEvents(s.pool, emitter)
	inbox := events.NewService(events.ServiceConfig{Store: outbox, Authorizer: policy, Logger: c.Logger, Poke: poke})
	s.catalog = orchestrator.NewCatalog(orchestrator.CatalogConfig{
		Source:   postgres.NewSource(s.pool, cloud.DefaultLimits, emitter),
		Hosts:    s.hosts,
		Sealer:   s.keyring,
		Snapshot: snapshot(c.StateDir, s.pool.Config().ConnConfig),
		OnChange: s.changed,
		OnDue:    s.due,
		Logger:   c.Logger,
	})
	env := secrets.New(secrets.Config{
		Store: vault, Sealer: s.keyring, Authorizer: policy,
		Reload: s.catalog.Reload, Logger: c.Logger,
	})
	users, err := accounts.New(accounts.Config{Store: postgres.NewAccounts(s.pool, nil), Sealer: s.keyring, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	s.Executor, err = executor.New(executor.Config{
		Worker:   c.Worker,
		Services: cloud.Services{}.WithKV(entries).WithSecrets(env).WithDeadLetters(inbox),
		Log:      s.recorder,
		MapStack: build.MapStack,
		MapText:  build.MapText,
		CanReadLogs: func(p *cloud.Principal, appID string) bool {
			return policy.Authorize(p, cloud.AppReadLogs, appID) == nil
		},
		OnIdle:   s.device.touch,
		Logger:   c.Logger,
		Capacity: c.Capacity, AppShare: c.AppShare, QueueWait: c.QueueWait, IdleStop: c.IdleStop,
	})
	if err != nil {
		return nil, err
	}
	s.meter = newMeter(outbox.Depth, s.Executor.Stats, c.Logger)
	attempts := &runner{plan: s.catalog.PlanScript, reload: s.catalog.Reload, principals: &principals{find: users.Principals}, run: s.Executor.Run, used: s.memory.Used}
	s.Events = events.New(events.Config{
		Store: outbox, Run: attempts.Run, ClockSet: s.clock.set, Trusted: s.device.trusted, Observe: s.meter.observe, Alarm: s.device.alarm, Logger: c.Logger,
	})
	s.Dispatcher = &orchestrator.Dispatcher{Catalog: s.catalog, Authenticate: users.Authenticate, Authorizer: policy, Claimed: users.Claimed, Accept: inbox.Accept}
	s.Manager, err = manager.New(manager.Config{
		Store:         settledLog{postgres.NewApps(s.pool, nil), s.recorder},
		Builder:       build.New(build.Config{Command: BuildCommand}),
		Authorizer:    policy,
		Router:        s.catalog,
		Accounts:      users,
		Reload:        s.catalog.Reload,
		KV:            entries,
		Secrets:       env,
		Variables:     env,
		CheckTrigger:  events.Check,
		Events:        settledEvents{inbox, s.recorder},
		Metrics:       s.meter.handler(),
		Tail:          s.recorder.Tail,
		Device:        &s.device,
		InstanceHosts: s.hosts.IsInstance,
		Version:       manager.Version{Version: Version, Commit: Commit, Go: runtime.Version()},
		Logger:        c.Logger,
	})
	return s, err
}

// settledLog is a store whose execution log lacks nothing that has ended: records
// are written in batches, and who asks right after a request wants to see it.
type settledLog struct {
	manager.Store
	recorder *executor.Recorder
}

func (s settledLog) Executions(ctx context.Context, filter cloud.ExecutionFilter) ([]cloud.Execution, error) {
	s.recorder.Flush(ctx)
	return s.Store.Executions(ctx, filter)
}

func (s settledLog) Execution(ctx context.Context, appID, id string) (cloud.Execution, error) {
	s.recorder.Flush(ctx)
	return s.Store.Execution(ctx, appID, id)
}

// settledEvents is settledLog for what became of events.
type settledEvents struct {
	*events.Service
	recorder *executor.Recorder
}

func (s settledEvents) State(ctx context.Context, eventID string) (cloud.EventState, error) {
	s.recorder.Flush(ctx)
	return s.Service.State(ctx, eventID)
}

// Start begins to follow the database, and to deliver events once it answers. It
// may be called more than once.
func (s *Services) Start() { s.catalog.Start() }

// Met is closed once the database has answered.
func (s *Services) Met() <-chan struct{} { return s.met }

// due is called when the tables are loaded, and whenever there may be events that
// only the database knows of.
func (s *Services) due() {
	s.meet()
	s.checkKeyring()
	s.Events.Start()
	s.Events.Poke()
}

// checkKeyring makes sure, once, that the master key is the database's own, and
// else ends the process or, where that is not to be done, says so in the log: apps
// with secrets do not run then, and nothing is sealed. It does not block.
func (s *Services) checkKeyring() {
	select {
	case s.checks <- struct{}{}:
	default:
		return
	}
	s.checker.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), keyringPatience)
		defer cancel()
		err := s.keyring.Check(ctx)
		switch {
		case err == nil:
		case errors.Is(err, secrets.ErrMissingKey):
			s.log.Error("the master key is not the one of the database", "error", err)
			if Fatal != nil {
				Fatal(err)
			}
		default: // the next connection tries again
			<-s.checks
		}
	})
}

// keyringPatience bounds how long the check of the master key takes.
const keyringPatience = 10 * time.Second

// Loaded is closed once requests can be dispatched.
func (s *Services) Loaded() <-chan struct{} { return s.catalog.Loaded() }

// ForManager tells whether the manager answers the request: the reserved paths
// on instance hosts, but for running scripts by their ids, and /healthz
// everywhere.
func (s *Services) ForManager(r *http.Request) bool {
	if r.URL.Path == "/healthz" {
		return true
	}
	return cloud.Reserved(r.URL.Path) != "" &&
		s.hosts.IsInstance(cloud.NormalHost(r.Host)) &&
		!strings.HasPrefix(r.URL.Path, orchestrator.ExecutePrefix)
}

// CutAfterDrain refuses new executions, takes no more events, and kills what still
// runs after the drain time, without waiting for any of that.
func (s *Services) CutAfterDrain() {
	ctx, cancel := context.WithTimeout(context.Background(), s.drain)
	go func() {
		defer cancel()
		s.stopRunning(ctx)
	}()
}

// stopRunning lets executions end until ctx does. Events go first: their attempts
// end what they have begun, and hand back what they have not.
func (s *Services) stopRunning(ctx context.Context) {
	s.Events.Stop(ctx)
	s.Executor.Stop(ctx)
}

// Destruct lets executions end within the drain time, writes their records and
// closes everything.
func (s *Services) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	s.Manager.Stop()
	s.catalog.Stop()
	s.stopRunning(ctx)
	records, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.recorder.Stop(records)
	s.clock.Close()
	s.checker.Wait()
	s.pool.Close()
	return nil
}

// changed takes a changed app's old builds, or the worker of an app that is gone,
// from the executor.
func (s *Services) changed(appID string, state *cloud.AppState) {
	s.meter.follow(appID, state)
	for _, hash := range s.builds.replace(appID, state) {
		s.Executor.Retire(hash)
	}
	if state == nil {
		s.Executor.Forget(appID)
	}
}

// buildSet knows which builds are in use. It is called by the catalog alone,
// one call at a time.
type buildSet struct {
	apps map[string]map[string]bool // by app id: hashes
}

func newBuildSet() *buildSet { return &buildSet{apps: map[string]map[string]bool{}} }

// replace takes note of an app's builds and returns those that no app uses any
// more.
func (b *buildSet) replace(appID string, state *cloud.AppState) (unused []string) {
	before := b.apps[appID]
	delete(b.apps, appID)
	if state != nil {
		b.apps[appID] = map[string]bool{}
		for _, script := range state.Scripts {
			b.apps[appID][script.Build.Hash] = true
		}
	}
	for hash := range before {
		if !b.used(hash) {
			unused = append(unused, hash)
		}
	}
	return unused
}

func (b *buildSet) used(hash string) bool {
	for _, hashes := range b.apps {
		if hashes[hash] {
			return true
		}
	}
	return false
}
