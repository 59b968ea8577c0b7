package engine

import (
	"strings"

	"github.com/dop251/goja"
)

// console is what the console methods remember during an execution.
type console struct {
	counts map[string]int
	indent string
}

func (c *console) reset() { *c = console{} }

// log notes a line, within the limit of the execution.
func (r *Runtime) log(level, text string) {
	if r.x == nil || r.truncated {
		return
	}
	limit := r.x.start.Log
	if r.logged+int64(len(text)) > limit {
		r.truncated = true
		text = strings.ToValidUTF8(text[:max(0, limit-r.logged)], "") + "… [log limit of " + byteSize(limit) + " reached]"
	}
	r.logged += int64(len(text))
	r.x.host.Log(level, text)
}

func (r *Runtime) inspect(v goja.Value) string { return v.String() }

func (r *Runtime) inspectError(v goja.Value) string { return v.String() }

func (r *Runtime) newConsole() *goja.Object {
	c := r.vm.NewObject()
	for _, m := range []struct{ name, level string }{{"log", "info"}, {"info", "info"}, {"debug", "debug"}, {"warn", "warn"}, {"error", "error"}} {
		_ = c.Set(m.name, r.function(m.name, 0, func(fc goja.FunctionCall) goja.Value {
			var parts []string
			for _, a := range fc.Arguments {
				parts = append(parts, r.inspect(a))
			}
			r.log(m.level, strings.Join(parts, " "))
			return goja.Undefined()
		}))
	}
	return c
}
