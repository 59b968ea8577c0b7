package main_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloudtest"
)

// admin runs a subcommand of picloud admin and returns what it prints.
func admin(t *testing.T, args ...string) string {
	t.Helper()
	out, err := picloud(t, append([]string{"admin"}, args...)...)
	if err != nil {
		t.Fatalf("picloud admin %v: %v\n%s", args, err, out)
	}
	return out
}

// oneTime is the password in what a command printed.
func oneTime(t *testing.T, out string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "one-time password of ") {
		t.Fatalf("got\n%s", out)
	}
	return lines[1]
}

// TestAdmin_whileTheServerRuns lets somebody in again who has lost everything.
func TestAdmin_whileTheServerRuns(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	password := oneTime(t, admin(t, "create-owner", "Grace", "--data", d.Dir))
	status, answer := d.Do(http.MethodPost, "/api/v1/sessions", `{"name":"grace","password":"`+password+`","new_password":"correct horse battery"}`)
	if status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	session := regexp.MustCompile(`pis_[a-z2-7]+`).FindString(answer)

	password = oneTime(t, admin(t, "reset-password", "grace", "--data", d.Dir))
	for _, tt := range []struct {
		what, body string
		want       int
	}{
		{"the old password", `{"name":"grace","password":"correct horse battery"}`, http.StatusUnauthorized},
		{"the one-time password", `{"name":"grace","password":"` + password + `"}`, http.StatusForbidden},
		{"the same with a new one", `{"name":"grace","password":"` + password + `","new_password":"another horse battery"}`, http.StatusCreated},
	} {
		if status, answer := d.Do(http.MethodPost, "/api/v1/sessions", tt.body); status != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.what, status, answer, tt.want)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+"/api/v1/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+session)
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a session from before: %v %v", res, err)
	} else {
		_ = res.Body.Close()
	}

	if out := admin(t, "list", "--data", d.Dir); !regexp.MustCompile(`(?m)^Grace +owner +yes +password +no +20\d\d-`).MatchString(out) {
		t.Errorf("got\n%s", out)
	}
	if status, answer := d.Do(http.MethodGet, "/api/v1/audit", ""); status != http.StatusOK ||
		!strings.Contains(answer, `"via":"command"`) || !strings.Contains(answer, `"action":"reset-user"`) || !strings.Contains(answer, `"target":"users/Grace"`) {
		t.Errorf("the audit log: %d %s", status, answer)
	}
}

// TestAdmin_whileNoServerRuns starts the database for the time of the command.
func TestAdmin_whileNoServerRuns(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	d.Stop()
	oneTime(t, admin(t, "create-owner", "grace", "--data", d.Dir))
	if left := processes(t, d.Dir); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
	if out := admin(t, "list", "--data", d.Dir); !strings.Contains(out, "grace") || !strings.Contains(out, "one_time") {
		t.Errorf("got\n%s", out)
	}
}

func TestAdmin_onADatabaseOfYours(t *testing.T) {
	t.Parallel()
	database := cloudtest.URL(t)
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(cloudtest.Binaries(t), "picloud"), append([]string{"admin"}, args...)...)
		cmd.Env = append(os.Environ(), "PICLOUD_DATABASE_URL="+database)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("list"); err != nil || !strings.Contains(out, "nobody yet") {
		t.Errorf("got %v\n%s", err, out)
	}
	if out, err := run("create-owner", "ada"); err != nil || oneTime(t, out) == "" {
		t.Errorf("got %v\n%s", err, out)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"create-owner", "ADA"}, "picloud admin reset-password ADA"},
		{[]string{"create-owner", "not a name"}, "use letters, digits"},
		{[]string{"reset-password", "nobody"}, "there is no user"},
		{[]string{"rotate-key"}, "no master key"},
		{[]string{"rotate-key", "--secret-key-file", "/nonexistent/key"}, "/nonexistent"},
	} {
		if out, err := run(tt.args...); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%v: got %v\n%s, want %q", tt.args, err, out, tt.want)
		}
	}
}

func TestAdmin_NeedsADatabase(t *testing.T) {
	t.Parallel()
	out, err := picloud(t, "admin", "list", "--data", t.TempDir())
	if err == nil || !strings.Contains(out, "no database in") || !strings.Contains(out, "--data") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// TestAdmin_RotateKey changes the key under a server that goes on working, and
// shows what a start says without the key.
func TestAdmin_RotateKey(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	key := filepath.Join(d.Dir, "secret-key")
	first := snapshot(t, key)
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	deploy := `{"scripts":[{"name":"tell","language":"js","source":"export default (request, env) => env.TOKEN;"}]}`
	if status, answer := d.Do(http.MethodPost, "/api/v1/apps/default/deploy", deploy); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	set := func(value string) {
		t.Helper()
		if status, answer := d.Do(http.MethodPut, "/api/v1/apps/default/secrets/TOKEN", `{"value":"`+value+`"}`); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, answer)
		}
	}
	tells := func(want string) {
		t.Helper()
		if status, answer := d.Do(http.MethodGet, "/tell", ""); status != http.StatusOK || answer != want {
			t.Errorf("got %d %s, want %s", status, answer, want)
		}
	}
	set("one")
	tells("one")
	if out := admin(t, "rotate-key", "--data", d.Dir); !strings.Contains(out, "1 values are sealed with a new master key; copy "+key) {
		t.Errorf("got\n%s", out)
	}
	second := snapshot(t, key)
	if second == first || strings.Count(second, "\n") != strings.Count(first, "\n")+1 {
		t.Errorf("the key file was\n%s\nand is\n%s", first, second)
	}
	if status, answer := d.Do(http.MethodGet, "/api/v1/audit?action=rotate-key", ""); status != http.StatusOK || strings.Count(answer, `"via":"command"`) != 1 {
		t.Errorf("the audit log: %d %s", status, answer)
	}
	tells("one")
	set("two")
	tells("two")
	d.Stop()

	refused := func(what string, wants ...string) {
		t.Helper()
		before, _ := os.ReadFile(key)
		out, err := picloud(t, "dev", "--listen", "localhost:0", "--data", d.Dir)
		for _, want := range append(wants, "Nothing was changed") {
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("%s: got %v\n%s, want %q", what, err, out, want)
			}
		}
		if after, _ := os.ReadFile(key); string(after) != string(before) {
			t.Errorf("%s: the key file was changed", what)
		}
	}
	if err := os.WriteFile(key, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("with the key from before", "sealed with the master key", key)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	refused("without the key", key, "Put it back")
	if err := os.WriteFile(key, []byte(second), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Start()
	tells("two")
}
