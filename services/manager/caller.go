package manager

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/picloud/picloud/services/cloud"
)

// caller is who makes a request that was let in, and about what.
type caller struct {
	principal *cloud.Principal // nil for open operations
	app       cloud.App        // zero if the path names none
	user      cloud.User       // zero if the path names none, or one as a member of app
	origin    origin
	client    cloud.Client
	cookie    string // the name of the session cookie

	// again tells whether the request would still be let in. Nil for open
	// operations.
	again func(ctx context.Context) error
}

type callerKey struct{}

func newCaller(r *http.Request) *caller {
	return &caller{origin: originOf(r), client: clientOf(r), cookie: cloud.SessionCookieName(r)}
}

// call is the context of a data call by the caller.
func (c *caller) call() cloud.Call {
	return cloud.Call{AppID: c.app.ID, Principal: c.principal}
}

// clientOf is where r came from. Whoever stands in front of the Manager has put
// the client's address into r.RemoteAddr.
func clientOf(r *http.Request) cloud.Client {
	return cloud.Client{Address: addressOf(r.RemoteAddr), UserAgent: r.UserAgent()}
}

// addressOf is the IP address in the text of an address with or without a port,
// or "".
func addressOf(remote string) string {
	ip, err := netip.ParseAddr(remote)
	if err != nil {
		at, err := netip.ParseAddrPort(remote)
		if err != nil {
			return ""
		}
		ip = at.Addr()
	}
	return ip.Unmap().WithZone("").String()
}
