package caddycloud

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// clockWatch tells when the time of day was set. Nothing happens, and no thread
// waits, while it is not.
type clockWatch struct {
	set   chan struct{}
	timer *os.File
	ended chan struct{}
}

// watchClock begins to watch, with a timer of the kernel that is cancelled when the
// clock is set. It goes off by itself in 2262, or at a moment that a test sets, in
// nanoseconds since 1970; that counts as well. Close ends it.
func watchClock(at int64) (*clockWatch, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	w := &clockWatch{set: make(chan struct{}, 1), timer: os.NewFile(uintptr(fd), "clock"), ended: make(chan struct{})}
	if err := w.arm(at); err != nil {
		return nil, errors.Join(err, w.timer.Close())
	}
	go w.watch()
	return w, nil
}

// never is the last moment that a timer can be set to.
const never = math.MaxInt64

// arm sets the timer. A clock that was set meanwhile is no error: the timer is
// armed, and says so when it is read.
func (w *clockWatch) arm(at int64) error {
	conn, err := w.timer.SyscallConn()
	if err != nil {
		return err
	}
	var armed error
	err = conn.Control(func(fd uintptr) {
		armed = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &unix.ItimerSpec{Value: unix.NsecToTimespec(at)}, nil)
	})
	if errors.Is(armed, unix.ECANCELED) {
		armed = nil
	}
	return errors.Join(err, os.NewSyscallError("timerfd_settime", armed))
}

func (w *clockWatch) watch() {
	defer close(w.ended)
	var expired [8]byte
	for {
		if _, err := w.timer.Read(expired[:]); err != nil && !errors.Is(err, unix.ECANCELED) {
			return // closed
		}
		select {
		case w.set <- struct{}{}:
		default:
		}
		if w.arm(never) != nil {
			return
		}
	}
}

// Close ends the watch.
func (w *clockWatch) Close() {
	_ = w.timer.Close()
	<-w.ended
}
