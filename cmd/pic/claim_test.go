//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloudtest"
)

// startUnclaimed runs a server that nobody owns, on an empty database, and
// returns its URL once it answers.
func startUnclaimed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	dir, database := t.TempDir(), cloudtest.URL(t)
	config := filepath.Join(dir, "Caddyfile")
	writeFile(t, config, fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %q
	picloud {
		database %q
	}
}
http://%s {
	picloud_manager
	picloud_orchestrator
	picloud_executor
}
`, dir, database, address))
	bin := filepath.Join(cloudtest.Binaries(t), "picloud")
	migrate := exec.CommandContext(t.Context(), bin, "migrate")
	migrate.Env = append(os.Environ(), "PICLOUD_DATABASE_URL="+database)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin, "run", "--config", config)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	url := "http://" + address
	for deadline := time.Now().Add(time.Minute); ; {
		if res, err := http.Get(url + "/healthz"); err == nil {
			_ = res.Body.Close()
			return url
		}
		if time.Now().After(deadline) {
			t.Fatal("the server did not answer within a minute")
		}
	}
}

// TestClaim_Server takes a fresh server over, as its first user does.
func TestClaim_Server(t *testing.T) {
	url := startUnclaimed(t)
	defer http.DefaultClient.CloseIdleConnections()
	ada, eve := testCLI(t, nil), testCLI(t, nil)
	for _, step := range []struct {
		rule  string
		c     *cli
		input string
		args  []string
		code  int
		out   string // a part of standard output
		errs  string // a part of standard error
	}{
		{"nothing is served before", ada, "", []string{"apps", "ls"}, exitFailure, "", "pic login --claim --url " + url + " makes you its owner."},
		{"nobody logs in before", ada, "correct horse battery", []string{"login", "--user", "ada"}, exitFailure, "", "makes you its owner"},
		{"the rules for passwords hold", ada, "short", []string{"login", "--claim", "--user", "ada"}, exitFailure, "", "pic: password: "},
		{"the rules for names hold", ada, "correct horse battery", []string{"login", "--claim", "--user", "-ada"}, exitFailure, "", "pic: name: "},
		{"the first one becomes the owner", ada, "correct horse battery", []string{"login", "--claim", "--user", "ada"}, exitOK, "Logged in to " + url + " as ada (owner).", ""},
		{"and is the last one who does", eve, "other horse battery", []string{"login", "--claim", "--user", "eve"}, exitFailure, "", url + " has an owner already: log in with pic login --url " + url},
		{"the owner may do everything", ada, "", []string{"apps", "create", "shop"}, exitOK, "Created app shop", ""},
		{"the owner cannot leave", ada, "ada", []string{"users", "rm", "ada"}, exitFailure, "", "pic users change NAME --role owner makes another one."},
		{"a session ends", ada, "", []string{"logout"}, exitOK, "Logged out of " + url, ""},
		{"and begins again", ada, "correct horse battery", []string{"login", "--user", "ADA"}, exitOK, "as ada (owner).", ""},
		{"but not by another password", eve, "wrong horse battery", []string{"login", "--user", "ada"}, exitFailure, "", "pic: wrong name or password"},
	} {
		code, out, errs := pic(t, step.c, step.input, append(step.args, "--url", url)...)
		if code != step.code {
			t.Errorf("%s: pic %s ended with %d, want %d: %s", step.rule, step.args, code, step.code, errs)
		}
		has(t, step.rule+": standard output", out, step.out)
		has(t, step.rule+": standard error", errs, step.errs)
	}
}
