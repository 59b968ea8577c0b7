//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/picloud/picloud/services/cloudtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pic": main})
}

// testServer is the real server that the tests of a run share.
type testServer struct {
	*cloudtest.Dev
	client *client
	apps   atomic.Int32
}

// newApp makes an app for one test and returns it.
func (s *testServer) newApp(t testing.TB) app {
	t.Helper()
	in := map[string]string{"slug": fmt.Sprintf("test-%d", s.apps.Add(1))}
	made, _, err := fetch[app](t.Context(), s.client, "POST", api("apps"), in)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// env is the environment of one who works in the app.
func (s *testServer) env(a app) map[string]string {
	return map[string]string{"PICLOUD_URL": s.URL, "PICLOUD_TOKEN": s.Token, "PICLOUD_APP": a.Slug}
}

// TestPic runs pic against a real server. It is not parallel: one part looks for
// goroutines that are left over.
func TestPic(t *testing.T) {
	dev := cloudtest.StartDev(t)
	s := &testServer{Dev: dev, client: newClient(server{url: dev.URL, token: dev.Token})}
	t.Cleanup(s.client.close)
	t.Run("scripts", s.testScripts)
	t.Run("a second factor is switched on and off", s.testSecondFactor)
	t.Run("dev deploys again on each change", s.testDev)
	t.Run("dev watches all files of an app", s.testDevApp)
	t.Run("dev watches what a file imports", s.testDevImport)
	t.Run("dev leaves nothing running", s.testDevEnd)
	t.Run("logs -f shows what runs from now on", s.testFollow)
	t.Run("a change runs the scripts that react to it", s.testTrigger)
}

// testScripts runs the txtar scripts, each the specification of one behaviour,
// against one real server. Each script has an app of its own, which $PICLOUD_APP
// names, and is logged in by $PICLOUD_TOKEN. Beside testscript's commands:
//
//	http METHOD URL [BODY]   sends a request; names under .localhost reach this machine
//	mode FILE MODE           checks a file's permissions
//	let NAME REGEXP          sets $NAME to the group of REGEXP in the last standard output
func (s *testServer) testScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			a := s.newApp(t)
			for name, value := range s.env(a) {
				env.Setenv(name, value)
			}
			env.Setenv("APP_URL", strings.TrimSuffix(a.URL, "/"))
			env.Setenv("DATA", s.Dir)
			env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/config")
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"http": httpCommand,
			"mode": modeCommand,
			"let":  letCommand,
		},
	})
}

// httpCommand prints the answer's status line and body to stdout. Negated it
// demands a status of 400 and more, else a lower one.
func httpCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: http METHOD URL [BODY]")
	}
	body := ""
	if len(args) == 3 {
		body = args[2]
	}
	req, err := http.NewRequestWithContext(context.Background(), args[0], args[1], strings.NewReader(body))
	ts.Check(err)
	transport := &http.Transport{DialContext: dialLocal}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	ts.Check(err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	_, _ = fmt.Fprintf(ts.Stdout(), "%s\n%s\n", res.Status, text)
	if failed := res.StatusCode >= 400; failed != neg {
		ts.Fatalf("%s %s answered %s: %s", args[0], args[1], res.Status, text)
	}
}

// dialLocal leads names under .localhost to this machine, as browsers and curl
// do (RFC 6761, section 6.3).
func dialLocal(ctx context.Context, network, addr string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(addr); err == nil && strings.HasSuffix(host, ".localhost") {
		addr = net.JoinHostPort("localhost", port)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func modeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// letCommand sets an environment variable to the first group of a regular
// expression in the standard output of the last command.
func letCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: let NAME REGEXP")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	found := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) < 2 {
		ts.Fatalf("no group of %s in the output", args[1])
	}
	ts.Setenv(args[0], found[1])
}
