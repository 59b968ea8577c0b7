package worker

import "sync"

// runners are the goroutines on which executions run. One lives on for the next
// execution, because a new goroutine would grow its stack anew each time, which
// costs as much as a short handler itself.
//
// Each job wakes or starts a runner; but one that has just ended takes the next
// job before the woken one gets to it. So the short executions that arrive
// together run one after the other on the same runtime, warm in the cache,
// while one that computes for long holds up nobody.
type runners struct {
	idle    int // runners that may wait
	running sync.WaitGroup

	mu      sync.Mutex
	jobs    []func() // those before first have been taken
	first   int
	waiting []chan struct{}
	closed  bool
}

// run has a runner call job. It does not wait for it.
func (r *runners) run(job func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs = append(r.jobs, job)
	if n := len(r.waiting); n > 0 {
		r.waiting[n-1] <- struct{}{}
		r.waiting = r.waiting[:n-1]
		return
	}
	r.running.Go(r.work)
}

// work takes jobs until nobody needs this runner.
func (r *runners) work() {
	wake := make(chan struct{}, 1)
	for {
		job, more := r.next(wake)
		switch {
		case job != nil:
			job()
		case more:
			<-wake
		default:
			return
		}
	}
}

// next takes a job. If there is none, the runner is to wait for wake, or to end
// if more is false.
func (r *runners) next(wake chan struct{}) (job func(), more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first < len(r.jobs) {
		job, r.jobs[r.first] = r.jobs[r.first], nil
		if r.first++; r.first == len(r.jobs) {
			r.jobs, r.first = r.jobs[:0], 0
		}
		return job, true
	}
	if r.closed || len(r.waiting) == r.idle {
		return nil, false
	}
	r.waiting = append(r.waiting, wake)
	return nil, true
}

// close returns when all jobs have ended. Nobody may call run any more.
func (r *runners) close() {
	r.mu.Lock()
	r.closed = true
	for _, wake := range r.waiting {
		wake <- struct{}{}
	}
	r.waiting = nil
	r.mu.Unlock()
	r.running.Wait()
}
