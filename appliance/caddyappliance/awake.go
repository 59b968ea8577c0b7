package caddyappliance

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/picloud/picloud/appliance/sleep"
)

// Listeners is the listener wrapper picloud_awake: while a connection is open that
// was accepted through it, the process stays. It must be followed by the wrapper tls,
// which Caddy would put before it otherwise, so that HTTP/2 works:
//
//	servers {
//		listener_wrappers {
//			picloud_awake
//			tls
//		}
//		timeouts {
//			idle 10s
//			read_header 10s
//		}
//	}
//
// A short idle time-out keeps browsers from holding the board awake. With
// HTTP/2 and HTTP/3 clients are told before the connection closes; with HTTP/1.1
// the handler picloud_awake tells them to close it first.
type Listeners struct {
	keeper *sleep.Keeper
}

// CaddyModule returns the Caddy module information.
func (Listeners) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.picloud_awake", New: func() caddy.Module { return new(Listeners) }}
}

// Provision finds the app.
func (l *Listeners) Provision(ctx caddy.Context) (err error) {
	l.keeper, err = keeperOf(ctx)
	return err
}

// WrapListener implements caddy.ListenerWrapper.
func (l *Listeners) WrapListener(inner net.Listener) net.Listener {
	return listener{inner, l.keeper}
}

type listener struct {
	net.Listener
	keeper *sleep.Keeper
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.keeper.Enter()
	return &connection{Conn: c, leave: sync.OnceFunc(l.keeper.Leave)}, nil
}

// connection is one that keeps the process until it is closed.
type connection struct {
	net.Conn
	leave func()
}

func (c *connection) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// ReadFrom lets the kernel copy a file, where the inner connection can.
func (c *connection) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// Requests is the handler picloud_awake: while a request is being answered, the
// process stays. It counts those that come over no connection of their own, as with
// HTTP/3, and tells clients of HTTP/1.1 to close an idle connection well before the
// server does, so that no request meets a connection that is being closed.
//
//	picloud_awake
type Requests struct {
	keeper *sleep.Keeper
}

// CaddyModule returns the Caddy module information.
func (Requests) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.picloud_awake", New: func() caddy.Module { return new(Requests) }}
}

// Provision finds the app.
func (h *Requests) Provision(ctx caddy.Context) (err error) {
	h.keeper, err = keeperOf(ctx)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Requests) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.keeper.Enter()
	defer h.keeper.Leave()
	if r.ProtoMajor == 1 {
		if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
			if seconds := int(time.Duration(server.IdleTimeout).Seconds() / 2); seconds > 0 {
				w.Header().Set("Keep-Alive", "timeout="+strconv.Itoa(seconds))
			}
		}
	}
	return next.ServeHTTP(w, r)
}
