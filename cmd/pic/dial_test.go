package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
)

func TestDialer(t *testing.T) {
	t.Parallel()
	unknown := &net.DNSError{Err: "no such host", Name: "name", IsNotFound: true}
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for _, test := range []struct {
		name   string
		addr   string
		found  []string // by the system's resolver
		dialed []string
		err    error
	}{
		{"a name under .local is the system's to know", "pi.local:80", []string{"fe80::1%eth0", "192.0.2.7"}, []string{"pi.local:80", "[fe80::1%eth0]:80", "192.0.2.7:80"}, nil},
		{"nobody knows it", "pi.local:80", nil, []string{"pi.local:80"}, unknown},
		{"nobody listens there", "pi.local:80", []string{"192.0.2.8"}, []string{"pi.local:80", "192.0.2.8:80"}, refused},
		{"other names are for DNS alone", "pi.example:80", []string{"192.0.2.7"}, []string{"pi.example:80"}, unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var dialed []string
			d := dialer{
				dial: func(_ context.Context, _, addr string) (net.Conn, error) {
					dialed = append(dialed, addr)
					switch addr {
					case test.addr:
						return nil, &net.OpError{Op: "dial", Err: unknown}
					case "192.0.2.7:80":
						return &net.TCPConn{}, nil
					}
					return nil, refused
				},
				lookup: func(context.Context, string) ([]string, error) { return test.found, nil },
			}
			conn, err := d.DialContext(t.Context(), "tcp", test.addr)
			if !errors.Is(err, test.err) || (conn != nil) != (test.err == nil) {
				t.Errorf("DialContext = %v, %v, want error %v", conn, err, test.err)
			}
			if !slices.Equal(dialed, test.dialed) {
				t.Errorf("dialled %v, want %v", dialed, test.dialed)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	answer := "192.0.2.7       STREAM pi.local\n192.0.2.7       DGRAM\n\n2001:db8::1     STREAM\n"
	if got, want := hosts(answer), []string{"192.0.2.7", "2001:db8::1"}; !slices.Equal(got, want) {
		t.Errorf("hosts = %v, want %v", got, want)
	}
}
