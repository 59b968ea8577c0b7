package events_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/postgres"
)

// serverOrder is the environment variable that makes a process of this test a
// server: a dispatcher on a database, and nothing else.
const serverOrder = "PICLOUD_TEST_EVENTS_SERVER"

// order is what a server does. It prints a line for each thing that happened,
// writes nothing else, and stops when its input ends.
type order struct {
	URL    string
	Ahead  time.Duration // of its time of day: leases of others have passed
	Lease  time.Duration // zero: the default
	Fails  bool          // all handlers do, but those of dead letters
	Hangs  bool          // all handlers do
	App    string        // that Writes are for
	Writes int           // entries of kv to set, one after the other

	// Death is the moment of its end by SIGKILL, at the Call-th call of Method: a
	// method of the store, "Set" of kv, or "Run".
	Method string
	Death  moment
	Call   int
}

// moment is when, in a call, a server dies.
type moment string

const (
	before moment = "before"           // the call is not made
	within moment = "half-way"         // half of it is on its way to the database
	asked  moment = "unanswered"       // the database has it, and nobody gets the answer
	after  moment = "after its return" // the answer has come, and nothing followed
)

// The lines of a server: a word and what it is about.
const (
	began   = "began"   // a handler, with the event's key or kind
	ended   = "ended"   // a handler that succeeded, the same
	settled = "settled" // something
	stored  = "stored"  // an entry was set, with its key
)

func say(what, about string) { _, _ = fmt.Fprintln(os.Stdout, what, about) }

// nameOf is what tests call an event: its key, or its kind if it has none.
func nameOf(d cloud.Delivery) string {
	var payload struct{ Key string }
	if json.Unmarshal(d.Payload, &payload) == nil && payload.Key != "" {
		return payload.Key
	}
	return string(d.Kind)
}

// serve is the server's main.
func serve(text string) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	die := &mortal{order: o}
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		panic(err)
	}
	cfg.MaxConns = 1 // so that a statement that was prepared once is prepared
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &mortalConn{conn, die}, err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	d := events.New(events.Config{
		Store: &mortalStore{postgres.NewEvents(pool, nil), die},
		Run: func(_, ctx context.Context, d cloud.Delivery) (r events.Result, err error) {
			die.at("Run", func() {
				say(began, nameOf(d))
				switch {
				case o.Hangs:
					<-ctx.Done()
					r.Code = cloud.CodeTimeout
				case o.Fails && d.Kind != cloud.EventDeadLetter:
					r = thrown
				default:
					say(ended, nameOf(d))
				}
			})
			return r, nil
		},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Capacity: serverCapacity, Lease: o.Lease,
		Now: func() time.Time { return time.Now().Add(o.Ahead) },
	})
	d.Start()
	entries := postgres.NewKV(pool, postgres.NewEmitter(postgres.EmitterConfig{Poke: d.Poke}))
	for i := range o.Writes {
		key := fmt.Sprint("written", i)
		die.at("Set", func() {
			_, err = entries.Set(context.Background(), cloud.Cause{}, o.App, "c", key, json.RawMessage(`1`), time.Time{}, nil, time.Now())
		})
		if err != nil {
			panic(err)
		}
		say(stored, key)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	d.Stop(context.Background())
}

// serverCapacity is small, so that there are several claims.
const serverCapacity = 4

// mortal ends the process at the moment that was ordered.
type mortal struct {
	order
	calls atomic.Int32
	armed atomic.Bool // the next words to the database are the last
}

// at makes a call, or dies of it.
func (m *mortal) at(method string, call func()) {
	if method != m.Method || m.calls.Add(1) != int32(m.Call) {
		call()
		return
	}
	switch m.Death {
	case before:
		end()
	case after:
		call()
		end()
	default:
		m.armed.Store(true)
		call()
	}
}

// end is the death of a process that cannot do anything about it.
func end() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

type mortalConn struct {
	net.Conn
	mortal *mortal
}

func (c *mortalConn) Write(p []byte) (int, error) {
	if c.mortal.armed.Load() {
		if c.mortal.Death == within {
			p = p[:len(p)/2]
		}
		_, _ = c.Conn.Write(p)
		end()
	}
	return c.Conn.Write(p)
}

type mortalStore struct {
	events.Store
	mortal *mortal
}

func (s *mortalStore) Claim(ctx context.Context, c events.Claim) (d []cloud.Delivery, err error) {
	s.mortal.at("Claim", func() { d, err = s.Store.Claim(ctx, c) })
	return d, err
}

func (s *mortalStore) Settle(ctx context.Context, now time.Time, outcomes []events.Outcome) (n int, err error) {
	s.mortal.at("Settle", func() { n, err = s.Store.Settle(ctx, now, outcomes) })
	if err == nil {
		say(settled, "")
	}
	return n, err
}

func (s *mortalStore) FireSchedules(ctx context.Context, now time.Time, n int, next events.NextRun) (fired int, err error) {
	s.mortal.at("FireSchedules", func() { fired, err = s.Store.FireSchedules(ctx, now, n, next) })
	return fired, err
}

// server is a process that serves, as its parent sees it.
type server struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.Closer
	lines <-chan string // closed when it has ended
	log   *strings.Builder
}

// startServer starts a process that carries out an order. It does not survive the
// test.
func startServer(t testing.TB, o order) *server {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, log: &strings.Builder{}}
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), serverOrder+"="+string(text))
	s.cmd.Stderr = s.log
	s.stdin, err = s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10_000)
	s.lines = lines
	go func() {
		defer close(lines)
		for text := bufio.NewScanner(stdout); text.Scan(); {
			lines <- text.Text()
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has ended already, unless the test failed
		for range s.lines {
		}
		_ = s.cmd.Wait()
		if t.Failed() {
			t.Logf("log of a server:\n%s", s.log)
		}
	})
	return s
}

// next is what one of the servers says next. None may end.
func next(t *testing.T, servers ...*server) string {
	t.Helper()
	var cases []reflect.SelectCase
	for _, s := range servers {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(s.lines)})
	}
	i, line, ok := reflect.Select(cases)
	if !ok {
		t.Fatalf("a server ended before its work did: %v", servers[i].cmd.Wait())
	}
	return line.String()
}

// stop lets the server end by itself, and returns what it still said.
func (s *server) stop() (said []string) {
	s.t.Helper()
	_ = s.stdin.Close()
	for line := range s.lines {
		said = append(said, line)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("a server that was to stop: %v\n%s", err, s.log)
	}
	return said
}

// die waits for the end of a server that kills itself, or is killed, and returns
// what it still said.
func (s *server) die() (said []string) {
	s.t.Helper()
	for line := range s.lines {
		said = append(said, line)
	}
	_ = s.cmd.Wait()
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		s.t.Fatalf("a server ended with %v, want SIGKILL\n%s", s.cmd.ProcessState, s.log)
	}
	return said
}
