package engine

import (
	"github.com/dop251/goja"
	whatwg "github.com/nlnwa/whatwg-url/url"
	"github.com/picloud/picloud/services/executor/wire"
)

// address is the state of a URL object.
type address struct {
	url      *whatwg.Url
	query    *query // the state of searchParams, once asked for
	queryObj *goja.Object
}

// urls parses as the URL standard says; validation errors that do not make
// parsing fail are ignored.
var urls = whatwg.NewParser()

func (r *Runtime) urlClass() *class {
	if r.classes.url != nil {
		return r.classes.url
	}
	parse := func(args []goja.Value) (*whatwg.Url, error) {
		if len(args) > 1 && !goja.IsUndefined(args[1]) {
			base, err := urls.Parse(args[1].String())
			if err != nil {
				return nil, err
			}
			return base.Parse(args[0].String())
		}
		return urls.Parse(args[0].String())
	}
	c := newClass(r, "URL", 1, func(args []goja.Value) *address {
		r.need(args, 1, "the constructor of 'URL'")
		u, err := parse(args)
		if err != nil {
			e := r.vm.NewTypeError("Invalid URL")
			_ = e.Set("code", "ERR_INVALID_URL")
			_ = e.Set("input", args[0].String())
			panic(e)
		}
		return &address{url: u}
	})
	r.classes.url = c
	c.static("canParse", 1, func(fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'canParse' on 'URL'")
		_, err := parse(fc.Arguments)
		return r.vm.ToValue(err == nil)
	})
	c.static("parse", 1, func(fc goja.FunctionCall) goja.Value {
		r.need(fc.Arguments, 1, "'parse' on 'URL'")
		u, err := parse(fc.Arguments)
		if err != nil {
			return goja.Null()
		}
		return c.object(&address{url: u})
	})
	text := func(name string, get func(*whatwg.Url) string, set func(*whatwg.Url, string)) {
		var setter func(*address, goja.Value)
		if set != nil {
			setter = func(a *address, v goja.Value) { set(a.url, v.String()) }
		}
		property(c, name, func(a *address) goja.Value { return r.vm.ToValue(get(a.url)) }, setter)
	}
	href := func(u *whatwg.Url) string { return u.Href(false) }
	property(c, "href", func(a *address) goja.Value { return r.vm.ToValue(href(a.url)) }, func(a *address, v goja.Value) {
		u, err := urls.Parse(v.String())
		if err != nil {
			panic(r.vm.NewTypeError("Invalid URL"))
		}
		a.url = u
		a.readQuery()
	})
	text("origin", origin, nil)
	text("protocol", (*whatwg.Url).Protocol, (*whatwg.Url).SetProtocol)
	text("username", (*whatwg.Url).Username, (*whatwg.Url).SetUsername)
	text("password", (*whatwg.Url).Password, (*whatwg.Url).SetPassword)
	text("host", (*whatwg.Url).Host, (*whatwg.Url).SetHost)
	text("hostname", (*whatwg.Url).Hostname, (*whatwg.Url).SetHostname)
	text("port", (*whatwg.Url).Port, (*whatwg.Url).SetPort)
	text("pathname", (*whatwg.Url).Pathname, (*whatwg.Url).SetPathname)
	text("hash", (*whatwg.Url).Hash, (*whatwg.Url).SetHash)
	property(c, "search", func(a *address) goja.Value { return r.vm.ToValue(a.url.Search()) }, func(a *address, v goja.Value) {
		a.url.SetSearch(v.String())
		a.readQuery()
	})
	property(c, "searchParams", func(a *address) goja.Value {
		if a.queryObj == nil {
			a.query = &query{owner: a}
			a.readQuery()
			a.queryObj = r.queryClass().object(a.query)
		}
		return a.queryObj
	}, nil)
	for _, name := range []string{"toString", "toJSON"} {
		method(c, name, 0, func(a *address, _ goja.FunctionCall) goja.Value { return r.vm.ToValue(href(a.url)) })
	}
	return c
}

// readQuery makes searchParams follow the URL.
func (a *address) readQuery() {
	if a.query != nil {
		a.query.pairs = parseQuery(a.url.Query())
	}
}

// origin serialises the URL's origin (URL, section 4.7).
func origin(u *whatwg.Url) string {
	switch u.Scheme() {
	case "http", "https", "ws", "wss", "ftp":
		return u.Protocol() + "//" + u.Host()
	case "blob":
		if inner, err := urls.Parse(u.Pathname()); err == nil && (inner.Scheme() == "http" || inner.Scheme() == "https") {
			return origin(inner)
		}
	}
	return "null"
}

// resolveURL resolves a location against the URL of the request that runs, so
// that a handler may redirect to a path.
func (r *Runtime) resolveURL(raw string) (string, error) {
	if r.x != nil && r.x.start.URL != "" {
		u, err := urls.ParseRef(r.x.start.URL, raw)
		if err != nil {
			return "", err
		}
		return u.Href(false), nil
	}
	u, err := urls.Parse(raw)
	if err != nil {
		return "", err
	}
	return u.Href(false), nil
}

// query is the state of a URLSearchParams object.
type query struct {
	pairs []wire.Header
	owner *address // the URL that follows; may be nil
}

// changed makes the URL follow the list.
func (q *query) changed() {
	if q.owner != nil {
		q.owner.url.SetSearch(q.String())
	}
}
