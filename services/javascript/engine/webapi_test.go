package engine

import (
	"encoding/json"
	"os"
	"testing"
)

// TestWebAPI evaluates the expressions of testdata/webapi.json, whose values
// were taken from Node 20 (JSON.stringify of each, awaited).
func TestWebAPI(t *testing.T) {
	var cases [][2]string
	raw, err := os.ReadFile("testdata/webapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c[0], func(t *testing.T) {
			t.Parallel()
			p, err := Compile("test", wrap(`return {default: {fetch: async () => {
				const v = JSON.stringify(await (`+c[0]+`));
				return v === undefined ? "undefined" : v;
			}}}`))
			if err != nil {
				t.Fatal(err)
			}
			h := &recorder{}
			h.x = NewExecution(startOf("GET", "http://localhost/"), h)
			end := NewRuntime(p).Run(h.x, nil)
			if end.Code != "" {
				t.Fatalf("%s: %+v", end.Code, end.Error)
			}
			if string(h.body) != c[1] {
				t.Errorf("\ngot  %s\nwant %s", h.body, c[1])
			}
			if len(h.lines) > 0 {
				t.Errorf("logged %+v", h.lines)
			}
		})
	}
}
