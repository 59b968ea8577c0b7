package executor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// RecorderConfig says how a Recorder works. Zero fields get the defaults named
// here; Store is required.
type RecorderConfig struct {
	Store  LogStore
	Logger *slog.Logger // nil: slog.Default

	Batch      int           // records that are written at once without waiting; 1,000
	Delay      time.Duration // longest wait of a record for others; 500 ms
	MaxPending int           // records kept while the store is away; 10,000
	MaxBytes   int           // bytes of console lines and errors kept, about; 16 MiB

	SweepAfter int           // records between two sweeps; 2,500
	Retention  time.Duration // age at which records are deleted; 7 days
	Keep       int           // newest records of an app that are kept; 10,000

	Now func() time.Time // time.Now
}

// Recorder writes execution records to the store in batches, behind the answers
// they are about, and shows them live to those who follow. While the store is
// away it keeps a bounded number of them and then drops the oldest. It is safe
// for concurrent use.
type Recorder struct {
	cfg RecorderConfig

	mu       sync.Mutex
	idle     sync.Cond // signalled when no write is under way
	pending  []cloud.Execution
	bytes    int
	timer    *time.Timer
	armed    bool
	writing  bool
	stopping bool
	failures int
	unswept  int
	dropped  int64
	tails    map[*tail]struct{}
}

// tail is one who follows an app's records.
type tail struct {
	appID, scriptID string
	records         chan cloud.Execution
}

// tailBuffer is how many records one who follows may be behind.
const tailBuffer = 256

// NewRecorder returns a Recorder. It runs nothing while there is nothing to
// write; Stop writes what is left.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	if cfg.Store == nil {
		return nil, errors.New("executor: a recorder needs a store")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	orDefault(&cfg.Batch, 1000)
	orDefault(&cfg.Delay, 500*time.Millisecond)
	orDefault(&cfg.MaxPending, 10_000)
	orDefault(&cfg.MaxBytes, 16<<20)
	orDefault(&cfg.SweepAfter, 2500)
	orDefault(&cfg.Retention, 7*24*time.Hour)
	orDefault(&cfg.Keep, 10_000)
	r := &Recorder{cfg: cfg, tails: map[*tail]struct{}{}}
	r.idle.L = &r.mu
	return r, nil
}

// Add takes a record. It never waits for the store. After Stop, records are
// dropped.
func (r *Recorder) Add(record cloud.Execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range r.tails {
		if t.appID == record.AppID && (t.scriptID == "" || t.scriptID == record.ScriptID) {
			select {
			case t.records <- record:
			default: // it is too slow; the log itself has the record
			}
		}
	}
	if r.stopping {
		r.dropped++
		return
	}
	r.pending = append(r.pending, record)
	r.bytes += weight(&record)
	r.trim()
	r.schedule()
}

// trim drops the oldest records beyond the bounds. The mutex is held.
func (r *Recorder) trim() {
	n := 0
	for len(r.pending)-n > r.cfg.MaxPending || r.bytes > r.cfg.MaxBytes && n < len(r.pending) {
		r.bytes -= weight(&r.pending[n])
		r.pending[n] = cloud.Execution{}
		n++
	}
	r.pending = r.pending[n:]
	r.dropped += int64(n)
}

// schedule sees to it that what is pending gets written. The mutex is held.
func (r *Recorder) schedule() {
	switch {
	case r.writing || len(r.pending) == 0:
	case len(r.pending) >= r.cfg.Batch && r.failures == 0 || r.stopping:
		if r.armed {
			r.timer.Stop()
			r.armed = false
		}
		r.writing = true
		go r.write()
	case !r.armed:
		// A store that is away is tried again after 1, 2, 4 … 32 delays.
		delay := r.cfg.Delay << min(r.failures, 6)
		r.armed = true
		r.timer = time.AfterFunc(delay, r.due)
	}
}

// due is called when the oldest record has waited long enough.
func (r *Recorder) due() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.armed || r.writing {
		return
	}
	r.armed = false
	r.writing = true
	go r.write()
}

// write writes batches while there is enough for one.
func (r *Recorder) write() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for first := true; first || len(r.pending) >= r.cfg.Batch && r.failures == 0; first = false {
		batch, bytes := r.pending, r.bytes
		r.pending, r.bytes = nil, 0
		r.unswept += len(batch)
		sweep := r.unswept >= r.cfg.SweepAfter
		r.mu.Unlock()
		err := r.append(batch)
		if err == nil && sweep {
			r.sweep()
		}
		r.mu.Lock()
		if err != nil {
			r.unswept -= len(batch)
			if r.failures++; r.failures == 1 {
				r.cfg.Logger.Warn("execution log is not being written", "records", len(batch), "error", err)
			}
			r.pending = append(batch, r.pending...)
			r.bytes += bytes
			r.trim()
			break
		}
		if r.failures > 0 {
			r.cfg.Logger.Info("execution log is being written again", "failed_writes", r.failures, "dropped_so_far", r.dropped)
			r.failures = 0
		}
		if sweep {
			r.unswept = 0
		}
	}
	r.writing = false
	r.idle.Broadcast()
	if !r.stopping {
		r.schedule()
	}
}

// storeTimeout bounds one write to the store.
const storeTimeout = 30 * time.Second

func (r *Recorder) append(batch []cloud.Execution) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return r.cfg.Store.AppendExecutions(ctx, batch)
}

// sweep deletes what is too old or too much. It is tried again with the next
// sweep if it fails.
func (r *Recorder) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := r.cfg.Store.SweepExecutions(ctx, r.cfg.Now().Add(-r.cfg.Retention), r.cfg.Keep); err != nil {
		r.cfg.Logger.Warn("execution log could not be swept", "error", err)
	}
}

// Tail returns the records of the app, or of one of its scripts, as they are
// made from now on, until ctx is done or the Recorder stops; then the channel is
// closed. Who falls more than 256 records behind misses some.
func (r *Recorder) Tail(ctx context.Context, appID, scriptID string) <-chan cloud.Execution {
	t := &tail{appID: appID, scriptID: scriptID, records: make(chan cloud.Execution, tailBuffer)}
	r.mu.Lock()
	if r.stopping {
		close(t.records)
	} else {
		r.tails[t] = struct{}{}
		context.AfterFunc(ctx, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.end(t)
		})
	}
	r.mu.Unlock()
	return t.records
}

// end closes a tail once. The mutex is held.
func (r *Recorder) end(t *tail) {
	if _, ok := r.tails[t]; ok {
		delete(r.tails, t)
		close(t.records)
	}
}

// Flush writes what is pending now, so that who reads the log next sees it. It
// returns when that is done, was tried in vain, or ctx is done.
func (r *Recorder) Flush(ctx context.Context) {
	wake := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.idle.Broadcast()
	})
	defer wake()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.writing && ctx.Err() == nil {
		r.idle.Wait()
	}
	if r.writing || r.stopping || r.failures > 0 || len(r.pending) == 0 {
		return
	}
	if r.armed {
		r.timer.Stop()
		r.armed = false
	}
	r.writing = true
	go r.write()
	for r.writing && ctx.Err() == nil {
		r.idle.Wait()
	}
}

// Dropped is how many records were lost since the start because the store was
// away too long.
func (r *Recorder) Dropped() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Stop writes what is pending, sweeps, and ends all tails. It returns when that
// is done or ctx is, dropping what could not be written. A second call waits
// for a write under way and does no more.
func (r *Recorder) Stop(ctx context.Context) {
	r.mu.Lock()
	first := !r.stopping
	r.stopping = true
	for t := range r.tails {
		r.end(t)
	}
	if r.armed {
		r.timer.Stop()
		r.armed = false
	}
	r.mu.Unlock()
	wake := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.idle.Broadcast()
	})
	defer wake()

	r.mu.Lock()
	defer r.mu.Unlock()
	for r.writing && ctx.Err() == nil {
		r.idle.Wait()
	}
	if !first || ctx.Err() != nil {
		return
	}
	if batch := r.pending; len(batch) > 0 {
		r.pending, r.bytes = nil, 0
		r.unswept += len(batch)
		r.mu.Unlock()
		err := r.cfg.Store.AppendExecutions(ctx, batch)
		r.mu.Lock()
		if err != nil {
			r.dropped += int64(len(batch))
			r.cfg.Logger.Warn("execution log records were lost at stop", "records", len(batch), "error", err)
			return
		}
	}
	if r.unswept > 0 {
		r.unswept = 0
		r.mu.Unlock()
		r.sweep()
		r.mu.Lock()
	}
}

// weight is about how many bytes a record holds beside its fixed part.
func weight(e *cloud.Execution) int {
	n := len(e.Path)
	for i := range e.Lines {
		n += len(e.Lines[i].Text) + 64
	}
	if e.Error != nil {
		n += len(e.Error.Message) + len(e.Error.Stack)
	}
	return n
}
