package sleep

import (
	"log/slog"
	"sync"
	"time"
)

// Config is what a Keeper needs. End is required.
type Config struct {
	// Busy says what needs the process although nobody has entered, such as "scripts
	// run"; "": nothing. Whoever it speaks of calls Touch once that has changed: it
	// is not asked again before. It may be called from any goroutine. Nil: nothing
	// ever does.
	Busy func() string
	// End ends the process. It is called once, and on a goroutine of its own.
	End    func()
	Logger *slog.Logger // nil: slog.Default
}

// Keeper decides when nothing needs the process any more. It is safe for
// concurrent use, and costs nothing while nothing changes: one timer runs, and only
// while nobody has entered and nobody has said to be busy.
type Keeper struct {
	cfg Config

	mu      sync.Mutex
	after   time.Duration // 0: it has not been started
	entered int
	turn    uint64 // counts what may put off the end
	timer   *time.Timer
	ended   bool
}

// New returns a Keeper that ends nothing before Start.
func New(cfg Config) *Keeper {
	if cfg.Busy == nil {
		cfg.Busy = func() string { return "" }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Keeper{cfg: cfg}
}

// Start lets the process end once nothing has needed it for so long, from now on.
// It may be called again, with another time.
func (k *Keeper) Start(after time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.after = after
	k.move()
}

// Enter says that something begins that needs the process: a connection or a
// request. Leave says that it has ended.
func (k *Keeper) Enter() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entered++
	if k.entered == 1 {
		k.move()
	}
}

// Leave ends what Enter began.
func (k *Keeper) Leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entered--
	if k.entered == 0 {
		k.move()
	}
}

// Touch says that something has been done, or that somebody of whom Busy spoke is
// not busy any more. Call it without holding what Busy may wait for.
func (k *Keeper) Touch() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.entered == 0 {
		k.move()
	}
}

// Stop gives up ending the process.
func (k *Keeper) Stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	k.move()
}

// move begins the time anew, or ends it while somebody is in. The mutex is held.
func (k *Keeper) move() {
	k.turn++
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	if k.after == 0 || k.ended || k.entered > 0 {
		return
	}
	turn := k.turn
	k.timer = time.AfterFunc(k.after, func() { k.expire(turn) })
}

// expire ends the process unless something has moved since the turn.
func (k *Keeper) expire(turn uint64) {
	reason := k.cfg.Busy()
	k.mu.Lock()
	if k.turn != turn {
		k.mu.Unlock()
		return
	}
	k.timer = nil
	k.ended = reason == ""
	after := k.after
	k.mu.Unlock()
	if reason != "" {
		k.cfg.Logger.Debug("staying awake", "reason", reason)
		return
	}
	k.cfg.Logger.Info("nothing needs PiCloud: going to sleep", "idle", after)
	k.cfg.End()
}
