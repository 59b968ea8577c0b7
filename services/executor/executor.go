package executor

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Config says how an Executor works. Zero fields get the defaults named here;
// Worker is required.
type Config struct {
	Worker   string         // path of the picloud-worker binary
	Services cloud.Services // what executions may call
	Log      *Recorder      // takes the records, and outlives the Executor; nil drops them
	// MapStack maps the positions in a stack to the user's source by the build's
	// source map. Nil leaves stacks as the worker sends them.
	MapStack func(*cloud.Build, string) string
	// MapText does so in place with the stacks in console lines of the script that
	// is called program. Nil leaves them.
	MapText func(b *cloud.Build, program string, texts []string)
	// CanReadLogs tells whether a principal may see what a script threw. Nil:
	// nobody may.
	CanReadLogs func(principal *cloud.Principal, appID string) bool
	// OnIdle is called each time the last execution has ended, with all that it gave
	// to waitUntil, and has its record. Another may have begun meanwhile. Nil: nobody
	// is told.
	OnIdle func()
	Logger *slog.Logger // nil: slog.Default

	Capacity  int           // executions at once; 32
	AppShare  int           // executions of one app at once; three quarters of Capacity
	Events    int           // of Capacity, what Run may have, and of that one app three quarters; half of Capacity
	AppQueue  int           // requests of one app that may wait for a place; 1024
	QueueWait time.Duration // how long a request waits for a place; 1 s
	IdleStop  time.Duration // how long a worker is kept that runs nothing; 60 s
	StartWait time.Duration // how long a worker may take to stand behind its fences; 5 s

	Now   func() time.Time // time.Now
	NewID func() string    // cloud.NewID
}

// Executor carries out plans: it is the last handler of a request that the
// orchestrator has planned. It is safe for concurrent use.
type Executor struct {
	cfg      Config
	gate     *gate
	pool     *pool
	launcher *launcher

	tally      *tally
	executions atomic.Int64
	refused    atomic.Int64
	deaths     atomic.Int64
	stop       sync.Once
}

// New returns an Executor that starts workers when requests need them. Stop
// ends it. It fails if the worker's binary is not there or not executable.
func New(cfg Config) (*Executor, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.MapStack == nil {
		cfg.MapStack = func(_ *cloud.Build, stack string) string { return stack }
	}
	if cfg.CanReadLogs == nil {
		cfg.CanReadLogs = func(*cloud.Principal, string) bool { return false }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = cloud.NewID
	}
	orDefault(&cfg.Capacity, 32)
	orDefault(&cfg.AppShare, max(1, cfg.Capacity*3/4))
	orDefault(&cfg.Events, max(1, cfg.Capacity/2))
	orDefault(&cfg.AppQueue, 1024)
	orDefault(&cfg.QueueWait, time.Second)
	orDefault(&cfg.IdleStop, time.Minute)
	orDefault(&cfg.StartWait, 5*time.Second)
	if cfg.Capacity < 0 || cfg.AppShare < 0 || cfg.Events < 0 || cfg.AppQueue < 0 {
		return nil, errors.New("executor: capacity, shares and queue must be positive")
	}
	l, err := newLauncher(cfg.Worker)
	if err != nil {
		return nil, err
	}
	x := &Executor{
		cfg: cfg, launcher: l, tally: &tally{empty: make(chan struct{}), idle: cfg.OnIdle},
		gate: &gate{
			capacity: cfg.Capacity, share: min(cfg.AppShare, cfg.Capacity),
			eventCapacity: min(cfg.Events, cfg.Capacity), eventShare: max(1, cfg.Events*3/4),
			queue: cfg.AppQueue, wait: cfg.QueueWait, apps: map[string]*gateApp{},
		},
	}
	x.pool = newPool(func(appID string, memory int64) (*worker, error) {
		w, err := x.startWorker(appID, memory)
		if err != nil {
			cfg.Logger.Error("worker did not start", "app_id", appID, "error", err)
		}
		return w, err
	})
	return x, nil
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// ServeHTTP carries out the plan in the request's context (cloud.WithPlan) and
// answers with what the script says, or with a problem document (RFC 9457). If
// the script fails after its answer has begun, or the request's context ends
// before the answer does, it panics with http.ErrAbortHandler, so that the
// client does not take what it has for the whole.
func (x *Executor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plan := cloud.PlanFrom(r.Context())
	if plan == nil || plan.Script.Build == nil {
		x.cfg.Logger.Error("request without a plan reached the executor", "path", r.URL.Path)
		writeProblem(w, r, problem{err: cloud.Errorf(cloud.CodeInternal, "no script was chosen for this request")})
		return
	}
	e := newExecution(x, plan)
	e.handler, e.trigger, e.method, e.path = fetchHandler, "http", r.Method, r.URL.Path
	e.requestID = requestID(r, e.id0)
	body, err := e.receive(r)
	if err != nil {
		writeProblem(w, r, problem{err: cloud.Errorf(cloud.CodeInvalid, "the request body broke off")})
		return
	}
	if err := x.enter(r.Context(), requests, plan.App.ID); err != nil {
		writeProblem(w, r, problem{err: err})
		return
	}
	e.serve(w, r, body)
}

// enter takes a place in the gate.
func (x *Executor) enter(ctx context.Context, l lane, appID string) error {
	err := error(errStopping)
	if x.tally.add() {
		if err = x.gate.enter(ctx, l, appID); err == nil {
			x.executions.Add(1)
			return nil
		}
		x.tally.done()
	}
	if l == requests {
		x.refused.Add(1)
	}
	return err
}

// Forget ends the workers of an app that is gone, once what they run has ended.
func (x *Executor) Forget(appID string) { x.pool.forget(appID) }

// Retire makes the workers drop the build with this hash (cloud.Build.Hash).
func (x *Executor) Retire(hash string) { x.pool.retire(hash) }

// Stop refuses new executions, waits for those that run until ctx is done, then
// kills all workers and returns when they are gone and every execution has its
// record. A second call waits as well.
func (x *Executor) Stop(ctx context.Context) {
	x.tally.close()
	x.gate.close()
	select {
	case <-x.tally.empty:
	case <-ctx.Done():
	}
	x.pool.close()
	<-x.tally.empty
	x.stop.Do(x.launcher.close)
}

// Stats are what an Executor counts.
type Stats struct {
	Running      int   // executions now
	Waiting      int   // requests and events waiting for a place now
	Workers      int   // worker processes now
	Executions   int64 // begun since the start
	Refused      int64 // requests that got no place since the start
	WorkerDeaths int64 // workers that died or were killed with executions in flight
}

// Stats returns the counts of this moment.
func (x *Executor) Stats() Stats {
	running, waiting := x.gate.count()
	return Stats{
		Running: running, Waiting: waiting, Workers: x.pool.count(),
		Executions: x.executions.Load(), Refused: x.refused.Load(), WorkerDeaths: x.deaths.Load(),
	}
}

// Idle tells whether nothing runs, nothing waits, and no record is being made.
func (x *Executor) Idle() bool { return x.tally.count() == 0 }

// tally counts the executions from their way into the gate to their record.
type tally struct {
	mu     sync.Mutex
	n      int
	closed bool
	empty  chan struct{} // closed when none is left and none may come
	idle   func()        // called when none is left; may be nil
}

// add counts one more, unless the tally is closed.
func (t *tally) add() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.n++
	return true
}

func (t *tally) done() {
	t.mu.Lock()
	t.n--
	none := t.n == 0
	if none && t.closed {
		close(t.empty)
	}
	t.mu.Unlock()
	if none && t.idle != nil {
		t.idle()
	}
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// close lets nobody in any more.
func (t *tally) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 && !t.closed {
		close(t.empty)
	}
	t.closed = true
}
