package main

import (
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

func TestPrintExecution(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local)
	for _, test := range []struct {
		name string
		in   execution
		want string
	}{
		{
			"one line when nothing was printed",
			execution{Script: "hello", Version: 2, Method: "GET", Path: "/hello", Status: 200, StartedAt: at, DurationMS: 1.234},
			"2026-01-31 12:00:00  hello v2  GET /hello  200  1.2ms\n",
		},
		{
			"console lines, the error and its mapped stack",
			execution{
				Script: "hello", Version: 1, Method: "POST", Path: "/hello", Status: 500, Code: cloud.CodeScriptThrew, StartedAt: at, DurationMS: 2345,
				Lines:     []cloud.LogLine{{Level: "info", Text: "one\ntwo"}, {Level: "warn", Text: "\x1b[31mred"}},
				Truncated: true,
				Error:     &cloud.ScriptError{Name: "TypeError", Message: "x is not a function", Stack: "TypeError: x is not a function\n    at fetch (hello.ts:3:7)\n    at hello.ts:9:1\n"},
			},
			"2026-01-31 12:00:00  hello v1  POST /hello  500 script_threw  2.35s\n" +
				"  info   one\n         two\n" +
				"  warn   \\u001b[31mred\n" +
				"  … the rest was over the log limit\n" +
				"  TypeError: x is not a function\n" +
				"    at fetch (hello.ts:3:7)\n    at hello.ts:9:1\n",
		},
		{
			"what no request started",
			execution{Script: "tick", Version: 1, Trigger: "cron", Attempt: 1, StartedAt: at, DurationMS: 15},
			"2026-01-31 12:00:00  tick v1  cron  -  15ms\n",
		},
		{
			"another attempt for an event that another event caused",
			execution{Script: "tick", Version: 1, Trigger: "kv", Attempt: 2, Depth: 1, StartedAt: at, DurationMS: 15},
			"2026-01-31 12:00:00  tick v1  kv  -  15ms  attempt 2  depth 1\n",
		},
		{
			"a request that nobody waits for",
			execution{Script: "hello", Version: 1, Trigger: "async", Attempt: 1, Method: "POST", Path: "/hello", Status: 200, StartedAt: at, DurationMS: 15},
			"2026-01-31 12:00:00  hello v1  POST /hello async  200  15ms\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			printExecution(&b, styles{}, test.in)
			if got := b.String(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestTimeFrom(t *testing.T) {
	t.Parallel()
	c := testCLI(t, nil)
	for in, want := range map[string]time.Time{
		"90s":                       c.now().Add(-90 * time.Second),
		"1h30m":                     c.now().Add(-90 * time.Minute),
		"7d":                        c.now().AddDate(0, 0, -7),
		"2026-01-01T08:00:00+01:00": time.Date(2026, 1, 1, 7, 0, 0, 0, time.UTC),
	} {
		if got, err := c.timeFrom("--since", in, -1); err != nil || !got.Equal(want) {
			t.Errorf("timeFrom(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	if got, err := c.timeFrom("--expires", "90d", +1); err != nil || !got.Equal(c.now().AddDate(0, 0, 90)) {
		t.Errorf("timeFrom(90d) = %v, %v, want 90 days from now", got, err)
	}
	for _, in := range []string{"", "d", "-1h", "-2d", "1.5d", "yesterday"} {
		if got, err := c.timeFrom("--since", in, -1); err == nil {
			t.Errorf("timeFrom(%q) = %v, want an error", in, got)
		}
	}
}
