package engine

import (
	"github.com/dop251/goja"
)

// response is the state of a Response object.
type response struct {
	status     int // 0: a network error
	statusText string
	headers    *headers
	headersObj *goja.Object
	body       body
	kind       string
}

func (r *Runtime) responseClass() *class {
	if r.classes.response != nil {
		return r.classes.response
	}
	c := newClass(r, "Response", 0, func(args []goja.Value) *response {
		var bodyInit, init goja.Value
		if len(args) > 0 {
			bodyInit = args[0]
		}
		if len(args) > 1 {
			init = args[1]
		}
		res := r.responseInit(init)
		if !isNullish(bodyInit) {
			b, contentType := r.extractBody(bodyInit)
			r.setBody(res, b, contentType)
		}
		return res
	})
	r.classes.response = c
	property(c, "status", func(p *response) goja.Value { return r.vm.ToValue(p.status) }, nil)
	property(c, "statusText", func(p *response) goja.Value { return r.vm.ToValue(p.statusText) }, nil)
	property(c, "ok", func(p *response) goja.Value { return r.vm.ToValue(p.status >= 200 && p.status <= 299) }, nil)
	property(c, "type", func(p *response) goja.Value { return r.vm.ToValue(p.kind) }, nil)
	property(c, "url", func(*response) goja.Value { return r.vm.ToValue("") }, nil)
	property(c, "redirected", func(*response) goja.Value { return r.vm.ToValue(false) }, nil)
	property(c, "headers", func(p *response) goja.Value {
		if p.headersObj == nil {
			p.headersObj = r.headersClass().object(p.headers)
		}
		return p.headersObj
	}, nil)
	bodyMethods(c, func(p *response) *body { return &p.body }, func(p *response) string {
		t, _ := p.headers.get("content-type")
		return t
	})
	method(c, "clone", 0, func(p *response, _ goja.FunctionCall) goja.Value {
		return c.object(&response{
			status: p.status, statusText: p.statusText, headers: p.headers.clone(), kind: p.kind,
			body: r.cloneBody(&p.body, "Response"),
		})
	})
	c.static("json", 1, func(fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'json' on 'Response'")
		text := r.stringify(fc.Arguments[0])
		if goja.IsUndefined(text) {
			panic(r.vm.NewTypeError("Response.json: the value is not JSON serializable"))
		}
		res := r.responseInit(fc.Argument(1))
		r.setBody(res, body{data: []byte(text.String())}, "application/json")
		return c.object(res)
	})
	c.static("redirect", 1, func(fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'redirect' on 'Response'")
		raw := fc.Arguments[0].String()
		location, err := r.resolveURL(raw)
		if err != nil {
			panic(r.vm.NewTypeError("Response.redirect: %q is not a valid URL", raw))
		}
		status := 302
		if v := fc.Argument(1); !goja.IsUndefined(v) {
			status = int(v.ToInteger())
		}
		switch status {
		case 301, 302, 303, 307, 308:
		default:
			panic(r.rangeError("Response.redirect: %d is not a redirect status", status))
		}
		res := &response{status: status, headers: &headers{}, body: nullBody, kind: "default"}
		res.headers.set("location", location)
		res.headers.immutable = true
		return c.object(res)
	})
	c.static("error", 0, func(goja.FunctionCall) goja.Value {
		return c.object(&response{headers: &headers{immutable: true}, body: nullBody, kind: "error"})
	})
	return c
}

// responseInit reads a ResponseInit.
func (r *Runtime) responseInit(v goja.Value) *response {
	res := &response{status: 200, headers: &headers{}, body: nullBody, kind: "default"}
	if isNullish(v) {
		return res
	}
	init, ok := v.(*goja.Object)
	if !ok {
		panic(r.vm.NewTypeError("Response: init is not an object"))
	}
	if s := init.Get("status"); s != nil && !goja.IsUndefined(s) {
		n := s.ToInteger()
		if n < 200 || n > 599 {
			panic(r.rangeError("Response: the status %d is not between 200 and 599", n))
		}
		res.status = int(n)
	}
	if s := init.Get("statusText"); s != nil && !goja.IsUndefined(s) {
		res.statusText = s.String()
		for _, c := range res.statusText {
			if c < 0x20 && c != '\t' || c == 0x7f || c > 0xff {
				panic(r.vm.NewTypeError("Response: the statusText holds the character %q, which is not allowed", c))
			}
		}
	}
	if h := init.Get("headers"); h != nil && !goja.IsUndefined(h) {
		r.fillHeaders(res.headers, h)
	}
	return res
}

// hasNullBody tells whether a status forbids a body (Fetch: "null body status").
func hasNullBody(status int) bool {
	return status == 101 || status == 103 || status == 204 || status == 205 || status == 304
}

func (r *Runtime) setBody(res *response, b body, contentType string) {
	if hasNullBody(res.status) {
		panic(r.vm.NewTypeError("Response with status %d cannot have a body", res.status))
	}
	res.body = b
	if contentType != "" && !res.headers.has("content-type") {
		res.headers.fields = append(res.headers.fields, header("content-type", contentType))
	}
}
