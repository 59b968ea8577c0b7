package caddycloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// The networks whose addresses are names of sockets that systemd holds, as in
// "bind systemd/http": those that FileDescriptorName= gives them in a socket
// unit (systemd.socket(5)). Caddy asks for the second by itself where a server
// speaks HTTP/3. A port that it adds to the address means nothing.
const (
	streamNetwork   = "systemd"
	datagramNetwork = "systemdgram"
)

func init() {
	caddy.RegisterNetwork(streamNetwork, activated.listen)
	caddy.RegisterNetwork(datagramNetwork, activated.listen)
	caddyhttp.RegisterNetworkHTTP3(streamNetwork, datagramNetwork)
}

// activated are the sockets of this process.
var activated = &sockets{take: func() []*os.File { return activation.Files(true) }}

// sockets are those that systemd handed over at the start. They stay open as long
// as the process does, so that each generation of Caddy's configuration can
// listen on a socket while the one before it still does.
type sockets struct {
	take func() []*os.File // called once

	once            sync.Once
	stream, packets map[string]*os.File // by name
	invalid         error
}

// listen gives out a duplicate of the socket named host: a net.Listener, or a
// net.PacketConn for datagrams. It is a caddy.ListenerFunc.
func (s *sockets) listen(_ context.Context, network, host, _ string, _ uint, cfg net.ListenConfig) (any, error) {
	s.once.Do(s.sort)
	if s.invalid != nil {
		return nil, s.invalid
	}
	if len(s.stream)+len(s.packets) == 0 {
		return nil, fmt.Errorf("%s/%s is a socket that systemd passes on, and it passed none: start PiCloud by its units (systemctl start picloud.service), or listen on an address such as :80", network, host)
	}
	if network == datagramNetwork {
		return s.listenPacket(host)
	}
	file, err := find(s.stream, host, "stream", "ListenStream")
	if err != nil {
		return nil, err
	}
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("socket %q of systemd: %w", host, err)
	}
	if tcp, ok := l.(*net.TCPListener); ok {
		return keepAliveListener{tcp, cfg.KeepAliveConfig}, nil
	}
	return l, nil
}

func (s *sockets) listenPacket(name string) (any, error) {
	file, err := find(s.packets, name, "datagram", "ListenDatagram")
	if err != nil {
		return nil, fmt.Errorf("HTTP/3: %w; or leave h3 out of the server's protocols", err)
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("socket %q of systemd: %w", name, err)
	}
	return conn, nil
}

func find(named map[string]*os.File, name, kind, option string) (*os.File, error) {
	if file := named[name]; file != nil {
		return file, nil
	}
	there := "none"
	if len(named) > 0 {
		there = strings.Join(slices.Sorted(maps.Keys(named)), ", ")
	}
	return nil, fmt.Errorf("systemd passed no %s socket named %q; those it passed: %s. A socket unit of picloud.service needs FileDescriptorName=%s and %s=", kind, name, there, name, option)
}

// sort takes the sockets, and tells them apart by name and type.
func (s *sockets) sort() {
	s.stream, s.packets = map[string]*os.File{}, map[string]*os.File{}
	for _, file := range s.take() {
		kind, err := socketType(file)
		if err != nil {
			s.invalid = errors.Join(s.invalid, fmt.Errorf("what systemd passed as %q is no socket: %w", file.Name(), err))
			continue
		}
		to := s.stream
		if kind == unix.SOCK_DGRAM {
			to = s.packets
		}
		if to[file.Name()] != nil {
			s.invalid = errors.Join(s.invalid, fmt.Errorf("systemd passed two sockets of one type named %q: give each a FileDescriptorName= of its own, and one address for both families, such as ListenStream=80", file.Name()))
			continue
		}
		to[file.Name()] = file
	}
}

func socketType(file *os.File) (kind int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlled := raw.Control(func(fd uintptr) {
		kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
	})
	return kind, errors.Join(controlled, err)
}

// keepAliveListener gives its connections the keep-alive that net.ListenConfig
// would, had it made the socket.
type keepAliveListener struct {
	*net.TCPListener
	config net.KeepAliveConfig
}

func (l keepAliveListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = conn.SetKeepAliveConfig(l.config) // a connection that is gone says so when it is read
	return conn, nil
}
