package sleep_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/appliance/sleep"
	"github.com/picloud/picloud/services/cloud"
)

// board has a clock and counters that a test sets.
type board struct {
	t     *testing.T
	file  string
	now   time.Time
	usage sleep.Usage
	log   bytes.Buffer
}

func newBoard(t *testing.T) *board {
	return &board{t: t, file: filepath.Join(t.TempDir(), "energy.json"), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
}

// start is a process that begins now.
func (b *board) start(cause cloud.WakeCause, boot string) *sleep.Ledger {
	return sleep.NewLedger(sleep.LedgerConfig{
		File: b.file, Cause: cause, Boot: boot, Keep: 3,
		Read:   func() sleep.Usage { return b.usage },
		Logger: slog.New(slog.NewTextHandler(&b.log, nil)), Now: func() time.Time { return b.now },
	})
}

func (b *board) save(l *sleep.Ledger) {
	b.t.Helper()
	if err := l.Save(); err != nil {
		b.t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

func TestLedger(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	first := b.start(cloud.WokenByRequest, "boot-1")
	b.now = b.now.Add(90 * time.Second)
	b.usage = sleep.Usage{CPU: 2 * time.Second, Written: 4096, DatabaseCPU: ptr(time.Second), DatabaseWritten: ptr(int64(8192))}
	if got, want := first.Energy(10), (cloud.Energy{
		AwakeSince: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), WokenBy: cloud.WokenByRequest,
		Days: []cloud.EnergyDay{{
			Day: "2026-11-24", Awake: 90 * time.Second, Wakes: map[cloud.WakeCause]int{cloud.WokenByRequest: 1},
			CPU: 2 * time.Second, Written: 4096, DatabaseCPU: ptr(time.Second), DatabaseWritten: ptr(int64(8192)),
		}},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	b.now = b.now.Add(10 * time.Second)
	b.usage.CPU += time.Second
	b.save(first)
	slept := b.now

	// The next process counts its own from nothing; the database still runs.
	b.now = b.now.Add(time.Hour)
	b.usage = sleep.Usage{DatabaseCPU: ptr(5 * time.Second), DatabaseWritten: ptr(int64(10_000))}
	second := b.start(cloud.WokenBySchedule, "boot-1")
	b.now = b.now.Add(20 * time.Second)
	b.usage = sleep.Usage{CPU: time.Second, Written: 1, DatabaseCPU: ptr(6 * time.Second), DatabaseWritten: ptr(int64(10_100))}
	got := second.Energy(10)
	want := cloud.Energy{
		AwakeSince: slept.Add(time.Hour), WokenBy: cloud.WokenBySchedule, LastSleep: slept,
		Days: []cloud.EnergyDay{{
			Day: "2026-11-24", Awake: 2 * time.Minute, Wakes: map[cloud.WakeCause]int{cloud.WokenByRequest: 1, cloud.WokenBySchedule: 1},
			CPU: 4 * time.Second, Written: 4097, DatabaseCPU: ptr(2 * time.Second), DatabaseWritten: ptr(int64(8292)),
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again := second.Energy(10); !reflect.DeepEqual(again, want) {
		t.Errorf("asked again it says %+v", again)
	}
}

// TestLedger_OverMidnight shows that a day gets its part of what took longer.
func TestLedger_OverMidnight(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	b.now = time.Date(2026, 11, 24, 18, 0, 0, 0, time.UTC)
	l := b.start(cloud.WokenByRequest, "")
	b.now = b.now.Add(24 * time.Hour)
	b.usage = sleep.Usage{CPU: 8 * time.Second, Written: 1000, DatabaseCPU: ptr(4 * time.Second)}
	got := l.Energy(10).Days
	want := []cloud.EnergyDay{
		{Day: "2026-11-25", Awake: 18 * time.Hour, CPU: 6 * time.Second, Written: 750, DatabaseCPU: ptr(3 * time.Second)},
		{Day: "2026-11-24", Awake: 6 * time.Hour, Wakes: map[cloud.WakeCause]int{cloud.WokenByRequest: 1}, CPU: 2 * time.Second, Written: 250, DatabaseCPU: ptr(time.Second)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestLedger_TheDatabaseBegins shows that a database that was started after the
// process, or anew, counts from nothing.
func TestLedger_TheDatabaseBegins(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	l := b.start(cloud.WokenByRequest, "")
	steps := []struct {
		cpu  *time.Duration
		want *time.Duration
	}{
		{nil, nil},
		{ptr(2 * time.Second), ptr(2 * time.Second)},
		{ptr(3 * time.Second), ptr(3 * time.Second)},
		{nil, ptr(3 * time.Second)},
		{ptr(time.Second), ptr(4 * time.Second)},
		{ptr(500 * time.Millisecond), ptr(4500 * time.Millisecond)},
	}
	for i, step := range steps {
		b.usage.DatabaseCPU = step.cpu
		if got := l.Energy(1).Days[0].DatabaseCPU; !reflect.DeepEqual(got, step.want) {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestLedger_Causes(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	for _, tt := range []struct {
		cause cloud.WakeCause
		boot  string
		want  cloud.WakeCause
	}{
		{"", "boot-1", cloud.WokenByBoot},
		{"", "boot-1", cloud.WokenByStart},
		{cloud.WokenBySchedule, "boot-1", cloud.WokenBySchedule},
		{"", "boot-2", cloud.WokenByBoot},
		{"", "", cloud.WokenByStart},
		{cloud.WokenByRequest, "boot-3", cloud.WokenByRequest},
		{"", "boot-3", cloud.WokenByStart}, // the first of this boot was the request
	} {
		l := b.start(tt.cause, tt.boot)
		if got := l.Energy(1).WokenBy; got != tt.want {
			t.Errorf("started by %q in %q: %q, want %q", tt.cause, tt.boot, got, tt.want)
		}
		b.save(l)
	}
	got := b.start(cloud.WokenByRequest, "").Energy(1).Days[0].Wakes
	if want := (map[cloud.WakeCause]int{cloud.WokenByBoot: 2, cloud.WokenByStart: 3, cloud.WokenBySchedule: 1, cloud.WokenByRequest: 2}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLedger_KeepsTheLastDays(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	for range 5 {
		b.save(b.start(cloud.WokenByRequest, ""))
		b.now = b.now.AddDate(0, 0, 1)
	}
	b.now = b.now.AddDate(0, 0, -1)
	var names []string
	for _, d := range b.start(cloud.WokenByRequest, "").Energy(400).Days {
		names = append(names, d.Day)
	}
	if got, want := fmt.Sprint(names), "[2026-11-28 2026-11-27 2026-11-26]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if days := b.start(cloud.WokenByRequest, "").Energy(2).Days; len(days) != 2 {
		t.Errorf("asked for two days, got %d", len(days))
	}
}

// TestLedger_ADamagedFile is put aside, and a new one begins.
func TestLedger_ADamagedFile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"cut off": `{"days":{"2026-11-23":{"awa`, "empty": "", "of another shape": `{"days":[1]}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(t)
			if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			b.save(b.start(cloud.WokenByRequest, ""))
			if aside, err := os.ReadFile(b.file + ".damaged"); err != nil || string(aside) != text {
				t.Errorf("put aside: %q %v", aside, err)
			}
			if fresh, err := os.ReadFile(b.file); err != nil || !json.Valid(fresh) || !strings.Contains(string(fresh), "2026-11-24") {
				t.Errorf("begun anew: %q %v", fresh, err)
			}
			if !strings.Contains(b.log.String(), "put aside") {
				t.Errorf("the log says %q", &b.log)
			}
		})
	}
}

// TestLedger_AFileThatCannotBeRead is not replaced.
func TestLedger_AFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	if err := os.Mkdir(b.file, 0o755); err != nil {
		t.Fatal(err)
	}
	l := b.start(cloud.WokenByRequest, "")
	if err := l.Save(); err == nil || !strings.Contains(err.Error(), "left as it is") {
		t.Errorf("got %v", err)
	}
	if got := l.Energy(1).Days; len(got) != 1 {
		t.Errorf("in memory: %v", got)
	}
}

// TestLedger_NoTraces shows that a folder that cannot be written keeps what it had.
func TestLedger_NoTraces(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	b.file = filepath.Join(filepath.Dir(b.file), "missing", "energy.json")
	if err := b.start(cloud.WokenByRequest, "").Save(); err == nil {
		t.Error("it was written into a folder that is not there")
	}
}
