package engine

import (
	"slices"
	"strings"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/executor/wire"
)

// request is the state of a Request object.
type request struct {
	method     string
	url        string
	headers    *headers
	headersObj *goja.Object
	body       body
	redirect   string
	signal     goja.Value
	incoming   bool // the one that the handler got
}

func (r *Runtime) requestClass() *class {
	if r.classes.request != nil {
		return r.classes.request
	}
	c := newClass(r, "Request", 1, r.newRequest)
	r.classes.request = c
	property(c, "method", func(q *request) goja.Value { return r.vm.ToValue(q.method) }, nil)
	property(c, "url", func(q *request) goja.Value { return r.vm.ToValue(q.url) }, nil)
	property(c, "headers", func(q *request) goja.Value {
		if q.headersObj == nil {
			q.headersObj = r.headersClass().object(q.headers)
		}
		return q.headersObj
	}, nil)
	property(c, "redirect", func(q *request) goja.Value { return r.vm.ToValue(q.redirect) }, nil)
	property(c, "signal", func(q *request) goja.Value {
		if q.signal == nil {
			q.signal = r.requestSignal(q)
		}
		return q.signal
	}, nil)
	constant := func(name string, value any) {
		property(c, name, func(*request) goja.Value { return r.vm.ToValue(value) }, nil)
	}
	constant("cache", "default")
	constant("credentials", "same-origin")
	constant("destination", "")
	constant("duplex", "half")
	constant("integrity", "")
	constant("keepalive", false)
	constant("mode", "cors")
	constant("referrer", "about:client")
	constant("referrerPolicy", "")
	bodyMethods(c, func(q *request) *body { return &q.body }, func(q *request) string {
		t, _ := q.headers.get("content-type")
		return t
	})
	method(c, "clone", 0, func(q *request, _ goja.FunctionCall) goja.Value {
		return c.object(&request{
			method: q.method, url: q.url, headers: q.headers.clone(), redirect: q.redirect, signal: q.signal,
			body: r.cloneBody(&q.body, "Request"),
		})
	})
	return c
}

// newRequest is the constructor (Fetch, section 5.3).
func (r *Runtime) newRequest(args []goja.Value) *request {
	r.need(args, 1, "the constructor of 'Request'")
	q := &request{method: "GET", headers: &headers{}, body: nullBody, redirect: "follow"}
	var from *request
	if other, ok := stateOf[*request](args[0]); ok {
		from = other
		q.method, q.url, q.redirect, q.signal = other.method, other.url, other.redirect, other.signal
		q.headers = other.headers.clone()
	} else {
		raw := args[0].String()
		u, err := urls.Parse(raw)
		if err != nil {
			panic(r.vm.NewTypeError("Request: %q is not an absolute URL", raw))
		}
		if u.Username() != "" || u.Password() != "" {
			panic(r.vm.NewTypeError("Request: the URL %q contains credentials", raw))
		}
		q.url = u.Href(false)
	}
	var init *goja.Object
	if len(args) > 1 && !isNullish(args[1]) {
		obj, ok := args[1].(*goja.Object)
		if !ok {
			panic(r.vm.NewTypeError("Request: init is not an object"))
		}
		init = obj
	}
	given := func(name string) goja.Value {
		if init == nil {
			return nil
		}
		if v := init.Get(name); v != nil && !goja.IsUndefined(v) {
			return v
		}
		return nil
	}
	if v := given("method"); v != nil {
		q.method = r.requestMethod(v.String())
	}
	if v := given("headers"); v != nil {
		q.headers = &headers{}
		r.fillHeaders(q.headers, v)
	}
	if v := given("redirect"); v != nil {
		switch s := v.String(); s {
		case "follow", "error", "manual":
			q.redirect = s
		default:
			panic(r.vm.NewTypeError("Request: init.redirect %q is not follow, error or manual", s))
		}
	}
	if v := given("signal"); v != nil && !goja.IsNull(v) {
		q.signal = v
	}
	bodyless := q.method == "GET" || q.method == "HEAD"
	v := given("body")
	switch {
	case v != nil && !goja.IsNull(v):
		if bodyless {
			panic(r.vm.NewTypeError("Request with GET/HEAD method cannot have body"))
		}
		var contentType string
		q.body, contentType = r.extractBody(v)
		if contentType != "" && !q.headers.has("content-type") {
			q.headers.set("content-type", contentType)
		}
	case from != nil && v == nil && !from.body.null:
		if bodyless {
			panic(r.vm.NewTypeError("Request with GET/HEAD method cannot have body"))
		}
		if r.bodyUsed(&from.body) || from.body.stream != nil && r.streamLocked(from.body.stream) {
			panic(r.vm.NewTypeError("Request: the body of the given request has already been read"))
		}
		q.body = from.body
		from.body = body{used: true}
	}
	return q
}

func (r *Runtime) requestMethod(s string) string {
	if !isToken(s) {
		panic(r.vm.NewTypeError("Request: %q is not a valid HTTP method", s))
	}
	switch upper := strings.ToUpper(s); upper {
	case "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT":
		return upper
	case "CONNECT", "TRACE", "TRACK":
		panic(r.vm.NewTypeError("Request: the method %q is forbidden", s))
	default:
		return s
	}
}

// incomingRequest is the Request that a handler gets.
func (r *Runtime) incomingRequest(s *wire.Start) *goja.Object {
	fields := s.Headers
	if slices.ContainsFunc(fields, func(f wire.Header) bool { return !isASCII(f.Value) }) {
		fields = slices.Clone(fields)
		for i := range fields {
			fields[i].Value = latin1(fields[i].Value)
		}
	}
	q := &request{
		method: s.Method, url: s.URL, redirect: "manual", incoming: true,
		headers: &headers{fields: fields, immutable: true},
		body:    nullBody,
	}
	if r.incoming != nil {
		q.body = body{source: r.incoming}
	}
	return r.requestClass().object(q)
}
