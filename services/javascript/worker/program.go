package worker

import (
	"sync"

	"github.com/picloud/picloud/services/executor/wire"
	"github.com/picloud/picloud/services/javascript/engine"
)

// program is a loaded script with the runtimes that wait for its executions.
type program struct {
	compile func() (*engine.Program, error)
	idle    int // runtimes that may wait

	mu   sync.Mutex
	pool []*engine.Runtime
}

// newProgram compiles when the first execution asks.
func newProgram(l wire.Load, idle int) *program {
	return &program{idle: idle, compile: sync.OnceValues(func() (*engine.Program, error) {
		return engine.Compile(l.Name, l.Code)
	})}
}

// take returns the runtime that was used last, or a new one.
func (p *program) take() (*engine.Runtime, error) {
	p.mu.Lock()
	if n := len(p.pool); n > 0 {
		r := p.pool[n-1]
		p.pool[n-1] = nil
		p.pool = p.pool[:n-1]
		p.mu.Unlock()
		return r, nil
	}
	p.mu.Unlock()
	code, err := p.compile()
	if err != nil {
		return nil, err
	}
	return engine.NewRuntime(code), nil
}

// give returns a runtime after an execution.
func (p *program) give(r *engine.Runtime) {
	if !r.Reusable() {
		return
	}
	p.mu.Lock()
	if len(p.pool) < p.idle {
		p.pool = append(p.pool, r)
	}
	p.mu.Unlock()
}

func (p *program) dropIdle() {
	p.mu.Lock()
	clear(p.pool)
	p.pool = p.pool[:0]
	p.mu.Unlock()
}
