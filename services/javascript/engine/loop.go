package engine

import (
	"time"
)

// loop runs what arrives until done says so. Each round handles all messages
// and due timers there are, then waits. If nothing is left that could arrive,
// it returns never.
func (r *Runtime) loop(done func() bool, never error) error {
	x := r.x
	var spare []message
	for {
		r.reportRejections()
		if done() {
			return nil
		}
		messages := x.take(spare)
		for i := range messages {
			if err := r.handle(&messages[i]); err != nil {
				return err
			}
			messages[i] = message{}
		}
		fired, err := r.timers.fire(r, now())
		if err != nil {
			return err
		}
		if len(messages) > 0 || fired {
			spare = messages
			continue
		}
		if x.Killed() != "" {
			r.dead = true
			return r.killedFailure(nil)
		}
		if !r.expecting() {
			return never
		}
		x.leave()
		x.host.Flush()
		r.wait()
		x.enter()
	}
}

// expecting tells whether anything can still arrive that moves the execution on.
func (r *Runtime) expecting() bool {
	return len(r.calls) > 0 || r.timers.any() || r.answer.blocked() ||
		r.incoming != nil && !r.incoming.ended && (r.incoming.collects != nil || r.incoming.pulls != nil) ||
		len(r.aborts) > 0 && !r.canceled
}

// wait returns when a message has arrived or a timer is due.
func (r *Runtime) wait() {
	due, ok := r.timers.next()
	if !ok {
		<-r.x.wake
		return
	}
	t := time.NewTimer(due - now())
	defer t.Stop()
	select {
	case <-r.x.wake:
	case <-t.C:
	}
}

// handle does what a message asks for. Promise jobs run before it returns.
func (r *Runtime) handle(m *message) error {
	return r.turn(func() {
		switch m.kind {
		case hostResult:
			r.answered(m.result)
		case bodyChunk:
			if r.incoming != nil {
				r.incoming.chunk(m.data)
			}
		case bodyEnd:
			if r.incoming != nil {
				r.incoming.end("")
			}
		case bodyError:
			if r.incoming != nil {
				r.incoming.end(m.text)
			}
		case credit:
			r.answer.credit += m.n
			r.pump()
		case cancel:
			r.cancel()
		}
	})
}

// turn runs f as one turn of the event loop, from outside JavaScript.
func (r *Runtime) turn(f func()) (err error) {
	if ex := r.vm.Try(f); ex != nil {
		return ex
	}
	return nil
}

// cancel tells the script that nobody waits for its answer.
func (r *Runtime) cancel() {
	if r.canceled {
		return
	}
	r.canceled = true
	for _, f := range r.aborts {
		f()
	}
	r.aborts = nil
	r.dropAnswer()
}

// reportRejections logs the promises that were rejected in this turn and that
// nobody waits for.
func (r *Runtime) reportRejections() {
	for len(r.rejections) > 0 {
		p := r.rejections[0]
		r.rejections = r.rejections[1:]
		r.log("error", "Uncaught (in promise) "+r.inspectError(p.Result()))
	}
}
