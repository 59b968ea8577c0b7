package worker

import (
	"sync"

	"github.com/picloud/picloud/services/executor/wire"
	"github.com/picloud/picloud/services/javascript/engine"
)

// program is a loaded script with the runners that wait for its executions.
type program struct {
	compile func() (*engine.Program, error)
	idle    int // runners that may wait

	mu   sync.Mutex
	pool []*runner
}

// newProgram compiles when the first execution asks.
func newProgram(l wire.Load, idle int) *program {
	return &program{idle: idle, compile: sync.OnceValues(func() (*engine.Program, error) {
		return engine.Compile(l.Name, l.Code)
	})}
}

// take returns the runner that was used last; nil if none waits.
func (p *program) take() *runner {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.pool)
	if n == 0 {
		return nil
	}
	r := p.pool[n-1]
	p.pool[n-1] = nil
	p.pool = p.pool[:n-1]
	return r
}

// give lets r wait for another execution; it reports whether there is room.
func (p *program) give(r *runner) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pool) >= p.idle {
		return false
	}
	p.pool = append(p.pool, r)
	return true
}

// dropIdle ends the runners that wait.
func (p *program) dropIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.pool {
		close(r.jobs)
	}
	clear(p.pool)
	p.pool = p.pool[:0]
}

// close ends the runners that wait, and has none wait from now on.
func (p *program) close() {
	p.mu.Lock()
	p.idle = 0
	p.mu.Unlock()
	p.dropIdle()
}
