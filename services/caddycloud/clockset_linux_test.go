package caddycloud

import (
	"testing"
	"time"
)

// Setting the clock would disturb everybody on the machine: here the timer goes off
// instead, which wakes the same reader. That the kernel cancels it when the clock is
// set stands in timerfd_create(2).
func TestClockWatch(t *testing.T) {
	t.Parallel()
	w, err := watchClock(time.Now().Add(10 * time.Millisecond).UnixNano())
	if err != nil {
		t.Fatal(err)
	}
	<-w.set
	select {
	case <-w.ended:
		t.Error("the watch ended with the first time")
	default:
	}
	w.Close()
	select {
	case <-w.set:
		t.Error("closing it counts as setting the clock")
	default:
	}
}

func TestClockWatch_ends(t *testing.T) {
	t.Parallel()
	w, err := watchClock(never)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	select {
	case <-w.set:
		t.Error("the clock was not set")
	default:
	}
}
