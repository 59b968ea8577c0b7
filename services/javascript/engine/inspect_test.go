package engine

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestConsole_Format compares what console.log writes with Node 20's
// util.format, as testdata/inspect.json holds it; "!" begins an argument list.
func TestConsole_Format(t *testing.T) {
	t.Parallel()
	var cases [][2]string
	raw, err := os.ReadFile("testdata/inspect.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		args, list := strings.CutPrefix(c[0], "!")
		if !list {
			args = "(" + args + ")"
		}
		h, end, _ := run(t, fetch(`console.log(`+args+`)`), nil, nil)
		if end.Code != "" || len(h.lines) != 1 {
			t.Errorf("%s: end %+v, lines %+v", c[0], end.Error, h.lines)
			continue
		}
		if h.lines[0].Text != c[1] {
			t.Errorf("%s\ngot  %s\nwant %s", c[0], h.lines[0].Text, c[1])
		}
	}
}

func TestConsole_Methods(t *testing.T) {
	t.Parallel()
	h, end, _ := run(t, fetch(`
		console.debug("d"); console.warn("w"); console.error("e");
		console.assert(true, "no"); console.assert(false, "yes %d", 1);
		console.count(); console.count(); console.count("x");
		console.group("g"); console.log("in\nside"); console.groupEnd(); console.log("out");
		console.table([{a: 1, b: "x"}, {a: 2}]);
		console.timeEnd("none");
		const o = {}; o.o = o; console.log(o);
		console.log(new Response("x").headers, new Error("bad").message);`), nil, nil)
	if end.Code != "" {
		t.Fatal(end.Error)
	}
	var got strings.Builder
	for _, l := range h.lines {
		got.WriteString(l.Level + " " + l.Text + "\n")
	}
	want := `debug d
warn w
error e
error Assertion failed: yes 1
info default: 1
info default: 2
info x: 1
info g
info   in
  side
info out
info ┌─────────┬───┬─────┐
│ (index) │ a │ b   │
├─────────┼───┼─────┤
│ 0       │ 1 │ 'x' │
│ 1       │ 2 │     │
└─────────┴───┴─────┘
warn console.timeEnd: there is no timer 'none'
info { o: [Circular] }
info Headers { 'content-type': 'text/plain;charset=UTF-8' } bad
`
	if got.String() != want {
		t.Errorf("got\n%s", got.String())
	}
}
