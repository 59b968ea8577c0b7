package engine

import "github.com/dop251/goja"

type streamFunctions struct{}

func (r *Runtime) isStream(*goja.Object) bool        { return false }
func (r *Runtime) streamLocked(*goja.Object) bool    { return false }
func (r *Runtime) streamDisturbed(*goja.Object) bool { return false }
func (r *Runtime) bodyStream(b *body) goja.Value     { return goja.Undefined() }
func (r *Runtime) collectStream(*goja.Object, func([]byte, goja.Value)) {
}
func (r *Runtime) sendStream(b *body)                  {}
func (r *Runtime) readOn()                             {}
func (a *answer) drop(r *Runtime)                      {}
func (r *Runtime) cloneBody(b *body, what string) body { return *b }
func (r *Runtime) requestSignal(q *request) goja.Value { return goja.Undefined() }
