package main

import "testing"

func TestDeadLetters_Commands(t *testing.T) {
	t.Parallel()
	const (
		waiting = `{"id":"d1","event_id":"e1","kind":"kv","op":"set","trigger_id":"t1","script":"thumbs","reason":"script_threw","attempts":5,"at":"2026-01-01T00:00:00Z","died_at":"2026-01-01T00:01:00Z","resolution":null,"note":"","resolved_at":null,"resolved_by":"","depth":1`
		ignored = `{"id":"d2","event_id":"e2","kind":"http","op":"","trigger_id":null,"script":"orders","reason":"timeout","attempts":1,"at":"2026-01-01T00:00:00Z","died_at":"2026-01-01T00:01:00Z","resolution":"ignored","note":"by phone","resolved_at":"2026-01-02T00:00:00Z","resolved_by":"ada","depth":1}`
	)
	runCommands(t, []commandTest{
		{
			rule:    "ls shows what waits",
			answers: map[string][]string{"GET /apps/default/dead-letters?limit=50&waiting=true": {`200 {"items":[` + waiting + `}]}`}},
			args:    "dead-letters ls",
			asked:   []string{"GET /apps/default/dead-letters?limit=50&waiting=true as pis_x"},
			outHas:  []string{"SCRIPT  EVENT   REASON        ATTEMPTS  STATE\n", "thumbs  kv set  script_threw  5         waits\n"},
		},
		{
			rule:    "ls filters",
			answers: map[string][]string{"GET /apps/shop/dead-letters?kind=http&limit=5&script=orders&trigger=t1": {`200 {"items":[` + ignored + `]}`}},
			args:    "dead-letters ls --app shop --all --kind http --script orders --trigger t1 --limit 5",
			asked:   []string{"GET /apps/shop/dead-letters?kind=http&limit=5&script=orders&trigger=t1 as pis_x"},
			outHas:  []string{"orders  http   timeout  1         ignored\n"},
		},
		{rule: "ls has a bound", args: "dead-letters ls --limit 0", code: exitUsage, errsHas: []string{"--limit 0 is not between 1 and 1000"}},
		{
			rule: "show tells what it carried and how it failed",
			answers: map[string][]string{"GET /apps/default/dead-letters/d1": {`200 ` + waiting +
				`,"payload":{"key":"a\u202eb"},"last_error":{"name":"TypeError","message":"no","stack":"TypeError: no\n    at trigger (thumbs.ts:3:7)"}}`}},
			args:  "dead-letters show d1",
			asked: []string{"GET /apps/default/dead-letters/d1 as pis_x"},
			outHas: []string{
				"Kind      kv set\n", "Trigger   t1\n", "State     waits\n",
				"Reason    script_threw\n  TypeError: no\n    at trigger (thumbs.ts:3:7)\nPayload\n{\n  \"key\": \"a\\u202eb\"\n}\n",
			},
		},
		{
			rule:    "show tells who settled it and why",
			answers: map[string][]string{"GET /apps/default/dead-letters/d2": {`200 ` + ignored}},
			args:    "dead-letters show d2",
			asked:   []string{"GET /apps/default/dead-letters/d2 as pis_x"},
			outHas:  []string{"Trigger   -\n", "State     ignored\nSince     2026-01-0", "By        ada\nNote      by phone\nReason    timeout\n"},
		},
		{
			rule:    "replay of some",
			answers: map[string][]string{"POST /apps/default/dead-letters/d1/replay": {"204"}, "POST /apps/default/dead-letters/d2/replay": {problemText(409, "conflict", "d2 is settled")}},
			args:    "dead-letters replay d1 d2", code: exitFailure,
			asked:   []string{"POST /apps/default/dead-letters/d1/replay as pis_x", "POST /apps/default/dead-letters/d2/replay as pis_x"},
			out:     "Dead letter d1 is delivered again.\n",
			errsHas: []string{"pic: d2 is settled\n"},
		},
		{
			rule:    "replay --all takes the app, typed again",
			answers: map[string][]string{"POST /apps/default/dead-letters:replay": {`200 {"replayed":3}`}},
			input:   "default\n", args: "dead-letters replay --all --kind kv --script thumbs",
			asked:   []string{`POST /apps/default/dead-letters:replay {"kind":"kv","script":"thumbs"} as pis_x`},
			out:     "Dead letters that are delivered again: 3.\n",
			errsHas: []string{"all dead letters of the app default that wait or whose handler failed, and that the flags select.\nType its slug to go on: "},
		},
		{
			rule:  "replay --all without an answer does nothing",
			input: "", args: "dead-letters replay --all", code: exitFailure,
			errsHas: []string{"that was not default: nothing was done"},
		},
		{
			rule:    "replay --all --yes does not ask",
			answers: map[string][]string{"POST /apps/default/dead-letters:replay": {`200 {"replayed":0}`}},
			args:    "dead-letters replay --all --yes --trigger t1 -o json",
			asked:   []string{`POST /apps/default/dead-letters:replay {"trigger":"t1"} as pis_x`},
			out:     "{\n  \"replayed\": 0\n}\n",
		},
		{rule: "replay wants an id", args: "dead-letters replay", code: exitUsage, errsHas: []string{"an argument is missing: pic dead-letters replay"}},
		{rule: "replay wants one or all", args: "dead-letters replay d1 --all", code: exitUsage, errsHas: []string{"--all means more than d1"}},
		{rule: "replay filters among all", args: "dead-letters replay d1 --kind kv", code: exitUsage, errsHas: []string{"--kind, --trigger and --script select among --all"}},
		{
			rule:    "resolve ignores",
			answers: map[string][]string{"POST /apps/default/dead-letters/d1/resolve": {"204"}},
			args:    "dead-letters resolve d1",
			asked:   []string{`POST /apps/default/dead-letters/d1/resolve {"resolution":"ignored"} as pis_x`},
			out:     "Dead letter d1 is resolved.\n",
		},
		{
			rule:    "resolve says how and why",
			answers: map[string][]string{"POST /apps/default/dead-letters/d1/resolve": {"204"}},
			args:    "dead-letters resolve d1 --as handled_by_script --note mended",
			asked:   []string{`POST /apps/default/dead-letters/d1/resolve {"resolution":"handled_by_script","note":"mended"} as pis_x`},
			out:     "Dead letter d1 is resolved.\n",
		},
		{
			rule:    "completion offers what waits",
			answers: map[string][]string{"GET /apps/default/dead-letters?limit=100&waiting=true": {`200 {"items":[` + waiting + `}]}`}},
			args:    "__complete dead-letters replay d",
			asked:   []string{"GET /apps/default/dead-letters?limit=100&waiting=true as pis_x"},
			outHas:  []string{"d1\tthumbs: kv set script_threw\n"},
		},
	})
}
