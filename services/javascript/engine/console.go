package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// console is what the console methods remember during an execution.
type console struct {
	counts map[string]int
	timers map[string]time.Duration
	indent string
}

func (c *console) reset() {
	if c.counts != nil || c.timers != nil || c.indent != "" {
		*c = console{}
	}
}

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

// print notes what a console method was called with.
func (r *Runtime) print(level string, args []goja.Value) {
	if r.truncated {
		return
	}
	text := r.format(args)
	if r.console.indent != "" {
		text = r.console.indent + strings.ReplaceAll(text, "\n", "\n"+r.console.indent)
	}
	r.log(level, text)
}

// format joins the arguments of a console method; a string in front may hold
// the specifiers of the Console standard.
func (r *Runtime) format(args []goja.Value) string {
	var b strings.Builder
	rest := args
	if len(args) > 1 {
		if s, ok := args[0].(goja.String); ok && strings.Contains(s.String(), "%") {
			used := r.substitute(&b, s.String(), args[1:])
			rest = args[1+used:]
			if len(rest) > 0 {
				b.WriteByte(' ')
			}
		}
	}
	for i, a := range rest {
		if i > 0 {
			b.WriteByte(' ')
		}
		if s, ok := a.(goja.String); ok {
			b.WriteString(s.String())
		} else {
			b.WriteString(r.inspect(a))
		}
	}
	return b.String()
}

// substitute writes format with args in place of its specifiers and returns how
// many it used.
func (r *Runtime) substitute(b *strings.Builder, format string, args []goja.Value) (used int) {
	for {
		i := strings.IndexByte(format, '%')
		if i < 0 || i+1 == len(format) {
			b.WriteString(format)
			return used
		}
		b.WriteString(format[:i])
		c := format[i+1]
		if c == '%' {
			b.WriteByte('%')
			format = format[i+2:]
			continue
		}
		if used == len(args) || !strings.ContainsRune("sdifjoOc", rune(c)) {
			b.WriteString(format[i : i+2])
			format = format[i+2:]
			continue
		}
		b.WriteString(r.specified(c, args[used]))
		used++
		format = format[i+2:]
	}
}

func (r *Runtime) specified(c byte, v goja.Value) string {
	_, object := v.(*goja.Object)
	_, symbol := v.(*goja.Symbol)
	switch c {
	case 's':
		if s, ok := v.(goja.String); ok {
			return s.String()
		}
		return r.inspect(v)
	case 'd', 'i', 'f':
		if object || symbol {
			return "NaN"
		}
		if goja.IsBigInt(v) {
			return v.String() + "n"
		}
		if c == 'i' {
			f := v.ToFloat()
			if f != f {
				return "NaN"
			}
			return r.vm.ToValue(float64(int64(f))).String()
		}
		return r.vm.ToValue(v.ToFloat()).String()
	case 'j':
		text := ""
		if ex := r.vm.Try(func() { text = r.stringify(v).String() }); ex != nil {
			return "[Circular]"
		}
		return text
	case 'c':
		return ""
	}
	return r.inspect(v)
}

func (r *Runtime) newConsole() *goja.Object {
	c := r.vm.NewObject()
	add := func(name string, f func(args []goja.Value)) {
		_ = c.Set(name, r.function(name, 0, func(fc goja.FunctionCall) goja.Value {
			f(fc.Arguments)
			return goja.Undefined()
		}))
	}
	for _, m := range [...][2]string{
		{"log", "info"}, {"info", "info"}, {"debug", "debug"}, {"warn", "warn"}, {"error", "error"}, {"dir", "info"}, {"dirxml", "info"},
	} {
		add(m[0], func(args []goja.Value) {
			if m[0] == "dir" {
				args = args[:min(len(args), 1)]
			}
			r.print(m[1], args)
		})
	}
	add("trace", func(args []goja.Value) {
		text := "Trace"
		if len(args) > 0 {
			text += ": " + r.format(args)
		}
		if stack := frames(r.vm.CaptureCallStack(0, nil), 20); stack != "" {
			text += "\n    " + strings.ReplaceAll(stack, "\n", "\n    ")
		}
		r.log("debug", text)
	})
	add("assert", func(args []goja.Value) {
		if len(args) > 0 && args[0].ToBoolean() {
			return
		}
		text := "Assertion failed"
		if len(args) > 1 {
			text += ": " + r.format(args[1:])
		}
		r.log("error", r.console.indent+text)
	})
	label := func(args []goja.Value) string {
		if len(args) > 0 && !goja.IsUndefined(args[0]) {
			return args[0].String()
		}
		return "default"
	}
	add("count", func(args []goja.Value) {
		if r.console.counts == nil {
			r.console.counts = map[string]int{}
		}
		l := label(args)
		r.console.counts[l]++
		r.log("info", r.console.indent+l+": "+strconv.Itoa(r.console.counts[l]))
	})
	add("countReset", func(args []goja.Value) { delete(r.console.counts, label(args)) })
	add("time", func(args []goja.Value) {
		if r.console.timers == nil {
			r.console.timers = map[string]time.Duration{}
		}
		r.console.timers[label(args)] = now()
	})
	elapsed := func(name string, stop bool) {
		add(name, func(args []goja.Value) {
			l := label(args)
			began, ok := r.console.timers[l]
			if !ok {
				r.log("warn", "console."+name+": there is no timer "+quote(l))
				return
			}
			text := fmt.Sprintf("%s%s: %.3fms", r.console.indent, l, float64(now()-began)/1e6)
			if len(args) > 1 {
				text += " " + r.format(args[1:])
			}
			r.log("info", text)
			if stop {
				delete(r.console.timers, l)
			}
		})
	}
	elapsed("timeLog", false)
	elapsed("timeEnd", true)
	group := func(args []goja.Value) {
		if len(args) > 0 {
			r.print("info", args)
		}
		if len(r.console.indent) < 40 {
			r.console.indent += "  "
		}
	}
	add("group", group)
	add("groupCollapsed", group)
	add("groupEnd", func([]goja.Value) { r.console.indent = strings.TrimSuffix(r.console.indent, "  ") })
	add("clear", func([]goja.Value) {})
	add("table", func(args []goja.Value) {
		if len(args) == 0 {
			return
		}
		if text, ok := r.table(args[0]); ok {
			r.log("info", text)
			return
		}
		r.print("info", args[:1])
	})
	return c
}

// table draws rows of an object's or array's items; ok is false for a primitive.
func (r *Runtime) table(v goja.Value) (text string, ok bool) {
	obj, ok := v.(*goja.Object)
	if !ok {
		return "", false
	}
	columns := []string{"(index)"}
	var rows []map[string]string
	for i, k := range obj.Keys() {
		if i == inspectItems {
			break
		}
		row := map[string]string{"(index)": k}
		item, isObject := obj.Get(k).(*goja.Object)
		if !isObject {
			row["Values"] = r.inspect(obj.Get(k))
		} else {
			for _, c := range item.Keys() {
				if !slices.Contains(columns, c) && len(columns) < inspectItems {
					columns = append(columns, c)
				}
				row[c] = r.inspect(item.Get(c))
			}
		}
		rows = append(rows, row)
	}
	if slices.ContainsFunc(rows, func(row map[string]string) bool { return row["Values"] != "" }) && !slices.Contains(columns, "Values") {
		columns = append(columns, "Values")
	}
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = len([]rune(c))
		for _, row := range rows {
			widths[i] = max(widths[i], len([]rune(row[c])))
		}
	}
	var b strings.Builder
	line := func(left, middle, right string) {
		b.WriteString(left)
		for i, w := range widths {
			if i > 0 {
				b.WriteString(middle)
			}
			b.WriteString(strings.Repeat("─", w+2))
		}
		b.WriteString(right)
	}
	cells := func(cell func(column string) string) {
		b.WriteString("\n│")
		for i, c := range columns {
			fmt.Fprintf(&b, " %-*s │", widths[i], cell(c))
		}
		b.WriteByte('\n')
	}
	line("┌", "┬", "┐")
	cells(func(c string) string { return c })
	line("├", "┼", "┤")
	for _, row := range rows {
		cells(func(c string) string { return row[c] })
	}
	if len(rows) == 0 {
		b.WriteByte('\n')
	}
	line("└", "┴", "┘")
	return strings.ReplaceAll(b.String(), "\n\n", "\n"), true
}
