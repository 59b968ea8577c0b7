package executor

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// TestMain is also the main of a fake worker: executors under test run the test
// binary itself as their worker, and the code of a script names what it does.
func TestMain(m *testing.M) {
	if os.Args[0] == "picloud-worker" {
		fakeWorker()
		return
	}
	if os.Args[0] == "server" {
		lonelyServer()
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if workerDir != "" {
			_ = os.RemoveAll(workerDir)
		}
		os.Exit(code)
	}))
}

// fake is a worker for tests: it speaks the protocol, or breaks it as it is
// told.
type fake struct {
	conn     net.Conn
	mu       sync.Mutex // of writes
	out      *bufio.Writer
	programs map[uint32]string
	runs     map[uint32]*fakeRun
	deaf     atomic.Bool // reads no more
	env      string      // that came last
	envs     int         // how many came
}

// fakeRun is one execution in the fake.
type fakeRun struct {
	fake  *fake
	id    uint32
	start wire.Start
	rest  string // of the code, after the behaviour's name
	env   string // when it started
	envs  int
	in    chan wire.Frame

	credit chan uint32
	room   int64
}

func fakeWorker() {
	conn, err := net.FileConn(os.NewFile(3, "server"))
	if err != nil {
		panic(err)
	}
	f := &fake{conn: conn, out: bufio.NewWriter(conn), programs: map[uint32]string{}, runs: map[uint32]*fakeRun{}}
	f.send(wire.TypeReady, 0, []byte{wire.Version})
	r := wire.NewReader(conn, wire.MaxFromServer)
	for {
		if f.deaf.Load() {
			select {}
		}
		frame, err := r.Read()
		if err != nil {
			if f.deaf.Load() {
				select {}
			}
			return
		}
		switch frame.Type {
		case wire.TypeLoad:
			l, _ := wire.ParseLoad(frame.Payload)
			f.programs[frame.ID] = l.Code
		case wire.TypeEnv:
			f.env = string(frame.Payload)
			f.envs++
		case wire.TypeUnload:
			delete(f.programs, frame.ID)
		case wire.TypeStart:
			s, err := wire.ParseStart(frame.Payload)
			if err != nil {
				panic(err)
			}
			name, rest, _ := strings.Cut(f.programs[s.Program], " ")
			run := &fakeRun{fake: f, id: frame.ID, start: s, rest: rest, env: f.env, envs: f.envs, in: make(chan wire.Frame, 10_000), credit: make(chan uint32, 10_000), room: wire.InitialCredit}
			f.runs[frame.ID] = run
			behave, ok := behaviours[name]
			if !ok {
				panic("no behaviour " + name)
			}
			go behave(run)
		default:
			frame.Payload = bytes.Clone(frame.Payload)
			run := f.runs[frame.ID]
			if frame.Type == wire.TypeCredit {
				n, _ := wire.ParseCredit(frame.Payload)
				run.credit <- n
			} else {
				run.in <- frame
			}
		}
	}
}

func (f *fake) send(t wire.Type, id uint32, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.out.Write(wire.Append(nil, t, id, payload))
	_ = f.out.Flush()
}

// raw sends bytes that are no frame.
func (r *fakeRun) raw(p []byte) {
	r.fake.mu.Lock()
	defer r.fake.mu.Unlock()
	_, _ = r.fake.conn.Write(p)
}

func (r *fakeRun) send(t wire.Type, payload []byte) { r.fake.send(t, r.id, payload) }

func (r *fakeRun) head(status int, length int64, headers ...wire.Header) {
	r.send(wire.TypeResponse, wire.Response{Status: status, Headers: headers, Length: length}.Append(nil))
}

func (r *fakeRun) end(e wire.End) { r.send(wire.TypeEnd, e.Append(nil)) }

// write sends a chunk of the response body when the credit allows it.
func (r *fakeRun) write(p []byte) {
	for r.room < int64(len(p)) {
		r.room += int64(<-r.credit)
	}
	r.room -= int64(len(p))
	r.send(wire.TypeResponseBody, p)
}

// answer sends a whole response of text and ends.
func (r *fakeRun) answer(status int, text string, headers ...wire.Header) {
	r.head(status, int64(len(text)), headers...)
	if text != "" {
		r.send(wire.TypeResponseBody, []byte(text))
	}
	r.send(wire.TypeResponseEnd, nil)
	r.end(wire.End{})
}

// call makes a host call and waits for its result.
func (r *fakeRun) call(op, args string) wire.HostResult {
	r.send(wire.TypeHostCall, wire.HostCall{Call: 1, Op: op, Args: []byte(args)}.Append(nil))
	for f := range r.in {
		if f.Type == wire.TypeHostResult {
			result, err := wire.ParseHostResult(f.Payload)
			if err != nil {
				panic(err)
			}
			return result
		}
	}
	panic("unreachable")
}

// body reads the request body, granting credit for what it has read.
func (r *fakeRun) body(chunk func([]byte)) (complete bool) {
	if r.start.BodyLength == 0 {
		return true
	}
	for f := range r.in {
		switch f.Type {
		case wire.TypeBody:
			chunk(f.Payload)
			r.send(wire.TypeBodyCredit, wire.AppendCredit(nil, uint32(len(f.Payload))))
		case wire.TypeBodyEnd:
			return true
		case wire.TypeBodyError:
			return false
		}
	}
	panic("unreachable")
}

// behaviours are what a script of the fake worker can be: the first word of its
// code.
var behaviours = map[string]func(*fakeRun){
	"say": func(r *fakeRun) { r.answer(200, r.rest, wire.Header{Name: "content-type", Value: "text/plain"}) },
	"status": func(r *fakeRun) {
		status, _ := strconv.Atoi(r.rest)
		r.answer(status, "body")
	},
	"pid": func(r *fakeRun) { r.answer(200, strconv.Itoa(os.Getpid())) },
	"descriptor": func(r *fakeRun) {
		fd, _ := strconv.Atoi(r.rest)
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		r.answer(200, fmt.Sprint(err))
	},
	"environment": func(r *fakeRun) {
		dir, _ := os.Getwd()
		r.answer(200, fmt.Sprint(os.Environ(), dir, os.Args[1:], os.Getuid(), os.Getgid()))
	},
	"start": func(r *fakeRun) {
		s := r.start
		slices.SortFunc(s.Headers, func(a, b wire.Header) int { return strings.Compare(a.Name+a.Value, b.Name+b.Value) })
		r.answer(200, fmt.Sprintf("%s %s %d %v %v %s", s.Method, s.URL, s.BodyLength, s.Headers, s.Params, s.RequestID))
	},
	// tell-start logs what start answers.
	"tell-start": func(r *fakeRun) {
		s := r.start
		slices.SortFunc(s.Headers, func(a, b wire.Header) int { return strings.Compare(a.Name+a.Value, b.Name+b.Value) })
		text := fmt.Sprintf("%s %s %d %v %v %s", s.Method, s.URL, s.BodyLength, s.Headers, s.Params, s.RequestID)
		r.send(wire.TypeLog, wire.Log{Level: "info", Text: text}.Append(nil))
		r.answer(200, "")
	},
	"env": func(r *fakeRun) { r.answer(200, fmt.Sprint(r.envs, r.env)) },
	"principal": func(r *fakeRun) {
		if p := r.start.Principal; p != nil {
			r.answer(200, fmt.Sprintf("%+v", *p))
			return
		}
		r.answer(200, "nobody")
	},
	"headers": func(r *fakeRun) {
		var hs []wire.Header
		for line := range strings.SplitSeq(r.rest, "|") {
			name, value, _ := strings.Cut(line, ": ")
			hs = append(hs, wire.Header{Name: name, Value: value})
		}
		r.answer(200, "", hs...)
	},
	// tell writes its code to the log and throws it.
	"tell": func(r *fakeRun) {
		r.send(wire.TypeLog, wire.Log{Level: "info", Text: r.rest}.Append(nil))
		r.end(wire.End{Code: "script_threw", Error: &cloud.ScriptError{Name: r.rest, Message: r.rest, Stack: r.rest, Code: r.rest}})
	},
	"echo": func(r *fakeRun) {
		r.head(200, -1)
		r.body(r.write)
		r.send(wire.TypeResponseEnd, nil)
		r.end(wire.End{})
	},
	// glance answers when it has seen the beginning of the body.
	"glance": func(r *fakeRun) {
		<-r.in
		r.answer(200, "seen")
	},
	"count": func(r *fakeRun) {
		n := 0
		complete := r.body(func(p []byte) { n += len(p) })
		r.answer(200, fmt.Sprint(n, complete))
	},
	"call": func(r *fakeRun) {
		op, args, _ := strings.Cut(r.rest, " ")
		result := r.call(op, args)
		r.answer(200, fmt.Sprintf("%s|%s|%s", result.Value, result.Code, result.Message))
	},
	// attempt logs what it was started for.
	"attempt": func(r *fakeRun) {
		s := r.start
		text := fmt.Sprintf("%s %s %d %d %s %q %s %v", s.Handler, s.EventID, s.Attempt, s.Depth, s.Event, s.Method, s.RequestID, s.Params)
		r.send(wire.TypeLog, wire.Log{Level: "info", Text: text}.Append(nil))
		r.end(wire.End{})
	},
	// calls makes a host call and ends without an answer.
	"calls": func(r *fakeRun) {
		op, args, _ := strings.Cut(r.rest, " ")
		r.call(op, args)
		r.end(wire.End{})
	},
	// no-more throws and wants no other attempt.
	"no-more": func(r *fakeRun) { r.end(wire.End{Code: "script_threw", NoRetry: true, Error: scriptError("E", "")}) },
	// cancelled waits until it is cut off, and then ends as it is told.
	"cancelled": func(r *fakeRun) {
		r.send(wire.TypeHostCall, wire.HostCall{Call: 1, Op: "kv.get", Args: []byte(`["hold","key"]`)}.Append(nil))
		for f := range r.in {
			if f.Type == wire.TypeCancel {
				r.end(wire.End{Code: r.rest})
				return
			}
		}
	},
	// second ends unless it is the worker's first execution.
	"second": func(r *fakeRun) {
		if r.id > 1 {
			r.end(wire.End{})
		}
	},
	// pour answers with so many MiB.
	"pour": func(r *fakeRun) {
		n, _ := strconv.Atoi(r.rest)
		r.head(200, -1)
		for range n * 16 {
			r.write(make([]byte, wire.MaxChunk))
		}
		r.send(wire.TypeResponseEnd, nil)
		r.end(wire.End{})
	},
	"end": func(r *fakeRun) { r.end(wire.End{Code: r.rest}) },
	"throw": func(r *fakeRun) {
		r.send(wire.TypeLog, wire.Log{Level: "warn", Text: "about to\x00 throw"}.Append(nil))
		name, code, _ := strings.Cut(r.rest, " ")
		r.end(wire.End{Code: "script_threw", CPU: time.Millisecond, Error: scriptError(name, code)})
	},
	// stall begins an answer and breaks off.
	"stall": func(r *fakeRun) {
		r.head(200, -1)
		r.write([]byte("begun"))
		r.call("kv.get", `["hold","key"]`)
		r.end(wire.End{Code: "timeout"})
	},
	// later answers, and goes on until the call is served.
	"later": func(r *fakeRun) {
		r.head(200, 2)
		r.write([]byte("ok"))
		r.send(wire.TypeResponseEnd, nil)
		r.call("kv.get", `["hold","key"]`)
		r.send(wire.TypeLog, wire.Log{Level: "info", Text: "afterwards"}.Append(nil))
		r.end(wire.End{Code: "script_threw", Error: scriptError("LateError", "")})
	},
	// deserted begins an answer and waits until nobody wants it.
	"deserted": func(r *fakeRun) {
		r.head(200, -1)
		r.write([]byte("begun"))
		for f := range r.in {
			if f.Type == wire.TypeCancel {
				r.call("kv.delete", `["cancelled","key"]`)
				r.end(wire.End{})
				return
			}
		}
	},
	"header": func(r *fakeRun) {
		name, value, _ := strings.Cut(r.rest, "=")
		r.answer(200, "", wire.Header{Name: name, Value: value})
	},
	"many": func(r *fakeRun) { // host calls, all at once
		n, _ := strconv.Atoi(r.rest)
		for i := range n {
			r.send(wire.TypeHostCall, wire.HostCall{Call: uint32(i), Op: "kv.increment", Args: []byte(`["c","k",1]`)}.Append(nil))
		}
		codes := map[string]int{}
		for range n {
			f := <-r.in
			result, _ := wire.ParseHostResult(f.Payload)
			codes[result.Code]++
		}
		r.answer(200, fmt.Sprint(codes))
	},
	"log": func(r *fakeRun) {
		n, _ := strconv.Atoi(r.rest)
		for range n {
			r.send(wire.TypeLog, wire.Log{Level: "loud", Text: strings.Repeat("x", 1000)}.Append(nil))
		}
		r.answer(200, "")
	},

	// What follows breaks the protocol.
	"unknown-id":    func(r *fakeRun) { r.fake.send(wire.TypeResponseEnd, r.id+1000, nil) },
	"worker-id":     func(r *fakeRun) { r.fake.send(wire.TypeReady, 0, []byte{wire.Version}) },
	"after-the-end": func(r *fakeRun) { r.end(wire.End{Code: "script_threw"}); r.send(wire.TypeLog, nil) },
	"server-frame":  func(r *fakeRun) { r.send(wire.TypeStart, nil) },
	"unknown-type":  func(r *fakeRun) { r.send(200, nil) },
	"bad-response":  func(r *fakeRun) { r.send(wire.TypeResponse, []byte{255, 255, 255}) },
	"bad-call":      func(r *fakeRun) { r.send(wire.TypeHostCall, []byte{1}) },
	"bad-log":       func(r *fakeRun) { r.send(wire.TypeLog, []byte{9, 'x'}) },
	"bad-end":       func(r *fakeRun) { r.send(wire.TypeEnd, nil) },
	"bad-credit":    func(r *fakeRun) { r.send(wire.TypeBodyCredit, []byte{1}) },
	"much-credit": func(r *fakeRun) {
		for range 3 {
			r.send(wire.TypeBodyCredit, wire.AppendCredit(nil, 1<<32-1))
		}
	},
	"two-heads":    func(r *fakeRun) { r.head(200, 5); r.head(200, 5) },
	"headless":     func(r *fakeRun) { r.send(wire.TypeResponseBody, []byte("x")) },
	"endless-head": func(r *fakeRun) { r.send(wire.TypeResponseEnd, nil) },
	"big-chunk":    func(r *fakeRun) { r.head(200, -1); r.send(wire.TypeResponseBody, make([]byte, wire.MaxChunk+1)) },
	"no-credit": func(r *fakeRun) {
		r.head(200, 1<<30)
		for range 200 {
			r.send(wire.TypeResponseBody, make([]byte, wire.MaxChunk))
		}
	},
	"long-body":  func(r *fakeRun) { r.head(200, 1); r.send(wire.TypeResponseBody, []byte("xx")) },
	"short-body": func(r *fakeRun) { r.head(200, 2); r.send(wire.TypeResponseEnd, nil) },
	"long-frame": func(r *fakeRun) { r.raw([]byte{0xff, 0xff, 0xff, 0xff, 65, 0, 0, 0, 0}) },
	"tiny-frame": func(r *fakeRun) { r.raw([]byte{0, 0, 0, 4, 65, 0, 0, 0, 0}) },
	"noise":      func(r *fakeRun) { r.raw(bytes.Repeat([]byte("noise"), 1<<20)) },
	"half":       func(r *fakeRun) { r.raw([]byte{0, 0, 0, 9, 65}); os.Exit(0) },
	"stderr": func(*fakeRun) {
		for {
			_, _ = os.Stderr.Write(make([]byte, 1<<16))
		}
	},
	// deaf makes more calls than it may and reads no result.
	"deaf": func(r *fakeRun) {
		r.fake.deaf.Store(true)
		for i := range uint32(1 << 20) {
			r.send(wire.TypeHostCall, wire.HostCall{Call: i, Op: "kv.get", Args: []byte(`["c","k"]`)}.Append(nil))
		}
	},

	"ignore": func(r *fakeRun) { r.fake.deaf.Store(true) },
	"hang":   func(*fakeRun) { select {} },
	"exit":   func(r *fakeRun) { os.Exit(3) },
	"oom": func(r *fakeRun) {
		fmt.Fprintln(os.Stderr, "fatal error: runtime: out of memory")
		os.Exit(2)
	},
}
