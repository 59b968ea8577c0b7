package manager

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// origin is how a caller reaches the instance; what the API says of apps'
// addresses follows it.
type origin struct {
	scheme string
	host   string // as in the Host header, with the port if there is one
}

func originOf(r *http.Request) origin {
	o := origin{scheme: "http", host: r.Host}
	if r.TLS != nil {
		o.scheme = "https"
	}
	return o
}

// withHost is the origin's URL with another host name and the same port.
func (o origin) withHost(name string) string {
	if _, port, err := net.SplitHostPort(o.host); err == nil && port != "" {
		name = net.JoinHostPort(name, port)
	}
	return (&url.URL{Scheme: o.scheme, Host: name}).String()
}

// invitation is the link that leads an invited user to where a password is set.
// The token stands in the fragment, which no server sees.
func (o origin) invitation(token string) string {
	return o.scheme + "://" + o.host + dashboard + "invitation#" + token
}

// app is the URL under which an app is reached, without a path: for the default
// app the origin itself, else the first exact domain, else SLUG.local for
// callers that came by such a name, else SLUG.localhost.
func (o origin) app(app cloud.App, domains []cloud.Domain) string {
	if app.Slug == cloud.DefaultApp {
		return o.scheme + "://" + o.host
	}
	i := slices.IndexFunc(domains, func(d cloud.Domain) bool { return !strings.HasPrefix(d.Host, "*") })
	switch {
	case i >= 0:
		return o.withHost(domains[i].Host)
	case strings.HasSuffix(cloud.NormalHost(o.host), ".local"):
		return o.withHost(app.Slug + ".local")
	default:
		return o.withHost(app.Slug + ".localhost")
	}
}

// route is the URL of a route's pattern.
func (o origin) route(app cloud.App, domains []cloud.Domain, r cloud.Route) string {
	base := o.app(app, domains)
	if r.Host != "" {
		base = o.withHost(r.Host)
	}
	return base + r.Path
}
