package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// What became of the event e1.
const (
	queued    = `{"id":"e1","app":"default","status":"queued","attempts":0,"next_at":null,"executions":[],"dead_letter":null}`
	succeeded = `{"id":"e1","app":"default","status":"succeeded","attempts":1,"next_at":null,"executions":[{"id":"x1","script":"thumbs","version":1,"trigger":"kv","attempt":1,"depth":0,"duration_ms":3}],"dead_letter":null}`
	retrying  = `{"id":"e1","app":"default","status":"retrying","attempts":1,"next_at":"2026-01-31T12:00:01Z","executions":[` + threw + `],"dead_letter":null}`
	dead      = `{"id":"e1","app":"default","status":"dead","attempts":2,"next_at":null,"executions":[` + threw + `],"dead_letter":"d1"}`
	unlogged  = `{"id":"e1","app":"default","status":"dead","attempts":1,"next_at":null,"executions":[],"dead_letter":"d1"}`
	threw     = `{"id":"x1","script":"thumbs","version":1,"trigger":"async","method":"POST","path":"/orders","attempt":2,"depth":3,"status":500,"code":"script_threw","duration_ms":3,"error":{"name":"RangeError","message":"too far","stack":"RangeError: too far\n    at fetch (thumbs.ts:3:7)"}}`
)

func TestExecutions_Commands(t *testing.T) {
	t.Parallel()
	runCommands(t, []commandTest{
		{
			rule:    "show tells what became of an event and its attempts",
			answers: map[string][]string{"GET /executions/e1": {"200 " + dead}},
			args:    "executions show e1",
			asked:   []string{"GET /executions/e1 as pis_x"},
			out: `Id           e1
App          default
Status       dead
Attempts     2
Dead letter  d1
-  thumbs v1  POST /orders async  500 script_threw  3ms  attempt 2  depth 3
  RangeError: too far
    at fetch (thumbs.ts:3:7)
`,
		},
		{
			rule:    "show passes JSON on as it came",
			answers: map[string][]string{"GET /executions/e1": {`200 {"id":"e1","more":[]}`}},
			args:    "executions show e1 -o json",
			asked:   []string{"GET /executions/e1 as pis_x"},
			out:     "{\n  \"id\": \"e1\",\n  \"more\": []\n}\n",
		},
		{
			rule:    "show --wait waits for an attempt",
			answers: map[string][]string{"GET /executions/e1": {"200 " + queued, "200 " + retrying}},
			args:    "executions show e1 --wait",
			asked:   []string{"GET /executions/e1 as pis_x", "GET /executions/e1 as pis_x"},
			outHas:  []string{"Status        retrying\n"},
		},
		{rule: "show knows nothing", args: "executions show e2", code: exitFailure, asked: []string{"GET /executions/e2 as pis_x"}, errsHas: []string{"pic: nothing there\n"}},
	})
}

func TestAwaitAttempt(t *testing.T) {
	t.Parallel()
	unknown := problemText(404, "not_found", "no such event")
	for _, test := range []struct {
		rule    string
		answers []string
		status  string
		err     string
		took    time.Duration
	}{
		{rule: "what runs is waited for", answers: []string{"200 " + queued, "200 " + queued, "200 " + succeeded}, status: "succeeded", took: 300 * time.Millisecond},
		{rule: "what has failed is not waited for further", answers: []string{"200 " + retrying}, status: "retrying"},
		{rule: "what is between the outbox and the log is waited for", answers: []string{unknown, "200 " + dead}, status: "dead", took: 100 * time.Millisecond},
		{rule: "what is tried and not in the log is waited for", answers: []string{"200 " + unlogged, "200 " + dead}, status: "dead", took: 100 * time.Millisecond},
		{rule: "what never comes into the log is not waited for further", answers: []string{"200 " + unlogged}, status: "dead", took: 6300 * time.Millisecond},
		{rule: "what stays unknown ends it", answers: []string{"200 " + queued, unknown}, err: "no such event", took: 11300 * time.Millisecond},
		{rule: "a refusal ends it", answers: []string{problemText(403, "forbidden", "not for you")}, err: "not for you"},
		{rule: "what never runs ends it", answers: []string{"200 " + queued}, err: "has not been tried yet: see pic executions show e1", took: cloud.LimitCeilings.Wall + time.Minute},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := testCLI(t, nil)
				cl := newClient(server{url: "http://pi.local", token: "pic_x"})
				cl.http.Transport = served{&fakeServer{answers: map[string][]string{"GET /executions/e1": test.answers}}}
				begun := time.Now()
				status, err := c.awaitAttempt(t.Context(), cl, "e1")
				if status != test.status {
					t.Errorf("the status is %q, want %q", status, test.status)
				}
				has(t, "standard output", fmt.Sprint(c.out), test.status)
				if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("the error is %v, want %q", err, test.err)
				}
				if took := time.Since(begun); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
			})
		})
	}
}
