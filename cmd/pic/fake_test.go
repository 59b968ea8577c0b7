package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeServer answers as a test says and notes what it was asked.
type fakeServer struct {
	url string

	mu      sync.Mutex
	answers map[string][]string
	asked   []string
}

// newFakeServer has answers "STATUS JSON" by "METHOD PATH", without /api/v1;
// of several each serves once, and the last from then on.
func newFakeServer(t *testing.T, answers map[string][]string) *fakeServer {
	t.Helper()
	f := &fakeServer{answers: answers}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.RequestURI(), "/api/v1")
	line := r.Method + " " + path
	if len(body) > 0 {
		line += " " + string(body)
	}
	if token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); token != "" {
		line += " as " + token
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, line)
	answers := f.answers[r.Method+" "+path]
	if len(answers) == 0 {
		answers = []string{`404 {"code":"not_found","detail":"nothing there"}`}
	}
	if len(answers) > 1 {
		f.answers[r.Method+" "+path] = answers[1:]
	}
	code, text, _ := strings.Cut(answers[0], " ")
	status, _ := strconv.Atoi(code)
	if text != "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// wasAsked compares the requests with what they should have been.
func (f *fakeServer) wasAsked(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got, want := strings.Join(f.asked, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("the server was asked\n%s\nwant\n%s", got, want)
	}
}

// commandTest says which requests a command makes and what it prints.
type commandTest struct {
	rule    string
	answers map[string][]string // of the fakeServer
	env     map[string]string
	input   string
	args    string // split at blanks
	code    int
	asked   []string
	out     string   // all of standard output, if there is any
	outHas  []string // or parts of it
	errsHas []string
}

// runCommands runs each command against a server of its own, with the session
// pis_x.
func runCommands(t *testing.T, tests []commandTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, test.answers)
			c := testCLI(t, test.env)
			keep(t, c, f.url, "pis_x")
			code, out, errs := pic(t, c, test.input, strings.Fields(test.args)...)
			if code != test.code {
				t.Errorf("pic %s ended with %d, want %d: %s", test.args, code, test.code, errs)
			}
			f.wasAsked(t, test.asked...)
			if test.outHas == nil && out != test.out {
				t.Errorf("standard output is\n%s\nwant\n%s", out, test.out)
			}
			has(t, "standard output", out, test.outHas...)
			has(t, "standard error", errs, test.errsHas...)
		})
	}
}

// pic runs a command line on c's machine, with input as its standard input.
func pic(t *testing.T, c *cli, input string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr strings.Builder
	c.in, c.out, c.err = strings.NewReader(input), &stdout, &stderr
	code = run(t.Context(), c.system, args)
	return code, stdout.String(), stderr.String()
}

// kept is the token that c's machine has for a server.
func kept(t *testing.T, c *cli, url string) string {
	t.Helper()
	known, err := c.credentials()
	if err != nil {
		t.Fatal(err)
	}
	return known.Servers[url].Token
}

// keep logs c's machine in.
func keep(t *testing.T, c *cli, url, token string) {
	t.Helper()
	if err := c.saveCredentials(credentials{Current: url, Servers: map[string]credential{url: {Token: token, User: "ada"}}}); err != nil {
		t.Fatal(err)
	}
}

// has compares text with parts that it should contain.
func has(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s is\n%s\nwant it with %q", what, text, part)
		}
	}
}

func problemText(status int, code, detail string) string {
	return fmt.Sprintf(`%d {"status":%d,"code":%q,"detail":%q}`, status, status, code, detail)
}
