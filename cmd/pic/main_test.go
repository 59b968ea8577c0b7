package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/picloud/picloud/services/cloudtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pic": main})
}

// TestScripts runs the txtar scripts, each the specification of one behaviour,
// against one real server. Each script has an app of its own, which $PICLOUD_APP
// names, and is logged in by $PICLOUD_TOKEN. Beside testscript's commands:
//
//	http METHOD URL [BODY]   sends a request; names under .localhost reach this machine
//	mode FILE MODE           checks a file's permissions
func TestScripts(t *testing.T) {
	t.Parallel()
	dev := cloudtest.StartDev(t)
	notInSlug := regexp.MustCompile(`[^a-z0-9]+`)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			_, name, _ := strings.Cut(env.T().(testing.TB).Name(), "/")
			slug := strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
			cl := newClient(server{url: dev.URL, token: dev.Token})
			defer cl.close()
			in := map[string]string{"slug": slug}
			made, _, err := fetch[app](t.Context(), cl, "POST", api("apps"), in)
			if err != nil {
				return err
			}
			env.Setenv("PICLOUD_URL", dev.URL)
			env.Setenv("PICLOUD_TOKEN", dev.Token)
			env.Setenv("PICLOUD_APP", slug)
			env.Setenv("APP_URL", strings.TrimSuffix(made.URL, "/"))
			env.Setenv("DATA", dev.Dir)
			env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/config")
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"http": httpCommand,
			"mode": modeCommand,
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
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] && runtime.GOOS != "windows" {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}
