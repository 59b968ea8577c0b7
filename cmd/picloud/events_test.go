package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloudtest"
)

// handle counts how often it has handled what: the key of an entry, or the body of
// a request to an async route.
const handle = `import { kv } from "picloud";
const handled = kv.collection("handled");
export default {
	trigger: (event) => handled.increment(event.key),
	fetch: async (request) => { await handled.increment(await request.text()); },
};`

// TestFaults_Events kills the server, its database and its worker in turn while
// clients change entries that a trigger is about and call an async route, and then
// looks for what became of each that was acknowledged.
func TestFaults_Events(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	deploy(t, d, "handle", handle)
	for path, body := range map[string]string{
		"triggers": `{"script":"handle","kind":"kv","collection":"orders"}`,
		"routes":   `{"script":"handle","path":"/jobs","method":"POST","mode":"async"}`,
	} {
		if status, answer := d.Do(http.MethodPost, "/api/v1/apps/default/"+path, body); status != http.StatusCreated {
			t.Fatal(status, answer)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	writers := newSigners(ctx, 3, func(client *http.Client, text string) (*http.Response, error) {
		req, err := http.NewRequest(http.MethodPut, d.URL+"/api/v1/apps/default/kv/orders/w-"+text, strings.NewReader(`{"value":1}`))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+d.Token)
		req.Header.Set("Content-Type", "application/json")
		return client.Do(req)
	})
	callers := newSigners(ctx, 3, func(client *http.Client, text string) (*http.Response, error) {
		return client.Post(d.URL+"/jobs", "text/plain", strings.NewReader("c-"+text))
	})
	for round := range 3 {
		for _, fault := range []struct {
			name   string
			strike func()
		}{
			{"the server", func() { d.Kill(); d.Start() }},
			{"the worker", func() { kill(t, worker(t, d)) }},
			{"the database", func() { kill(t, postmaster(t, d)) }},
			{"the server", func() { d.Kill(); d.Start() }},
		} {
			writers.more(t, 50)
			callers.more(t, 50)
			fault.strike()
			t.Logf("round %d: killed %s after %d changes and %d requests", round, fault.name, writers.count(), callers.count())
		}
	}
	writers.more(t, 10)
	callers.more(t, 10)
	cancel()
	acknowledged := map[string]bool{}
	for _, text := range writers.stop() {
		acknowledged["w-"+text] = true
	}
	for _, text := range callers.stop() {
		acknowledged["c-"+text] = true
	}

	// What a server that was killed had leased is taken over when the lease is over.
	var missing map[string]bool
	var dead int
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
		missing = maps.Clone(acknowledged)
		for what := range counts(t, d, "handled") {
			delete(missing, what)
		}
		letters := deadLetters(t, d)
		for _, what := range letters {
			delete(missing, what)
		}
		if dead = len(letters); len(missing) == 0 {
			break
		}
		<-time.After(200 * time.Millisecond)
	}
	if len(missing) > 0 {
		t.Errorf("%d of %d acknowledged events were neither handled nor given up: %v", len(missing), len(acknowledged), missing)
	}
	again := 0
	for _, n := range counts(t, d, "handled") {
		again += n - 1
	}
	t.Logf("%d events acknowledged, %d dead letters, %d handled again", len(acknowledged), dead, again)
}

// counts are the numbers in a collection by their keys.
func counts(t *testing.T, d *cloudtest.Dev, collection string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for cursor := ""; ; {
		var page struct {
			Entries []struct {
				Key   string
				Value int
			}
			Cursor string
		}
		decode(t, d, "/api/v1/apps/default/kv/"+collection+"?values=true&limit=1000&cursor="+cursor, &page)
		for _, e := range page.Entries {
			all[e.Key] = e.Value
		}
		if cursor = page.Cursor; cursor == "" {
			return all
		}
	}
}

// deadLetters are the keys of entries, and the bodies of requests, whose events
// were given up.
func deadLetters(t *testing.T, d *cloudtest.Dev) (all []string) {
	t.Helper()
	var list struct{ Items []struct{ ID string } }
	decode(t, d, "/api/v1/apps/default/dead-letters?limit=1000", &list)
	for _, l := range list.Items {
		var letter struct {
			Payload struct {
				Key  string
				Body []byte
			}
		}
		decode(t, d, "/api/v1/apps/default/dead-letters/"+l.ID, &letter)
		all = append(all, letter.Payload.Key+string(letter.Payload.Body))
	}
	return all
}

// TestRun_TwoServers has two servers on one database deliver the same events: each
// is handled, and once, since nothing fails.
func TestRun_TwoServers(t *testing.T) {
	t.Parallel()
	database := cloudtest.URL(t)
	servers := []*runServer{startRunOn(t, database, ""), nil}
	servers[1] = startRunOn(t, database, "")
	servers[0].deploy(t, "handle", handle)
	servers[0].must(t, http.MethodPost, "/api/v1/apps/default/triggers", `{"script":"handle","kind":"kv","collection":"orders"}`)

	const events = 1000
	var senders sync.WaitGroup
	for sender := range 4 {
		senders.Go(func() {
			for i := sender; i < events; i += 4 {
				if _, err := servers[i/4%2].do(t.Context(), http.MethodPut, fmt.Sprintf("/api/v1/apps/default/kv/orders/e%d", i), `{"value":1}`); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	senders.Wait()
	pool := cloudtest.Pool(t, database)
	waitFor(t, "the outbox is empty", func() bool {
		var some bool
		if err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM outbox)").Scan(&some); err != nil {
			t.Fatal(err)
		}
		return !some
	})
	handled := map[string]int{}
	for cursor := ""; ; {
		var page struct {
			Entries []struct {
				Key   string
				Value int
			}
			Cursor string
		}
		text := servers[1].must(t, http.MethodGet, "/api/v1/apps/default/kv/handled?values=true&limit=1000&cursor="+cursor, "")
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			handled[e.Key] = e.Value
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	for i := range events {
		if n := handled[fmt.Sprint("e", i)]; n != 1 {
			t.Errorf("event %d was handled %d times", i, n)
		}
	}
	total := 0
	for i, s := range servers {
		n := delivered(t, s)
		t.Logf("server %d delivered %d", i, n)
		total += n
	}
	if total != events {
		t.Errorf("the servers say that they delivered %d events, want %d", total, events)
	}
}

// waitFor asks until the answer is yes.
func waitFor(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if yes() {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("after a minute, still not: %s", what)
}

// delivered is how many events of kv the server has delivered since its start.
func delivered(t *testing.T, s *runServer) int {
	t.Helper()
	for line := range strings.Lines(s.must(t, http.MethodGet, "/api/v1/metrics", "")) {
		if n, ok := strings.CutPrefix(line, `picloud_deliveries_total{fate="done",kind="kv"} `); ok {
			count, err := strconv.Atoi(strings.TrimSpace(n))
			if err != nil {
				t.Fatal(err)
			}
			return count
		}
	}
	return 0
}
