package sleep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// LedgerConfig is what a Ledger needs. Zero fields get the defaults named here.
type LedgerConfig struct {
	File  string          // where the days are kept
	Cause cloud.WakeCause // why the process was started; "": by boot or by hand, which Boot tells
	Boot  string          // names this run of the machine; "": not known
	Read  func() Usage    // what has been used
	Keep  int             // days that are kept; 400

	Logger *slog.Logger     // nil: slog.Default
	Now    func() time.Time // time.Now, whose time zone is that of the days
}

// Ledger keeps account of what being awake takes, by day. It does so in memory,
// and works only when it is asked: Save, on the way to sleep, puts it into the file.
// It is safe for concurrent use; only one may have a file.
type Ledger struct {
	cfg   LedgerConfig
	began time.Time

	mu     sync.Mutex
	read   bool // the file was
	keep   bool // the file may be replaced
	cause  cloud.WakeCause
	book   book
	until  time.Time // what came before is in the book
	counts Usage     // what was used until then
}

// book is the content of the file.
type book struct {
	Boot  string         `json:"boot,omitempty"`
	Slept time.Time      `json:"slept,omitzero"`
	Days  map[string]day `json:"days"`
}

// day is what one day took, in milliseconds and bytes.
type day struct {
	Awake           int64                   `json:"awake_ms"`
	Wakes           map[cloud.WakeCause]int `json:"wakes,omitempty"`
	CPU             int64                   `json:"cpu_ms"`
	Written         int64                   `json:"written"`
	DatabaseCPU     *int64                  `json:"database_cpu_ms,omitempty"`
	DatabaseWritten *int64                  `json:"database_written,omitempty"`
}

// NewLedger returns a Ledger of a process that begins now. It reads no file yet.
func NewLedger(cfg LedgerConfig) *Ledger {
	if cfg.Keep == 0 {
		cfg.Keep = 400
	}
	if cfg.Read == nil {
		cfg.Read = Meter{}.Read
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Ledger{cfg: cfg, began: cfg.Now()}
	l.until = l.began
	before := cfg.Read() // this process began with nothing; the database may run already
	l.counts.DatabaseCPU, l.counts.DatabaseWritten = before.DatabaseCPU, before.DatabaseWritten
	return l
}

// Energy returns the last days, at most so many, with what this day took so far.
func (l *Ledger) Energy(days int) cloud.Energy {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.account()
	e := cloud.Energy{AwakeSince: now.Add(-now.Sub(l.began)).Round(0), WokenBy: l.cause, LastSleep: l.book.Slept}
	names := slices.Sorted(maps.Keys(l.book.Days))
	slices.Reverse(names)
	for _, name := range names[:min(days, len(names))] {
		d := l.book.Days[name]
		e.Days = append(e.Days, cloud.EnergyDay{
			Day: name, Awake: duration(d.Awake), Wakes: maps.Clone(d.Wakes), CPU: duration(d.CPU), Written: d.Written,
			DatabaseCPU: mapped(d.DatabaseCPU, duration), DatabaseWritten: mapped(d.DatabaseWritten, func(n int64) int64 { return n }),
		})
	}
	return e
}

func duration(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func mapped[A, B any](from *A, f func(A) B) *B {
	if from == nil {
		return nil
	}
	to := f(*from)
	return &to
}

// Save puts the account into the file, which it replaces as a whole, and notes that
// the process goes to sleep.
func (l *Ledger) Save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.account()
	if !l.keep {
		return fmt.Errorf("%s could not be read and is left as it is", l.cfg.File)
	}
	book := l.book
	book.Slept = now.Round(0)
	if l.cfg.Boot != "" {
		book.Boot = l.cfg.Boot
	}
	text, err := json.Marshal(book)
	if err != nil {
		return err
	}
	return replace(l.cfg.File, append(text, '\n'))
}

// replace makes text the content of a file, durably, or leaves it as it is.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".energy-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// account puts what was used since the last time into the book, and returns the
// time. The mutex is held.
func (l *Ledger) account() time.Time {
	now, counts := l.cfg.Now(), l.cfg.Read()
	l.open(now)
	// By the clock as it is now: it may have been set meanwhile.
	start := now.Add(-now.Sub(l.until))
	l.spread(start, now, l.counts, counts)
	for len(l.book.Days) > l.cfg.Keep {
		delete(l.book.Days, slices.Min(slices.Collect(maps.Keys(l.book.Days))))
	}
	l.until, l.counts = now, counts
	return now
}

// open reads the file once, and notes that the process was started.
func (l *Ledger) open(now time.Time) {
	if l.read {
		return
	}
	l.read, l.keep = true, true
	text, err := os.ReadFile(l.cfg.File)
	if err == nil {
		if err = json.Unmarshal(text, &l.book); err != nil {
			l.book = book{}
			aside := l.cfg.File + ".damaged"
			l.cfg.Logger.Warn("the energy ledger cannot be read: it is put aside, and a new one begins",
				"file", l.cfg.File, "aside", aside, "error", errors.Join(err, os.Rename(l.cfg.File, aside)))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		l.keep = false
		l.cfg.Logger.Warn("the energy ledger cannot be read", "file", l.cfg.File, "error", err)
	}
	if l.book.Days == nil {
		l.book.Days = map[string]day{}
	}
	if l.cause = l.cfg.Cause; l.cause == "" {
		l.cause = cloud.WokenByStart
		if l.cfg.Boot != "" && l.cfg.Boot != l.book.Boot {
			l.cause = cloud.WokenByBoot
		}
	}
	name := now.Add(-now.Sub(l.began)).Format(time.DateOnly)
	d := l.book.Days[name]
	if d.Wakes == nil {
		d.Wakes = map[cloud.WakeCause]int{}
	}
	d.Wakes[l.cause]++
	l.book.Days[name] = d
}

// spread gives what was used between two moments to the days between, in
// proportion to the time.
func (l *Ledger) spread(start, end time.Time, from, to Usage) {
	all := end.Sub(start)
	var given share
	total := share{
		awake: all.Milliseconds(), cpu: (to.CPU - from.CPU).Milliseconds(), written: to.Written - from.Written,
		databaseCPU:     since(mapped(from.DatabaseCPU, time.Duration.Milliseconds), mapped(to.DatabaseCPU, time.Duration.Milliseconds)),
		databaseWritten: since(from.DatabaseWritten, to.DatabaseWritten),
	}
	for at := start; ; {
		year, month, date := at.Date()
		midnight := time.Date(year, month, date+1, 0, 0, 0, 0, at.Location())
		upTo := total
		last := !midnight.Before(end)
		if !last {
			upTo = total.times(float64(midnight.Sub(start)) / float64(all))
		}
		l.add(at.Format(time.DateOnly), upTo.minus(given))
		if last {
			return
		}
		given, at = upTo, midnight
	}
}

// since is what a count has grown; one that is smaller has begun anew meanwhile.
func since(from, to *int64) *int64 {
	if to == nil {
		return nil
	}
	grown := *to
	if from != nil && *from <= *to {
		grown -= *from
	}
	return &grown
}

// share is a part of what was used, in milliseconds and bytes.
type share struct {
	awake, cpu, written          int64
	databaseCPU, databaseWritten *int64
}

func (s share) times(f float64) share {
	part := func(n int64) int64 { return int64(float64(n) * f) }
	return share{
		awake: part(s.awake), cpu: part(s.cpu), written: part(s.written),
		databaseCPU: mapped(s.databaseCPU, part), databaseWritten: mapped(s.databaseWritten, part),
	}
}

func (s share) minus(t share) share {
	less := func(a, b *int64) *int64 {
		if a == nil || b == nil {
			return a
		}
		n := *a - *b
		return &n
	}
	return share{
		awake: s.awake - t.awake, cpu: s.cpu - t.cpu, written: s.written - t.written,
		databaseCPU: less(s.databaseCPU, t.databaseCPU), databaseWritten: less(s.databaseWritten, t.databaseWritten),
	}
}

// add puts a share to a day.
func (l *Ledger) add(name string, s share) {
	d := l.book.Days[name]
	d.Awake += s.awake
	d.CPU += s.cpu
	d.Written += s.written
	for _, sum := range []struct {
		to   **int64
		more *int64
	}{{&d.DatabaseCPU, s.databaseCPU}, {&d.DatabaseWritten, s.databaseWritten}} {
		if sum.more == nil {
			continue
		}
		n := *sum.more
		if *sum.to != nil {
			n += **sum.to
		}
		*sum.to = &n
	}
	l.book.Days[name] = d
}
