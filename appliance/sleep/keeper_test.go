package sleep_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/appliance/sleep"
)

const idle = time.Minute

// kept is a Keeper in a bubble, and what it did.
type kept struct {
	*sleep.Keeper
	t     *testing.T
	busy  atomic.Value // string
	asked atomic.Int64
	ends  atomic.Int64
}

func keep(t *testing.T, f func(k *kept)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{t: t}
		k.busy.Store("")
		k.Keeper = sleep.New(sleep.Config{
			Busy: func() string { k.asked.Add(1); return k.busy.Load().(string) },
			End:  func() { k.ends.Add(1) },
		})
		f(k)
	})
}

// after lets time pass and says how often the process has ended by then.
func (k *kept) after(d time.Duration, ends int64) {
	k.t.Helper()
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
	if got := k.ends.Load(); got != ends {
		k.t.Fatalf("after %s it has ended %d times, want %d", d, got, ends)
	}
}

func TestKeeper_EndsAfterTheTime(t *testing.T) {
	keep(t, func(k *kept) {
		k.after(time.Hour, 0) // it has not been started
		k.Start(idle)
		k.after(idle-time.Second, 0)
		k.after(time.Second, 1)
		k.Touch()
		k.Enter()
		k.Leave()
		k.after(time.Hour, 1) // once
	})
}

func TestKeeper_StaysWhileSomebodyIsIn(t *testing.T) {
	keep(t, func(k *kept) {
		k.Enter() // before the start
		k.Start(idle)
		k.after(time.Hour, 0)
		k.Enter()
		k.Leave()
		k.after(time.Hour, 0)
		k.Leave()
		k.after(idle-time.Second, 0)
		k.Enter() // a moment before the end
		k.after(time.Hour, 0)
		if asked := k.asked.Load(); asked != 0 {
			t.Errorf("it asked %d times who was busy while somebody was in", asked)
		}
		k.Leave()
		k.after(idle, 1)
	})
}

func TestKeeper_BeginsAnewWhenTouched(t *testing.T) {
	keep(t, func(k *kept) {
		k.Start(idle)
		for range 10 {
			k.after(idle-time.Second, 0)
			k.Touch()
		}
		k.after(idle, 1)
	})
}

// TestKeeper_AsksTheBusyOnce shows that nothing ticks while somebody is busy: one
// question, and the next when they say that they have ended.
func TestKeeper_AsksTheBusyOnce(t *testing.T) {
	for name, end := range map[string]func(*kept){
		"until a touch":      func(k *kept) { k.Touch() },
		"until a connection": func(k *kept) { k.Enter(); k.Leave() },
	} {
		t.Run(name, func(t *testing.T) {
			keep(t, func(k *kept) {
				k.Start(idle)
				k.busy.Store("scripts run")
				k.after(24*time.Hour, 0)
				if asked := k.asked.Load(); asked != 1 {
					t.Errorf("it asked %d times, want once", asked)
				}
				k.busy.Store("")
				k.after(24*time.Hour, 0)
				end(k)
				k.after(idle, 1)
			})
		})
	}
}

// TestKeeper_WhatComesWhileItAsks shows that an end of being busy is not missed
// that comes between the question and what is made of the answer.
func TestKeeper_WhatComesWhileItAsks(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		do     func(*sleep.Keeper)
		leave  bool
	}{
		"a touch, busy until then": {"busy", (*sleep.Keeper).Touch, false},
		"a touch":                  {"", (*sleep.Keeper).Touch, false},
		"a connection":             {"", (*sleep.Keeper).Enter, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var k *sleep.Keeper
				asked, ends := 0, 0
				k = sleep.New(sleep.Config{
					Busy: func() string {
						if asked++; asked == 1 {
							tt.do(k)
							return tt.answer
						}
						return ""
					},
					End: func() { ends++ },
				})
				k.Start(idle)
				time.Sleep(idle)
				synctest.Wait()
				if ends != 0 {
					t.Fatal("it ended although something came")
				}
				if tt.leave {
					time.Sleep(time.Hour)
					k.Leave()
				}
				time.Sleep(idle)
				synctest.Wait()
				if ends != 1 || asked != 2 {
					t.Errorf("it ended %d times and asked %d times, want 1 and 2", ends, asked)
				}
			})
		})
	}
}

func TestKeeper_Stop(t *testing.T) {
	keep(t, func(k *kept) {
		k.Start(idle)
		k.after(idle-time.Second, 0)
		k.Stop()
		k.Touch()
		k.Enter()
		k.Leave()
		k.after(time.Hour, 0)
	})
}

func TestKeeper_StartAgainChangesTheTime(t *testing.T) {
	keep(t, func(k *kept) {
		k.Start(idle)
		k.after(idle-time.Second, 0)
		k.Start(3 * idle)
		k.after(3*idle-time.Second, 0)
		k.after(time.Second, 1)
	})
}

// TestKeeper_Race has many come and go at once: the end comes once, after the last.
func TestKeeper_Race(t *testing.T) {
	keep(t, func(k *kept) {
		var inside atomic.Int64
		k.Start(time.Millisecond)
		k.Enter()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for i := range 20 {
					k.Enter()
					inside.Add(1)
					time.Sleep(time.Duration(i) * time.Millisecond)
					k.Touch()
					if k.ends.Load() != 0 {
						t.Error("it ended while somebody was in")
					}
					inside.Add(-1)
					k.Leave()
				}
			})
		}
		all.Wait()
		k.Leave()
		k.after(time.Second, 1)
	})
}
