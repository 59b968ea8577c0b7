package executor

import (
	"context"
	"sync"

	"github.com/picloud/picloud/services/cloud"
)

// pool keeps a worker per app: started when first needed, replaced when it has
// died or a script needs more memory than it has.
type pool struct {
	start func(appID string, memory int64) (*worker, error)

	mu     sync.Mutex
	apps   map[string]*station
	closed bool
	all    sync.WaitGroup // running workers and starts
	live   map[*worker]struct{}
}

// station is where an app's worker is found.
type station struct {
	memory  int64 // the most that any script of the app has asked for
	worker  *worker
	pending *launch
}

// launch is a start that several requests may wait for.
type launch struct {
	done   chan struct{}
	memory int64
	worker *worker
	err    error
}

func newPool(start func(string, int64) (*worker, error)) *pool {
	return &pool{start: start, apps: map[string]*station{}, live: map[*worker]struct{}{}}
}

// worker returns the app's worker, with at least memory bytes for its scripts,
// starting it if need be. It may be closing by the time it is used.
func (p *pool) worker(ctx context.Context, appID string, memory int64) (*worker, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errStopping
	}
	s := p.apps[appID]
	if s == nil {
		s = &station{}
		p.apps[appID] = s
	}
	s.memory = max(s.memory, memory)
	if w := s.worker; w != nil {
		if w.memory >= memory && w.available() {
			p.mu.Unlock()
			return w, nil
		}
		s.worker = nil
		w.drain()
	}
	l := s.pending
	if l == nil || l.memory < memory {
		l = &launch{done: make(chan struct{}), memory: s.memory}
		s.pending = l
		p.all.Go(func() { p.launch(appID, s, l) })
	}
	p.mu.Unlock()
	select {
	case <-l.done:
		return l.worker, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// launch starts a worker and stays with it to its end.
func (p *pool) launch(appID string, s *station, l *launch) {
	w, err := p.start(appID, l.memory)
	p.mu.Lock()
	if s.pending == l {
		s.pending = nil
	}
	if err != nil {
		l.err = cloud.Errorf(cloud.CodeWorkerDied, "no worker could be started for the app; try again, and see the server's log").Because(err)
	} else {
		l.worker = w
		p.live[w] = struct{}{}
		switch {
		case p.closed:
			w.kill(errStopping)
		case p.apps[appID] != s || s.worker != nil && s.worker.memory > w.memory:
			w.drain() // forgotten or outdone meanwhile
		default:
			if s.worker != nil {
				s.worker.drain()
			}
			s.worker = w
		}
	}
	p.mu.Unlock()
	close(l.done)
	if w == nil {
		return
	}
	w.run()
	p.mu.Lock()
	delete(p.live, w)
	if s.worker == w {
		s.worker = nil
	}
	p.mu.Unlock()
}

// forget lets the app's workers finish what they run and end.
func (p *pool) forget(appID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.apps, appID)
	for w := range p.live {
		if w.appID == appID {
			w.drain()
		}
	}
}

// retire unloads the program with this hash from all workers.
func (p *pool) retire(hash string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.live {
		w.retire(hash)
	}
}

// count is how many workers there are.
func (p *pool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

// close kills all workers and waits until they are gone.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for w := range p.live {
		w.kill(errStopping)
	}
	p.mu.Unlock()
	p.all.Wait()
}
