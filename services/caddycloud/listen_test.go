package caddycloud

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// passed are sockets and files as systemd would hand them over.
func passed(t *testing.T, named ...any) *sockets {
	t.Helper()
	var files []*os.File
	for i := 0; i < len(named); i += 2 {
		file, err := named[i+1].(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Dup(int(file.Fd()))
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		renamed := os.NewFile(uintptr(fd), named[i].(string))
		t.Cleanup(func() { _ = renamed.Close() })
		files = append(files, renamed)
	}
	return &sockets{take: func() []*os.File { return files }}
}

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// regular is a file that is no socket.
type regular struct{ path string }

func (r regular) File() (*os.File, error) { return os.Create(r.path) }

func TestSockets_refusals(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		passed  []any
		network string
		want    string
	}{
		"nothing was passed":        {nil, streamNetwork, "systemd/http is a socket that systemd passes on, and it passed none"},
		"no socket of that name":    {[]any{"https", listenTCP(t)}, streamNetwork, `no stream socket named "http"; those it passed: https`},
		"only a datagram socket":    {[]any{"http", listenUDP(t)}, streamNetwork, `no stream socket named "http"; those it passed: none`},
		"only a stream socket":      {[]any{"http", listenTCP(t)}, datagramNetwork, "leave h3 out of the server's protocols"},
		"two of one name":           {[]any{"http", listenTCP(t), "http", listenTCP(t)}, streamNetwork, `two sockets of one type named "http"`},
		"a file that is no socket":  {[]any{"http", regular{t.TempDir() + "/file"}}, streamNetwork, `"http" is no socket`},
		"an error that stays there": {[]any{"http", listenTCP(t), "data", regular{t.TempDir() + "/file"}}, streamNetwork, `"data" is no socket`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := passed(t, tt.passed...).listen(t.Context(), tt.network, "http", "80", 0, net.ListenConfig{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", l, err, tt.want)
			}
		})
	}
}

// TestSockets_overlap has two generations of a configuration listen on one socket:
// the first one's end takes nothing from the second, and a third finds it again.
func TestSockets_overlap(t *testing.T) {
	t.Parallel()
	socket := listenTCP(t)
	s := passed(t, "http", socket, "http", listenUDP(t))
	listen := func() net.Listener {
		l, err := s.listen(t.Context(), streamNetwork, "http", "80", 0, net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.(net.Listener).Close() })
		return l.(net.Listener)
	}
	serve := func(l net.Listener) {
		t.Helper()
		client, err := new(net.Dialer).DialContext(t.Context(), "tcp", socket.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
			t.Errorf("accepted a connection from %s, want %s", got, want)
		}
	}
	first, second := listen(), listen()
	serve(first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	serve(second)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	serve(listen())
}

func TestSockets_packets(t *testing.T) {
	t.Parallel()
	socket := listenUDP(t)
	s := passed(t, "https", listenTCP(t), "https", socket)
	l, err := s.listen(t.Context(), datagramNetwork, "https", "443", 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	conn := l.(net.PacketConn)
	defer func() { _ = conn.Close() }()
	if got, want := conn.LocalAddr().String(), socket.LocalAddr().String(); got != want {
		t.Errorf("got the socket of %s, want %s", got, want)
	}
}
