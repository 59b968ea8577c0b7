package caddycloud_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloudtest"
)

// tap stands between a server and its database and counts what the server says.
// Nothing that is asked can get past it.
type tap struct {
	said        atomic.Int64 // bytes, since the start
	connections atomic.Int64 // open
}

// newTap returns a tap and the connection string that leads through it.
func newTap(t *testing.T, database string) (*tap, string) {
	t.Helper()
	c, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(c.Host, ".s.PGSQL."+strconv.Itoa(int(c.Port)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tap := &tap{}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { tap.pass(client, socket) })
		}
	})
	through := url.URL{Scheme: "postgres", User: url.UserPassword(c.User, c.Password), Host: l.Addr().String(), Path: "/" + c.Database, RawQuery: "sslmode=disable"}
	return tap, through.String()
}

func (p *tap) pass(client net.Conn, socket string) {
	defer client.Close()
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	p.connections.Add(1)
	defer p.connections.Add(-1)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	_, _ = io.Copy(server, io.TeeReader(client, p))
	_ = server.Close()
	<-answered
}

func (p *tap) Write(b []byte) (int, error) {
	p.said.Add(int64(len(b)))
	return len(b), nil
}

// TestEvents_IdleAsksNothing counts what the server says to its database while
// there is nothing to do: triggers of all kinds, a schedule that comes in months,
// and a delivery whose next attempt is hours away.
func TestEvents_IdleAsksNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	database := cloudtest.URL(t)
	tap, through := newTap(t, database)
	s := startOn(t, through)
	s.pool.Close()
	s.pool = cloudtest.Pool(t, database) // the test's own questions do not count
	s.deploy("recorder", recorder)
	s.deploy("late", `export default { trigger() { throw new Error("not yet"); } };`)
	s.trigger(`{"script":"recorder","kind":"kv","collection":"orders"}`)
	s.trigger(`{"script":"recorder","kind":"cron","schedule":"@yearly"}`)
	s.trigger(`{"script":"recorder","kind":"dead_letter"}`)
	s.trigger(`{"script":"late","kind":"kv","collection":"late","retry":{"base_ms":86400000,"cap_ms":86400000}}`)
	s.put("orders", "first", `1`)
	s.put("late", "first", `1`)
	s.until("the one is handled", func() bool { return s.entries("seen")["first"] != nil })
	s.until("the other waits", func() bool { return s.count("outbox") == 1 && s.count("outbox WHERE due_at > now()") == 1 })

	// Records are written, and connections given up, some 10 s after the last request:
	// then the one that listens is left.
	settled := time.Now().Add(40 * time.Second)
	for tap.connections.Load() > 1 {
		if time.Now().After(settled) {
			t.Fatalf("%d connections are open", tap.connections.Load())
		}
		<-time.After(100 * time.Millisecond)
	}
	const span = 30 * time.Second
	before := tap.said.Load()
	<-time.After(span)
	if said := tap.said.Load() - before; said != 0 {
		t.Errorf("in %s of idleness the server sent %d bytes to its database", span, said)
	}

	s.put("orders", "second", `2`)
	if tap.said.Load() == before {
		t.Error("the tap does not see what is said")
	}
	s.until("the next is handled at once", func() bool { return s.entries("seen")["second"] != nil })
}

// TestEvents_ListenLost cuts all connections to the database again and again while
// another process changes entries and this one delivers.
func TestEvents_ListenLost(t *testing.T) {
	s := start(t)
	s.deploy("counter", `import { kv } from "picloud";
export default { async trigger(event) { await kv.collection("seen").increment(event.key); } };`)
	s.trigger(`{"script":"counter","kind":"kv","collection":"orders","retry":{"attempts":20,"backoff":"constant","base_ms":100}}`)
	other := another(t, s.database) // not started: it delivers nothing itself
	put := func(key string) (acknowledged bool) {
		r := httptest.NewRequest(http.MethodPut, "http://localhost"+shop+"/kv/orders/"+key, strings.NewReader(`{"value":1}`))
		r.Header.Set("Authorization", "Bearer "+readFile(t, s.token))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		other.Manager.ServeHTTP(w, r)
		return w.Code == http.StatusOK
	}
	var acknowledged []string
	for round := range 8 {
		for i := range 25 {
			if key := fmt.Sprintf("%d-%d", round, i); put(key) {
				acknowledged = append(acknowledged, key)
			}
		}
		// What the test itself asks by is spared.
		_, err := s.pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(acknowledged) < 100 {
		t.Fatalf("only %d changes were acknowledged", len(acknowledged))
	}
	s.until("all are delivered", func() bool {
		seen := s.entries("seen")
		for _, key := range acknowledged {
			if seen[key] == nil {
				return false
			}
		}
		return true
	})
	s.quiet()
	if n := s.count("dead_letters"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestEvents_Reload delivers across a change of the configuration: an attempt that
// runs ends, and what comes meanwhile is delivered.
func TestEvents_Reload(t *testing.T) {
	s := start(t)
	s.deploy("slow", `import { kv } from "picloud";
export default { async trigger(event) {
	await kv.collection("begun").set(event.key, true);
	while (event.key === "first" && !(await kv.collection("switch").has("go"))) await new Promise(done => setTimeout(done, 20));
	await kv.collection("seen").increment(event.key);
} };`)
	s.trigger(`{"script":"slow","kind":"kv","collection":"orders"}`)
	s.put("orders", "first", `1`)
	s.until("the first has begun", func() bool { return s.entries("begun")["first"] != nil })
	s.load(2)
	http.DefaultClient.CloseIdleConnections() // those of the first generation
	s.put("orders", "second", `2`)
	s.until("the second is delivered", func() bool { return s.entries("seen")["second"] != nil })
	s.put("switch", "go", `true`)
	s.quiet()
	for _, key := range []string{"first", "second"} {
		if got := string(s.entries("seen")[key]); got != "1" {
			t.Errorf("%s was delivered %q times", key, got)
		}
	}
}

// TestEvents_Metrics reads what Prometheus would.
func TestEvents_Metrics(t *testing.T) {
	s := start(t)
	s.deploy("recorder", recorder)
	s.deploy("broken", `export default { trigger() { throw new Error("never"); } };`)
	s.trigger(`{"script":"recorder","kind":"kv","collection":"orders"}`)
	s.trigger(`{"script":"broken","kind":"kv","collection":"orders","retry":{"attempts":1}}`)
	s.trigger(`{"script":"broken","kind":"kv","collection":"late","retry":{"base_ms":3600000}}`)
	s.put("orders", "1", `1`)
	s.put("late", "1", `1`)
	s.until("one waits and one is dead", func() bool {
		return s.count("outbox") == 1 && s.count("outbox WHERE due_at > now()") == 1 && s.count("dead_letters") == 1
	})
	text := s.must(http.StatusOK, http.MethodGet, "/api/v1/metrics", "")
	for _, want := range []string{
		`picloud_outbox_depth{app="default"} 1`,
		`picloud_outbox_oldest_due_seconds 0`,
		`picloud_dead_letters{app="default"} 1`,
		`picloud_deliveries_total{fate="done",kind="kv"} 1`,
		`picloud_deliveries_total{fate="dead",kind="kv"} 1`,
		`picloud_deliveries_total{fate="retry",kind="kv"} 1`,
		`picloud_dispatch_latency_seconds_count 3`,
		`picloud_executions_total 3`,
		`picloud_executions_running 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if status, _, _ := s.asked(nobody, http.MethodGet, "/api/v1/metrics", ""); status != http.StatusUnauthorized {
		t.Errorf("a stranger: %d", status)
	}
}
