package worker

import (
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
	"github.com/picloud/picloud/services/javascript/engine"
)

// runner is a runtime with the goroutine on which it runs. The goroutine lives
// as long as its runtime: a new one for each execution would grow its stack
// anew each time, which costs as much as a short handler itself.
type runner struct {
	program *program
	runtime *engine.Runtime
	jobs    chan job // capacity 1; closed when nobody will use the runner again
}

// job is an execution for a runner.
type job struct {
	x   *execution
	env *engine.Env
}

// run runs executions until the runner cannot be used again.
func (r *runner) run() {
	for j := range r.jobs {
		end := r.work(j)
		// It waits again before the server hears of the end, so that the answer to
		// the End frame finds it.
		waits := r.runtime != nil && r.runtime.Reusable() && r.program.give(r)
		j.x.finish(end)
		if !waits {
			return
		}
	}
}

func (r *runner) work(j job) wire.End {
	if r.runtime == nil {
		code, err := r.program.compile()
		if err != nil {
			return wire.End{Code: string(cloud.CodeOf(err)), Error: &cloud.ScriptError{Name: "SyntaxError", Message: err.Error()}}
		}
		r.runtime = engine.NewRuntime(code)
	}
	return r.runtime.Run(j.x.engine, j.env)
}
