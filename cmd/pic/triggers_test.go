package main

import "testing"

// The triggers of a server, and where it keeps them.
const (
	onKV      = `{"id":"t1","script":"thumbs","kind":"kv","collection":"photos*","ops":["set","delete"],"enabled":true,"retry":{"attempts":5,"backoff":"exponential","base_ms":1000,"cap_ms":3600000},"user":"ada","next_at":null,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}`
	onCron    = `{"id":"t2","script":"report","kind":"cron","schedule":"0 7 * * *","time_zone":"Europe/Berlin","enabled":true,"retry":{"attempts":3,"backoff":"constant","base_ms":500,"cap_ms":500},"user":"","next_at":"2026-02-01T06:00:00Z"}`
	offLetter = `{"id":"t3","script":"alarm","kind":"dead_letter","enabled":false,"retry":{"attempts":1,"backoff":"exponential","base_ms":1000,"cap_ms":3600000},"user":"ada","next_at":null}`
)

func TestTriggers_Commands(t *testing.T) {
	t.Parallel()
	runCommands(t, []commandTest{
		{
			rule:    "ls tells what each reacts to and when it runs",
			answers: map[string][]string{"GET /apps/default/triggers": {`200 {"items":[` + onKV + `,` + onCron + `,` + offLetter + `]}`}},
			args:    "triggers ls",
			asked:   []string{"GET /apps/default/triggers as pis_x"},
			outHas: []string{
				"ID  SCRIPT  KIND         FILTER                             STATE  NEXT RUN\n",
				"t1  thumbs  kv           set or delete, collection photos*  on     -\n",
				"t2  report  cron         0 7 * * * Europe/Berlin            on     2026-02-01 ",
				"t3  alarm   dead_letter  all                                off    -\n",
			},
		},
		{
			rule:    "show tells how failures are repeated",
			answers: map[string][]string{"GET /apps/default/triggers/t1": {"200 " + onKV}},
			args:    "triggers show t1",
			asked:   []string{"GET /apps/default/triggers/t1 as pis_x"},
			outHas:  []string{"Retries   5 attempts in all, after pauses that begin with 1s and grow (exponential) up to 1h0m0s\n", "Runs as   ada\n"},
		},
		{
			rule:    "show tells that nobody is left to run as",
			answers: map[string][]string{"GET /apps/default/triggers/t2": {"200 " + onCron}},
			args:    "triggers show t2",
			asked:   []string{"GET /apps/default/triggers/t2 as pis_x"},
			outHas:  []string{"Retries   3 attempts in all, 500ms apart\n", "Runs as   nobody: its user is gone, so it does not run\n"},
		},
		{
			rule:    "add sends what was asked for alone",
			answers: map[string][]string{"POST /apps/shop/triggers": {"201 " + onKV}},
			args:    "triggers add --app shop --script thumbs --kind kv --collection photos* --op set,delete",
			asked:   []string{`POST /apps/shop/triggers {"script":"thumbs","kind":"kv","collection":"photos*","ops":["set","delete"],"enabled":true} as pis_x`},
			out:     "Trigger t1 is on: thumbs gets kv events (set or delete, collection photos*).\n",
		},
		{
			rule:    "add takes a schedule and a retry policy",
			answers: map[string][]string{"POST /apps/default/triggers": {"201 " + onCron}},
			args:    "triggers add --script report --kind cron --schedule @daily --tz Europe/Berlin --attempts 3 --backoff constant --base 500ms --cap 1h",
			asked:   []string{`POST /apps/default/triggers {"script":"report","kind":"cron","schedule":"@daily","time_zone":"Europe/Berlin","retry":{"attempts":3,"backoff":"constant","base_ms":500,"cap_ms":3600000},"enabled":true} as pis_x`},
			outHas:  []string{"Trigger t2 is on: report gets cron events (0 7 * * * Europe/Berlin), next at 2026-02-01 "},
		},
		{
			rule:    "add --disabled",
			answers: map[string][]string{"POST /apps/default/triggers": {"201 " + offLetter}},
			args:    "triggers add --script alarm --kind dead_letter --disabled",
			asked:   []string{`POST /apps/default/triggers {"script":"alarm","kind":"dead_letter","enabled":false} as pis_x`},
			out:     "Trigger t3 is off: alarm gets no dead_letter events (all).\n",
		},
		{
			rule:    "add passes on what the server refuses",
			answers: map[string][]string{"POST /apps/default/triggers": {`422 {"code":"invalid","field":"schedule","detail":"\"soon\": write 5 fields"}`}},
			args:    "triggers add --script report --kind cron --schedule soon", code: exitFailure,
			asked:   []string{`POST /apps/default/triggers {"script":"report","kind":"cron","schedule":"soon","enabled":true} as pis_x`},
			errsHas: []string{"pic: schedule: \"soon\": write 5 fields\n"},
		},
		{rule: "add wants a script", args: "triggers add --kind kv", code: exitUsage, errsHas: []string{"--script is missing"}},
		{rule: "add wants a kind", args: "triggers add --script thumbs", code: exitUsage, errsHas: []string{"--kind is missing"}},
		{rule: "add wants an attempt", args: "triggers add --script thumbs --kind kv --attempts 0", code: exitUsage, errsHas: []string{"--attempts 0 is less than one attempt"}},
		{rule: "add wants a pause", args: "triggers add --script thumbs --kind kv --base 0s", code: exitUsage, errsHas: []string{"--base 0s is not a pause"}},
		{
			rule:    "rm",
			answers: map[string][]string{"DELETE /apps/default/triggers/t1": {"204"}, "DELETE /apps/default/triggers/t2": {"204"}},
			args:    "triggers rm t1 t2",
			asked:   []string{"DELETE /apps/default/triggers/t1 as pis_x", "DELETE /apps/default/triggers/t2 as pis_x"},
			out:     "Deleted trigger t1.\nDeleted trigger t2.\n",
		},
		{
			rule:    "enable",
			answers: map[string][]string{"PATCH /apps/default/triggers/t1": {"200 " + onKV}},
			args:    "triggers enable t1",
			asked:   []string{`PATCH /apps/default/triggers/t1 {"enabled":true} as pis_x`},
			out:     "Trigger t1 is on: thumbs gets kv events (set or delete, collection photos*).\n",
		},
		{
			rule:    "disable",
			answers: map[string][]string{"PATCH /apps/default/triggers/t3": {"200 " + offLetter}},
			args:    "triggers disable t3",
			asked:   []string{`PATCH /apps/default/triggers/t3 {"enabled":false} as pis_x`},
			out:     "Trigger t3 is off: alarm gets no dead_letter events (all).\n",
		},
		{
			rule:    "fire prints the event's id alone",
			answers: map[string][]string{"POST /apps/default/triggers/t1/fire": {`202 {"event_id":"e1"}`}},
			args:    "triggers fire t1",
			asked:   []string{`POST /apps/default/triggers/t1/fire {} as pis_x`},
			out:     "e1\n",
		},
		{
			rule:    "fire sends a payload",
			answers: map[string][]string{"POST /apps/default/triggers/t1/fire": {`202 {"event_id":"e1"}`}},
			input:   "{\"key\": 1}\n", args: "triggers fire t1 --payload - -o json",
			asked: []string{`POST /apps/default/triggers/t1/fire {"payload":{"key":1}} as pis_x`},
			out:   "{\n  \"event_id\": \"e1\"\n}\n",
		},
		{rule: "fire wants JSON", input: "{", args: "triggers fire t1 --payload -", code: exitUsage, errsHas: []string{"the payload is not JSON"}},
		{rule: "fire wants a file that is there", args: "triggers fire t1 --payload nothing/there", code: exitFailure, errsHas: []string{"cannot read the payload: "}},
		{
			rule: "fire --wait shows the attempt",
			answers: map[string][]string{
				"POST /apps/default/triggers/t1/fire": {`202 {"event_id":"e1"}`},
				"GET /executions/e1":                  {"200 " + succeeded},
			},
			args:    "triggers fire t1 --wait",
			asked:   []string{`POST /apps/default/triggers/t1/fire {} as pis_x`, "GET /executions/e1 as pis_x"},
			outHas:  []string{"Status    succeeded\n", "thumbs v1  kv  -  3ms\n"},
			errsHas: []string{"Waiting for the event e1.\n"},
		},
		{
			rule: "fire --wait fails as the attempt does",
			answers: map[string][]string{
				"POST /apps/default/triggers/t1/fire": {`202 {"event_id":"e1"}`},
				"GET /executions/e1":                  {"200 " + retrying},
			},
			args: "triggers fire t1 --wait", code: exitFailure,
			asked:   []string{`POST /apps/default/triggers/t1/fire {} as pis_x`, "GET /executions/e1 as pis_x"},
			outHas:  []string{"Status        retrying\n", "Next attempt  2026-01-31 ", "  RangeError: too far\n"},
			errsHas: []string{"pic: the event e1 is retrying\n"},
		},
		{
			rule:    "completion offers ids with what they are",
			answers: map[string][]string{"GET /apps/default/triggers": {`200 {"items":[` + onKV + `,` + onCron + `]}`}},
			args:    "__complete triggers rm t",
			asked:   []string{"GET /apps/default/triggers as pis_x"},
			outHas:  []string{"t1\tthumbs: kv set or delete, collection photos*\n", "t2\treport: cron 0 7 * * * Europe/Berlin\n"},
		},
	})
}
