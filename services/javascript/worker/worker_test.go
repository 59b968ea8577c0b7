package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// serveDescriptor is the environment variable that makes the test binary a worker
// with one processor, on the socket that is its descriptor 3.
const serveDescriptor = "WORKER_TEST_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serveDescriptor) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	runtime.GOMAXPROCS(1)
	conn, err := net.FileConn(os.NewFile(3, "socket"))
	if err == nil {
		err = Serve(conn, Config{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

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

// outcome is all that came back for one execution.
type outcome struct {
	head  wire.Response
	body  []byte
	calls []wire.HostCall
	lines []wire.Log
	ended bool // ResponseEnd came
	end   wire.End
}

// collect reads frames until the execution ends. answer gives the frames to send
// back for one; it may be nil.
func (s *server) collect(id uint32, answer func(wire.Frame) []byte) (o outcome) {
	s.t.Helper()
	for {
		f := s.read()
		if f.ID != id {
			s.t.Fatalf("frame %+v of another execution", f)
		}
		var err error
		switch f.Type {
		case wire.TypeResponse:
			o.head, err = wire.ParseResponse(f.Payload)
		case wire.TypeResponseBody:
			o.body = append(o.body, f.Payload...)
		case wire.TypeResponseEnd:
			o.ended = true
		case wire.TypeHostCall:
			var c wire.HostCall
			c, err = wire.ParseHostCall(f.Payload)
			o.calls = append(o.calls, c)
		case wire.TypeLog:
			var l wire.Log
			l, err = wire.ParseLog(f.Payload)
			o.lines = append(o.lines, l)
		case wire.TypeEnd:
			o.end, err = wire.ParseEnd(f.Payload)
			if err != nil {
				s.t.Fatal(err)
			}
			return o
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if answer != nil {
			if b := answer(f); len(b) > 0 {
				s.write(b)
			}
		}
	}
}

func TestServe_HostCalls(t *testing.T) {
	s := serve(t, Config{})
	s.load(1, `const c = picloud.kv.collection("c"); return {default: {fetch: async () => { console.warn("asking"); return await c.get("k") }}}`)
	s.write(wire.Append(nil, wire.TypeStart, 5, startOf(1).Append(nil)))
	o := s.collect(5, func(f wire.Frame) []byte {
		if f.Type != wire.TypeHostCall {
			return nil
		}
		return wire.Append(nil, wire.TypeHostResult, 5, wire.HostResult{Call: 1, Value: []byte(`{"a":1}`)}.Append(nil))
	})
	if string(o.body) != `{"a":1}` || !o.ended || o.end.Code != "" || len(o.calls) != 1 || string(o.calls[0].Args) != `["c","k"]` {
		t.Errorf("got %+v", o)
	}
	if len(o.lines) != 1 || o.lines[0] != (wire.Log{Level: "warn", Text: "asking"}) {
		t.Errorf("lines %+v", o.lines)
	}
}

func TestServe_StreamsBothWays(t *testing.T) {
	s := serve(t, Config{})
	s.load(1, `return {default: {fetch: (request) => new Response(request.body)}}`)
	start := startOf(1)
	start.Method, start.BodyLength = "POST", -1
	s.write(wire.Append(nil, wire.TypeStart, 1, start.Append(nil)))
	const total = 3 << 20
	chunk := bytes.Repeat([]byte("x"), wire.MaxChunk)
	sent, credit := 0, wire.InitialCredit
	send := func() (b []byte) {
		for sent < total && credit >= len(chunk) {
			b = wire.Append(b, wire.TypeBody, 1, chunk)
			sent += len(chunk)
			credit -= len(chunk)
			if sent == total {
				b = wire.Append(b, wire.TypeBodyEnd, 1, nil)
			}
		}
		return b
	}
	s.write(send())
	unread := 0
	o := s.collect(1, func(f wire.Frame) []byte {
		switch f.Type {
		case wire.TypeBodyCredit:
			n, err := wire.ParseCredit(f.Payload)
			if err != nil {
				t.Fatal(err)
			}
			credit += int(n)
			return send()
		case wire.TypeResponseBody:
			if unread += len(f.Payload); unread > wire.InitialCredit {
				t.Fatalf("%d bytes came on a credit of %d", unread, wire.InitialCredit)
			}
			if unread >= wire.InitialCredit/2 {
				n := unread
				unread = 0
				return wire.Append(nil, wire.TypeCredit, 1, wire.AppendCredit(nil, uint32(n)))
			}
		}
		return nil
	})
	if len(o.body) != total || !o.ended || o.end.Code != "" {
		t.Errorf("body of %d, ended %v, end %+v %+v", len(o.body), o.ended, o.end, o.end.Error)
	}
}

// A worker keeps one slow execution from holding up others.
func TestServe_Concurrent(t *testing.T) {
	s := serve(t, Config{})
	s.load(1, `const c = picloud.kv.collection("c"); return {default: {fetch: async (q) => q.url.endsWith("slow") ? c.get("k") : "fast"}}`)
	slow := startOf(1)
	slow.URL = "http://localhost/slow"
	s.write(wire.Append(nil, wire.TypeStart, 1, slow.Append(nil)))
	if f := s.read(); f.Type != wire.TypeHostCall || f.ID != 1 {
		t.Fatalf("frame %+v", f)
	}
	s.write(wire.Append(nil, wire.TypeStart, 2, startOf(1).Append(nil)))
	if o := s.collect(2, nil); string(o.body) != "fast" {
		t.Errorf("got %+v", o)
	}
	s.write(wire.Append(nil, wire.TypeHostResult, 1, wire.HostResult{Call: 1, Value: []byte(`"slow"`)}.Append(nil)))
	if o := s.collect(1, nil); string(o.body) != "slow" {
		t.Errorf("got %+v", o)
	}
}

func TestServe_Cancel(t *testing.T) {
	s := serve(t, Config{})
	s.load(1, `const c = picloud.kv.collection("c"); return {default: {fetch: () => c.get("k")}}`)
	s.write(wire.Append(nil, wire.TypeStart, 1, startOf(1).Append(nil)))
	o := s.collect(1, func(f wire.Frame) []byte {
		if f.Type != wire.TypeHostCall {
			return nil
		}
		return wire.Append(nil, wire.TypeCancel, 1, nil)
	})
	if o.end.Code != string(cloud.CodeTimeout) || o.ended {
		t.Errorf("got %+v", o)
	}
}

func TestServe_UnknownProgram(t *testing.T) {
	s := serve(t, Config{})
	s.load(1, `return {}`)
	s.write(wire.Append(nil, wire.TypeUnload, 1, nil))
	s.write(wire.Append(nil, wire.TypeStart, 1, startOf(1).Append(nil)))
	if o := s.collect(1, nil); o.end.Code != string(cloud.CodeInternal) {
		t.Errorf("got %+v", o)
	}
}

func TestServe_Memory(t *testing.T) {
	s := serve(t, Config{Memory: 32 << 20})
	s.load(1, `const a = []; return {default: {fetch: (q) => { if (q.url.endsWith("test")) return "fine"; for (;;) a.push({a: 1}) }}}`)
	greedy := startOf(1)
	greedy.URL = "http://localhost/greedy"
	greedy.CPU, greedy.Wall = 60*time.Second, 60*time.Second
	s.write(wire.Append(nil, wire.TypeStart, 1, greedy.Append(nil)))
	if o := s.collect(1, nil); o.end.Code != string(cloud.CodeMemory) {
		t.Errorf("got %+v %+v", o.end, o.end.Error)
	}
	s.write(wire.Append(nil, wire.TypeStart, 2, startOf(1).Append(nil)))
	if o := s.collect(2, nil); string(o.body) != "fine" {
		t.Errorf("afterwards %+v %+v", o.end, o.end.Error)
	}
}

// A native loop does not see the interrupt: the worker reports the execution,
// lets go what others said before, and leaves with ExitStuck, on one processor too.
func TestServe_Stuck(t *testing.T) {
	ours, theirs := socketpair(t)
	defer ours.Close()
	file, err := theirs.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(os.Environ(), serveDescriptor+"=1")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	file.Close()
	s := &server{t: t, conn: ours, frames: wire.NewReader(ours, wire.MaxFromWorker)}
	if f := s.read(); f.Type != wire.TypeReady {
		t.Fatalf("first frame %+v", f)
	}
	// The expression has two to the power of forty ways to fail.
	s.load(1, `return {default: {fetch: () => /^(?=a)(a+)+$/.test("a".repeat(40) + "b")}}`)
	start := startOf(1)
	start.CPU = 20 * time.Millisecond
	s.write(wire.Append(nil, wire.TypeStart, 1, start.Append(nil)))
	if o := s.collect(1, nil); o.end.Code != string(cloud.CodeCPU) || o.end.Error == nil || !strings.Contains(o.end.Error.Message, "native code") {
		t.Errorf("got %+v %+v", o.end, o.end.Error)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != ExitStuck {
		t.Errorf("the worker left with %v (%v), want exit code %d", cmd.ProcessState, err, ExitStuck)
	}
}

// More executions wait at once than runners and runtimes may afterwards, and the
// program goes and comes.
func TestServe_ManyAtOnce(t *testing.T) {
	s := serve(t, Config{Idle: 2})
	for range 2 {
		s.load(1, `const c = picloud.kv.collection("c"); return {default: {fetch: () => c.get("k")}}`)
		// More at once than may wait afterwards.
		const executions = 4
		var answers []byte
		for id := range uint32(executions) {
			s.write(wire.Append(nil, wire.TypeStart, id+1, startOf(1).Append(nil)))
		}
		for range executions {
			f := s.read()
			call, err := wire.ParseHostCall(f.Payload)
			if f.Type != wire.TypeHostCall || err != nil {
				t.Fatalf("frame %+v, %v", f, err)
			}
			answers = wire.Append(answers, wire.TypeHostResult, f.ID, wire.HostResult{Call: call.Call, Value: []byte("1")}.Append(nil))
		}
		s.write(answers)
		for ended := 0; ended < executions; {
			f := s.read()
			if f.Type != wire.TypeEnd {
				continue
			}
			ended++
			if end, err := wire.ParseEnd(f.Payload); err != nil || end.Code != "" {
				t.Errorf("end %+v, %v", end, err)
			}
		}
		s.write(wire.Append(nil, wire.TypeUnload, 1, nil))
	}
}

func TestServe_Malformed(t *testing.T) {
	for name, frame := range map[string][]byte{
		"a type of the worker": wire.Append(nil, wire.TypeEnd, 1, nil),
		"a bad Start":          wire.Append(nil, wire.TypeStart, 1, []byte{1, 2}),
		"a bad length":         {0, 0, 0, 1, 1},
		"a bad env":            wire.Append(nil, wire.TypeEnv, 0, []byte("[]")),
		"a cut frame":          {0, 0, 0, 9, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := socketpair(t)
			served := make(chan error, 1)
			go func() { served <- Serve(theirs, Config{}) }()
			if _, err := ours.Write(frame); err != nil {
				t.Fatal(err)
			}
			if uc, ok := ours.(*net.UnixConn); ok {
				_ = uc.CloseWrite()
			}
			if err := <-served; err == nil {
				t.Error("Serve took it")
			}
			ours.Close()
		})
	}
}

func FuzzServe(f *testing.F) {
	load := wire.Append(nil, wire.TypeLoad, 1, wire.Load{Name: "t", Hash: "h", Code: `async () => ({default: () => "x"})`}.Append(nil))
	start := startOf(1)
	start.Wall, start.CPU = 50*time.Millisecond, 20*time.Millisecond
	f.Add(wire.Append(load, wire.TypeStart, 1, start.Append(nil)))
	f.Add(wire.Append(nil, wire.TypeHostResult, 1, wire.HostResult{Call: 1, Value: []byte("1")}.Append(nil)))
	f.Add(wire.Append(wire.Append(load, wire.TypeStart, 1, start.Append(nil)), wire.TypeCancel, 1, nil))
	f.Add([]byte{0, 0, 0, 5, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		// A Start that the fuzzer made could run for hours: that is allowed, and
		// Serve ends it when the socket closes.
		ours, theirs := socketpair(t)
		served := make(chan error, 1)
		go func() { served <- Serve(theirs, Config{Stuck: func() {}}) }()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, ours)
		}()
		_, _ = ours.Write(input)
		if uc, ok := ours.(*net.UnixConn); ok {
			_ = uc.CloseWrite()
		}
		err := <-served
		if err != nil && !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Serve: %v", err)
		}
		ours.Close()
		<-drained
	})
}
