package main

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"time"
)

// dialer connects to servers, also to names under .local (RFC 6762), which a
// board on the LAN has. Go's own resolver, which pic has on Linux when built
// without cgo, does not know them; the system's may.
type dialer struct {
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	lookup func(ctx context.Context, host string) ([]string, error)
}

func newDialer() dialer {
	return dialer{
		dial:   (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		lookup: systemLookup,
	}
}

func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, addr)
	unknown, ok := errors.AsType[*net.DNSError](err)
	host, port, splitErr := net.SplitHostPort(addr)
	if !ok || splitErr != nil || !strings.HasSuffix(strings.TrimSuffix(host, "."), ".local") {
		return conn, err
	}
	addresses, lookupErr := d.lookup(ctx, host)
	if lookupErr != nil || len(addresses) == 0 {
		return nil, unknown
	}
	for _, address := range addresses {
		if conn, err = d.dial(ctx, network, net.JoinHostPort(address, port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// systemLookup asks the C library's resolver, by the tool that comes with it.
func systemLookup(ctx context.Context, host string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "getent", "ahosts", host).Output()
	if err != nil {
		return nil, err
	}
	return hosts(string(out)), nil
}

// hosts are the addresses in getent's answer, each once: the first words of its
// lines.
func hosts(answer string) []string {
	var addresses []string
	seen := map[string]bool{}
	for line := range strings.Lines(answer) {
		words := strings.Fields(line)
		if len(words) == 0 || seen[words[0]] {
			continue
		}
		seen[words[0]] = true
		addresses = append(addresses, words[0])
	}
	return addresses
}
