package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dop251/goja"
)

// Bounds of what console shows of a value.
const (
	inspectDepth  = 2
	inspectItems  = 100
	inspectString = 10_000
	inspectWidth  = 72
)

// inspect writes a value as console shows it inside others: in the manner of
// Node's util.inspect. It runs no getter of the script.
func (r *Runtime) inspect(v goja.Value) string {
	p := inspector{r: r}
	return p.value(v, 0)
}

type inspector struct {
	r       *Runtime
	open    []*goja.Object
	written int
}

func (p *inspector) value(v goja.Value, depth int) string {
	switch v := v.(type) {
	case nil:
		return "undefined"
	case *goja.Object:
		text := ""
		if ex := p.r.vm.Try(func() { text = p.object(v, depth) }); ex != nil {
			text = "[object that throws]"
		}
		p.written += len(text)
		return text
	case goja.String:
		return quote(v.String())
	case *goja.Symbol:
		return "Symbol(" + strings.TrimSuffix(strings.TrimPrefix(v.String(), "Symbol("), ")") + ")"
	}
	if goja.IsBigInt(v) {
		return v.String() + "n"
	}
	if goja.IsNumber(v) && v.String() == "0" && 1/v.ToFloat() < 0 {
		return "-0"
	}
	return v.String()
}

// quote writes a string literal with the quotation marks that need no escapes.
func quote(s string) string {
	more := ""
	if len(s) > inspectString {
		more = fmt.Sprintf("... %d more characters", len(s)-inspectString)
		s = strings.ToValidUTF8(s[:inspectString], "")
	}
	mark := "'"
	switch {
	case !strings.Contains(s, "'"):
	case !strings.Contains(s, `"`):
		mark = `"`
	case !strings.Contains(s, "`"):
		mark = "`"
	}
	q := strconv.Quote(s)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if mark == "'" {
		q = strings.ReplaceAll(q, "'", `\'`)
	}
	return mark + q + mark + more
}

func (p *inspector) object(o *goja.Object, depth int) string {
	if slices.Contains(p.open, o) {
		return "[Circular]"
	}
	if p.written > 1<<20 {
		return "..."
	}
	name := p.className(o)
	if _, ok := goja.AssertFunction(o); ok {
		return p.function(o, name, depth)
	}
	switch {
	case p.r.isError(o):
		return p.error(o, depth)
	case o.ExportType() == typePromise:
		promise := o.Export().(*goja.Promise)
		switch promise.State() {
		case goja.PromiseStatePending:
			return "Promise { <pending> }"
		case goja.PromiseStateRejected:
			return "Promise { <rejected> " + p.value(promise.Result(), depth+1) + " }"
		}
		return "Promise { " + p.value(promise.Result(), depth+1) + " }"
	}
	switch o.ClassName() {
	case "Date", "RegExp":
		return p.call(o, map[string]string{"Date": "toISOString", "RegExp": "toString"}[o.ClassName()])
	case "Boolean", "Number", "String":
		return "[" + o.ClassName() + ": " + p.value(p.primitive(o), depth) + "]"
	}
	if depth > inspectDepth {
		if o.ClassName() == "Array" {
			return "[Array]"
		}
		return "[" + name + "]"
	}
	p.open = append(p.open, o)
	defer func() { p.open = p.open[:len(p.open)-1] }()
	return p.contents(o, name, depth)
}

// contents writes what is in an object.
func (p *inspector) contents(o *goja.Object, name string, depth int) string {
	left, right, prefix := "{", "}", name
	var items []string
	switch state := p.state(o).(type) {
	case *headers:
		for _, f := range state.sorted() {
			items = append(items, quoteKey(f.Name)+": "+quote(f.Value))
		}
		return layout(name+" {", items, "}")
	case *query:
		for _, f := range state.pairs {
			items = append(items, quote(f.Name)+" => "+quote(f.Value))
		}
		return layout(name+" {", items, "}")
	case *address:
		return name + " { href: " + quote(state.url.Href(false)) + " }"
	case *request:
		return layout(name+" {", []string{"method: " + quote(state.method), "url: " + quote(state.url)}, "}")
	case *response:
		return layout(name+" {", []string{"status: " + strconv.Itoa(state.status), "statusText: " + quote(state.statusText)}, "}")
	}
	class := o.ClassName()
	for _, name := range [...]string{"Map", "Set"} {
		if c, ok := p.r.vm.Get(name).(*goja.Object); ok && p.r.vm.InstanceOf(o, c) {
			class = name
		}
	}
	typed := false
	if class != "Array" && p.r.isViewSafe(o) {
		typed = o.Get("length") != nil
	}
	switch {
	case class == "Array" || typed:
		left, right = "[", "]"
		n := int(o.Get("length").ToInteger())
		if class == "Array" && name == "Array" {
			prefix = ""
		} else {
			prefix = fmt.Sprintf("%s(%d)", name, n)
		}
		holes := 0
		for i := range min(n, inspectItems) {
			key := strconv.Itoa(i)
			if class == "Array" && !p.r.hasOwn(o, key) {
				holes++
				continue
			}
			if holes > 0 {
				items = append(items, empty(holes))
				holes = 0
			}
			items = append(items, p.property(o, key, depth))
		}
		if holes > 0 {
			items = append(items, empty(holes))
		}
		if n > inspectItems {
			items = append(items, more(n-inspectItems, "item"))
		}
	case class == "Map", class == "Set":
		size := int(o.Get("size").ToInteger())
		prefix = fmt.Sprintf("%s(%d)", name, size)
		entries := call(must1(goja.AssertFunction(o.Get("entries"))), o)
		p.r.vm.ForOf(entries, func(entry goja.Value) bool {
			if len(items) == inspectItems {
				items = append(items, more(size-inspectItems, "item"))
				return false
			}
			e := entry.(*goja.Object)
			text := p.value(e.Get("0"), depth+1)
			if class == "Map" {
				text += " => " + p.value(e.Get("1"), depth+1)
			}
			items = append(items, text)
			return true
		})
	case o.ExportType() == typeArrayBuffer:
		return fmt.Sprintf("ArrayBuffer { byteLength: %v }", o.Get("byteLength"))
	case o.Prototype() == nil:
		prefix = "[Object: null prototype]"
	case name == "Object":
		prefix = ""
	}
	if !typed {
		items = append(items, p.properties(o, class == "Array", depth)...)
	}
	if prefix != "" {
		left = prefix + " " + left
	}
	return layout(left, items, right)
}

func empty(n int) string {
	if n == 1 {
		return "<1 empty item>"
	}
	return fmt.Sprintf("<%d empty items>", n)
}

func more(n int, what string) string {
	if n > 1 {
		what += "s"
	}
	return fmt.Sprintf("... %d more %s", n, what)
}

func (p *inspector) properties(o *goja.Object, skipIndices bool, depth int) []string {
	var items []string
	keys := o.Keys()
	shown := 0
	for _, k := range keys {
		if skipIndices {
			if _, err := strconv.Atoi(k); err == nil {
				continue
			}
		}
		if shown++; shown > inspectItems {
			items = append(items, more(len(keys)-inspectItems, "property"))
			break
		}
		items = append(items, quoteKey(k)+": "+p.property(o, k, depth))
	}
	for _, s := range o.Symbols() {
		items = append(items, "["+p.value(s, depth)+"]: "+p.value(o.GetSymbol(s), depth+1))
	}
	return items
}

// property writes an own property, without calling its getter.
func (p *inspector) property(o *goja.Object, key string, depth int) string {
	d, ok := call(p.r.descriptor(), goja.Undefined(), o, p.r.vm.ToValue(key)).(*goja.Object)
	if !ok {
		return p.value(o.Get(key), depth+1)
	}
	get, set := !isNullish(d.Get("get")), !isNullish(d.Get("set"))
	switch {
	case get && set:
		return "[Getter/Setter]"
	case get:
		return "[Getter]"
	case set:
		return "[Setter]"
	}
	return p.value(d.Get("value"), depth+1)
}

func (p *inspector) function(o *goja.Object, class string, depth int) string {
	text := "[Function"
	if source := o.String(); strings.HasPrefix(source, "class") {
		text = "[class"
	}
	name := stringOf(o.Get("name"))
	switch {
	case name == "" && text == "[class":
		text += " (anonymous)]"
	case name == "":
		text += " (anonymous)]"
	case text == "[class":
		text += " " + name + "]"
	default:
		text += ": " + name + "]"
	}
	if items := p.properties(o, false, depth); len(items) > 0 && depth <= inspectDepth {
		return layout(text+" {", items, "}")
	}
	return text
}

// error writes the stack in the coordinates of the built code, then what else
// the error carries.
func (p *inspector) error(o *goja.Object, depth int) string {
	name, message := stringOf(o.Get("name")), stringOf(o.Get("message"))
	text := name
	if message != "" {
		text += ": " + message
	}
	if stack := stackLines(stringOf(o.Get("stack"))); stack != "" {
		text += "\n    " + strings.ReplaceAll(stack, "\n", "\n    ")
	} else if depth > 0 {
		text = "[" + text + "]"
	}
	if depth > inspectDepth {
		return text
	}
	p.open = append(p.open, o)
	defer func() { p.open = p.open[:len(p.open)-1] }()
	var items []string
	for _, k := range o.Keys() {
		if k != "name" && k != "message" && k != "stack" {
			items = append(items, quoteKey(k)+": "+p.property(o, k, depth))
		}
	}
	if p.r.hasOwn(o, "cause") {
		items = append(items, "[cause]: "+p.property(o, "cause", depth))
	}
	if len(items) == 0 {
		return text
	}
	return text + " " + layout("{", items, "}")
}

func (p *inspector) call(o *goja.Object, method string) string {
	f, ok := goja.AssertFunction(o.Get(method))
	if !ok {
		return "[" + o.ClassName() + "]"
	}
	v, err := f(o)
	if err != nil {
		return "Invalid Date"
	}
	return v.String()
}

func (p *inspector) primitive(o *goja.Object) goja.Value {
	return call(must1(goja.AssertFunction(o.Get("valueOf"))), o)
}

func (p *inspector) state(o *goja.Object) any {
	if s, _ := o.GetSymbol(hidden).(*slot); s != nil {
		return s.state
	}
	return nil
}

// className is the name of the constructor that made o, as far as can be seen.
func (p *inspector) className(o *goja.Object) string {
	for proto := o.Prototype(); proto != nil; proto = proto.Prototype() {
		d, ok := call(p.r.descriptor(), goja.Undefined(), proto, p.r.vm.ToValue("constructor")).(*goja.Object)
		if !ok {
			continue
		}
		if c, ok := d.Get("value").(*goja.Object); ok {
			if name := stringOf(c.Get("name")); name != "" {
				return name
			}
		}
	}
	return "Object"
}

// layout puts items on one line if they fit, else on lines of their own.
func layout(left string, items []string, right string) string {
	if len(items) == 0 {
		return left + right
	}
	total, longest, multiline := len(left), 0, false
	for _, s := range items {
		total += len(s) + 2
		longest = max(longest, len(s))
		multiline = multiline || strings.Contains(s, "\n")
	}
	if total <= inspectWidth && !multiline {
		return left + " " + strings.Join(items, ", ") + " " + right
	}
	var b strings.Builder
	b.WriteString(left + "\n")
	column := 0
	for i, s := range items {
		text := strings.ReplaceAll(s, "\n", "\n  ")
		if i < len(items)-1 {
			text += ","
		}
		// Many short items share lines.
		if column > 0 && len(items) > 6 && longest <= 16 && column+len(text)+1 <= inspectWidth {
			b.WriteString(" " + text)
			column += len(text) + 1
			continue
		}
		if column > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("  " + text)
		column = len(text)
	}
	b.WriteString("\n" + right)
	return b.String()
}

func quoteKey(k string) string {
	for i, c := range k {
		if c != '_' && c != '$' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return quote(k)
		}
	}
	if k == "" {
		return "''"
	}
	return k
}

// inspectError writes a thrown value for a log line.
func (r *Runtime) inspectError(v goja.Value) string {
	if v == nil {
		return "undefined"
	}
	return r.inspect(v)
}

func (r *Runtime) hasOwn(o *goja.Object, key string) bool {
	return !goja.IsUndefined(call(r.descriptor(), goja.Undefined(), o, r.vm.ToValue(key)))
}

// descriptor is Object.getOwnPropertyDescriptor.
func (r *Runtime) descriptor() goja.Callable {
	if r.getDescriptor == nil {
		r.getDescriptor = must1(goja.AssertFunction(r.vm.Get("Object").(*goja.Object).Get("getOwnPropertyDescriptor")))
	}
	return r.getDescriptor
}

func (r *Runtime) isViewSafe(o *goja.Object) bool {
	_, ok := r.bufferSource(o)
	return ok && o.ExportType() != typeArrayBuffer
}
