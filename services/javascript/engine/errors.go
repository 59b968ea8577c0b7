package engine

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// failure is how an execution ended badly.
type failure struct {
	code cloud.Code
	err  *cloud.ScriptError
}

func (f *failure) Error() string {
	if f.err == nil {
		return string(f.code)
	}
	return string(f.code) + ": " + f.err.Name + ": " + f.err.Message
}

func invalidResponse(format string, args ...any) *failure {
	return &failure{cloud.CodeInvalidResponse, &cloud.ScriptError{Name: "TypeError", Message: fmt.Sprintf(format, args...)}}
}

// newError makes an Error of the named built-in class; code is its code
// property, if not empty.
func (r *Runtime) newError(class, code, message string) *goja.Object {
	o, err := r.vm.New(r.vm.Get(class), r.vm.ToValue(message))
	if err != nil {
		panic(err)
	}
	if code != "" {
		_ = o.DefineDataProperty("code", r.vm.ToValue(code), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
	}
	return o
}

func (r *Runtime) rangeError(format string, args ...any) *goja.Object {
	return r.newError("RangeError", "", fmt.Sprintf(format, args...))
}

// failed turns what JavaScript ended with into a failure.
func (r *Runtime) failed(err error) *failure {
	var f *failure
	var thrown *goja.Exception
	var interrupted *goja.InterruptedError
	var overflow *goja.StackOverflowError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &interrupted):
		r.dead = true
		return r.killedFailure(interrupted.Stack())
	case errors.As(err, &overflow):
		r.dead = true
		return &failure{cloud.CodeScriptThrew, &cloud.ScriptError{
			Name: "RangeError", Message: "Maximum call stack size exceeded", Stack: frames(overflow.Stack(), 20),
		}}
	case errors.As(err, &thrown):
		return r.thrown(thrown.Value(), thrown.Stack())
	default:
		r.dead = true
		return &failure{cloud.CodeScriptThrew, &cloud.ScriptError{Name: "InternalError", Message: err.Error()}}
	}
}

// killedFailure says where an execution was when a limit ended it.
func (r *Runtime) killedFailure(stack []goja.StackFrame) *failure {
	code := r.x.Killed()
	s := &r.x.start
	var message string
	switch code {
	case cloud.CodeTimeout:
		message = fmt.Sprintf("the execution exceeded its time limit of %v", s.Wall)
	case cloud.CodeCPU:
		message = fmt.Sprintf("the execution exceeded its CPU time limit of %v", s.CPU)
	case cloud.CodeMemory:
		message = "the app's worker exceeded its memory limit"
	default:
		message = "the execution was stopped"
	}
	return &failure{code, &cloud.ScriptError{Name: "LimitError", Message: message, Stack: frames(stack, 20)}}
}

// thrown describes an uncaught exception.
func (r *Runtime) thrown(v goja.Value, stack []goja.StackFrame) *failure {
	e := &cloud.ScriptError{Stack: frames(stack, 50)}
	obj, _ := v.(*goja.Object)
	if ex := r.vm.Try(func() {
		if obj == nil || !r.isError(obj) {
			e.Name, e.Message = "Error", "uncaught "+r.inspect(v)
			return
		}
		e.Name, e.Message = stringOf(obj.Get("name")), stringOf(obj.Get("message"))
		if c, ok := obj.Get("code").(goja.String); ok {
			e.Code = c.String()
		}
		if own := stackLines(stringOf(obj.Get("stack"))); own != "" {
			e.Stack = own
		}
	}); ex != nil {
		e.Name, e.Message = "Error", "an exception whose properties throw"
	}
	code := cloud.CodeScriptThrew
	if hc := r.hostCode(v); hc != "" {
		code = hc
	}
	return &failure{code, e}
}

// hostCode is the code with which an execution ends that does not catch v: that
// of errors which the platform itself raised and which are not the script's
// fault.
func (r *Runtime) hostCode(v goja.Value) cloud.Code {
	obj, _ := v.(*goja.Object)
	if obj == nil {
		return ""
	}
	return r.platformErrors[obj]
}

func (r *Runtime) isError(obj *goja.Object) bool {
	return obj.ClassName() == "Error" || r.vm.InstanceOf(obj, r.vm.Get("Error").(*goja.Object))
}

func stringOf(v goja.Value) string {
	if isNullish(v) {
		return ""
	}
	return v.String()
}

// frames writes a stack, one "at function (program:line:column)" a line, in
// coordinates of the code that Compile was given.
func frames(stack []goja.StackFrame, most int) string {
	var b strings.Builder
	for i := range stack {
		if most--; most < 0 {
			break
		}
		f := &stack[i]
		p := f.Position()
		if p.Line == 0 || strings.HasPrefix(f.SrcName(), internalName) {
			continue
		}
		fmt.Fprintf(&b, "at %s (%s:%d:%d)\n", f.FuncName(), f.SrcName(), p.Line, codeColumn(p.Line, p.Column))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// internalName begins the file names of the engine's own JavaScript.
const internalName = "picloud:"

var stackLine = regexp.MustCompile(`^\s*at (?:(.*) \()?([^()]*):(\d+):(\d+)(?:\(\d+\))?\)?$`)

// stackLines reads the stack property of an Error as goja writes it and returns
// it as frames does; "" if it holds no frame.
func stackLines(s string) string {
	var b strings.Builder
	for text := range strings.Lines(s) {
		m := stackLine.FindStringSubmatch(strings.TrimRight(text, "\n"))
		if m == nil || strings.HasPrefix(m[2], internalName) {
			continue
		}
		name := m[1]
		if name == "" {
			name = "<anonymous>"
		}
		line, _ := strconv.Atoi(m[3])
		column, _ := strconv.Atoi(m[4])
		fmt.Fprintf(&b, "at %s (%s:%d:%d)\n", name, m[2], line, codeColumn(line, column))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func header(name, value string) wire.Header { return wire.Header{Name: name, Value: value} }

func byteSize(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

// rawFrames writes a stack as goja writes the stack property of an Error.
func rawFrames(stack []goja.StackFrame) string {
	var b strings.Builder
	for i := range stack {
		f := &stack[i]
		if p := f.Position(); p.Line != 0 && !strings.HasPrefix(f.SrcName(), internalName) {
			fmt.Fprintf(&b, "\tat %s (%s:%d:%d)\n", f.FuncName(), f.SrcName(), p.Line, p.Column)
		}
	}
	return b.String()
}
