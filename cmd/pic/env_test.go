package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestEnv(t *testing.T) {
	t.Parallel()
	const taken = `409 {"status":409,"code":"conflict","field":"name","detail":"A is a secret"}`
	for _, test := range []struct {
		rule    string
		answers map[string][]string
		input   string
		args    []string
		code    int
		asked   []string
		out     string
		errsHas []string
	}{
		{
			rule:    "a variable's value may be an argument",
			answers: map[string][]string{"PUT /apps/default/variables/A": {"204"}},
			args:    []string{"vars", "set", "A", "two words"},
			asked:   []string{`PUT /apps/default/variables/A {"value":"two words"} as pis_x`},
			out:     "Set variable A.\n",
		},
		{
			rule:    "an empty value is one",
			answers: map[string][]string{"PUT /apps/default/variables/A": {"204"}},
			input:   "not read", args: []string{"vars", "set", "A", ""},
			asked: []string{`PUT /apps/default/variables/A {"value":""} as pis_x`},
			out:   "Set variable A.\n",
		},
		{
			rule:    "standard input loses one line break at its end",
			answers: map[string][]string{"PUT /apps/default/variables/A": {"204"}},
			input:   " one\ntwo\r\n\r\n", args: []string{"vars", "set", "A", "-"},
			asked: []string{`PUT /apps/default/variables/A {"value":" one\ntwo\r\n"} as pis_x`},
			out:   "Set variable A.\n",
		},
		{
			rule:    "a secret comes by standard input",
			answers: map[string][]string{"PUT /apps/shop/secrets/KEY": {"204"}},
			input:   "hunter2\n", args: []string{"secrets", "set", "KEY", "--app", "shop"},
			asked: []string{`PUT /apps/shop/secrets/KEY {"value":"hunter2"} as pis_x`},
			out:   "Set secret KEY.\n",
		},
		{
			rule: "a secret is no argument",
			args: []string{"secrets", "set", "KEY", "hunter2"}, code: exitUsage,
			errsHas: []string{"pic: the value of a secret is no argument, which others can see"},
		},
		{
			rule: "a name is checked before its value is asked for",
			args: []string{"secrets", "set", "2KEY"}, code: exitUsage,
			errsHas: []string{`pic: the name "2KEY": use letters, digits and _`},
		},
		{
			rule: "a name is needed",
			args: []string{"vars", "set"}, code: exitUsage,
			errsHas: []string{"pic: an argument is missing: pic vars set NAME [VALUE]"},
		},
		{
			rule:    "a name that the other kind has",
			answers: map[string][]string{"PUT /apps/default/variables/A": {taken}},
			args:    []string{"vars", "set", "A", "1"}, code: exitFailure,
			asked:   []string{`PUT /apps/default/variables/A {"value":"1"} as pis_x`},
			errsHas: []string{"pic vars rm A or pic secrets rm A makes room."},
		},
		{
			rule:    "a file sets all it holds",
			answers: map[string][]string{"PUT /apps/default/secrets/A": {"204"}, "PUT /apps/default/secrets/B": {"204"}},
			args:    []string{"secrets", "set", "--file", "good.env"},
			asked:   []string{`PUT /apps/default/secrets/A {"value":"1"} as pis_x`, `PUT /apps/default/secrets/B {"value":"two words"} as pis_x`},
			out:     "Set secret A.\nSet secret B.\n",
		},
		{
			rule: "a file with a mistake sets nothing",
			args: []string{"vars", "set", "--file", "bad.env"}, code: exitFailure,
			errsHas: []string{"bad.env:2: this line is not NAME=VALUE\n"},
		},
		{
			rule: "a file takes no name",
			args: []string{"vars", "set", "--file", "good.env", "A"}, code: exitUsage,
			errsHas: []string{"--file holds the names and values: leave A out"},
		},
		{
			rule: "a file that is not there",
			args: []string{"vars", "set", "--file", "no.env"}, code: exitFailure,
			errsHas: []string{"pic: cannot read the values: "},
		},
		{
			rule:    "vars ls shows the values",
			answers: map[string][]string{"GET /apps/default/variables": {`200 {"items":[{"name":"A","value":"one\ntwo"}]}`}},
			args:    []string{"vars", "ls"},
			asked:   []string{"GET /apps/default/variables as pis_x"},
			out:     "NAME  VALUE    UPDATED\nA     one two  -\n",
		},
		{
			rule:    "secrets ls shows the names",
			answers: map[string][]string{"GET /apps/default/secrets": {`200 {"items":[{"name":"KEY"}]}`}},
			args:    []string{"secrets", "ls"},
			asked:   []string{"GET /apps/default/secrets as pis_x"},
			out:     "NAME  UPDATED\nKEY   -\n",
		},
		{
			rule:    "rm deletes each",
			answers: map[string][]string{"DELETE /apps/default/secrets/A": {"204"}, "DELETE /apps/default/secrets/B": {"204"}},
			args:    []string{"secrets", "rm", "A", "B"},
			asked:   []string{"DELETE /apps/default/secrets/A as pis_x", "DELETE /apps/default/secrets/B as pis_x"},
			out:     "Deleted secret A.\nDeleted secret B.\n",
		},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, test.answers)
			c := testCLI(t, nil)
			keep(t, c, f.url, "pis_x")
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "good.env"), "# both\nexport A=1\nB=\"two words\"\n")
			writeFile(t, filepath.Join(dir, "bad.env"), "A=1\nhunter2\n")
			for i, arg := range test.args {
				if strings.HasSuffix(arg, ".env") {
					test.args[i] = filepath.Join(dir, arg)
				}
			}
			code, out, errs := pic(t, c, test.input, test.args...)
			if code != test.code {
				t.Errorf("pic %s ended with %d, want %d: %s", test.args, code, test.code, errs)
			}
			f.wasAsked(t, test.asked...)
			if out != test.out {
				t.Errorf("standard output is\n%s\nwant\n%s", out, test.out)
			}
			has(t, "standard error", errs, test.errsHas...)
			if strings.Contains(errs, "hunter2") {
				t.Errorf("standard error tells the value: %s", errs)
			}
		})
	}
}
