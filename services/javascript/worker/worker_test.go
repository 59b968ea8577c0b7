package worker

import (
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/services/executor/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socketpair returns two connected stream sockets, as a worker inherits one.
func socketpair(t testing.TB) (server, worker net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) net.Conn {
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return conn(fds[0]), conn(fds[1])
}

// server is the server's half in a test.
type server struct {
	t      testing.TB
	conn   net.Conn
	frames *wire.Reader
	served chan error
}

func serve(t testing.TB, config Config) *server {
	t.Helper()
	ours, theirs := socketpair(t)
	s := &server{t: t, conn: ours, frames: wire.NewReader(ours, wire.MaxFromWorker), served: make(chan error, 1)}
	go func() { s.served <- Serve(theirs, config) }()
	t.Cleanup(func() {
		ours.Close()
		if err := <-s.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	f := s.read()
	if f.Type != wire.TypeReady || len(f.Payload) != 1 || f.Payload[0] != wire.Version {
		t.Fatalf("first frame %+v, want Ready", f)
	}
	return s
}

func (s *server) read() wire.Frame {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	f, err := s.frames.Read()
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	f.Payload = append([]byte(nil), f.Payload...)
	return f
}

func (s *server) write(p []byte) {
	s.t.Helper()
	if _, err := s.conn.Write(p); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) load(id uint32, code string) {
	s.write(wire.Append(nil, wire.TypeLoad, id, wire.Load{Name: "test", Hash: "h", Code: "async function(picloud) {" + code + "}"}.Append(nil)))
}

func startOf(program uint32) wire.Start {
	return wire.Start{
		Program: program, Handler: "fetch", Wall: 10 * time.Second, CPU: 5 * time.Second,
		RequestBody: 1 << 20, ResponseBody: 4 << 20, Log: 4096,
		ExecutionID: "x", RequestID: "r", App: "default", Script: "test", Method: "GET", URL: "http://localhost/test",
		Headers: []wire.Header{{Name: "accept", Value: "*/*"}, {Name: "user-agent", Value: "test"}},
	}
}

func TestServe(t *testing.T) {
	s := serve(t, Config{})
	s.load(1, `return {default: {fetch: () => new Response("hi")}}`)
	for id := range uint32(3) {
		s.write(wire.Append(nil, wire.TypeStart, id+1, startOf(1).Append(nil)))
		head := s.read()
		res, err := wire.ParseResponse(head.Payload)
		if err != nil || head.Type != wire.TypeResponse || head.ID != id+1 || res.Status != 200 || res.Length != 2 {
			t.Fatalf("head %+v %+v %v", head, res, err)
		}
		if f := s.read(); f.Type != wire.TypeResponseBody || string(f.Payload) != "hi" {
			t.Fatalf("body %+v", f)
		}
		if f := s.read(); f.Type != wire.TypeResponseEnd {
			t.Fatalf("end of response %+v", f)
		}
		f := s.read()
		end, err := wire.ParseEnd(f.Payload)
		if f.Type != wire.TypeEnd || err != nil || end.Code != "" {
			t.Fatalf("end %+v %+v %v", f, end, err)
		}
	}
}

// BenchmarkServe sends requests in bursts over a socketpair, as a busy server
// does, and counts what both halves cost.
func BenchmarkServe(b *testing.B) {
	s := serve(b, Config{})
	s.load(1, `return {default: {fetch: () => new Response("hi")}}`)
	const burst = 16
	start := startOf(1).Append(nil)
	b.ReportAllocs()
	for n := 0; n < b.N; n += burst {
		var batch []byte
		for i := range burst {
			batch = wire.Append(batch, wire.TypeStart, uint32(n+i), start)
		}
		s.write(batch)
		for ended := 0; ended < burst; {
			f, err := s.frames.Read()
			if err != nil {
				b.Fatal(err)
			}
			if f.Type == wire.TypeEnd {
				ended++
			}
		}
	}
}
