package caddycloud_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud/services/caddycloud"
	"github.com/picloud/picloud/services/secrets"
)

// TestFindSecretKey tries the places one after the other, the first that is
// named first.
func TestFindSecretKey(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"CREDENTIALS_DIRECTORY", "PICLOUD_SECRET_KEY_FILE", "PICLOUD_SECRET_KEY"} {
		t.Setenv(name, "")
	}
	if k := caddycloud.FindSecretKey(""); k != (caddycloud.SecretKey{}) {
		t.Errorf("got %+v", k)
	}
	t.Setenv("PICLOUD_SECRET_KEY", "text")
	if k := caddycloud.FindSecretKey(""); k.Text != "text" {
		t.Errorf("got %+v", k)
	}
	t.Setenv("PICLOUD_SECRET_KEY_FILE", "/named")
	if k := caddycloud.FindSecretKey(""); k.File != "/named" {
		t.Errorf("got %+v", k)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if k := caddycloud.FindSecretKey(""); k.File != "/named" {
		t.Errorf("credentials without a key: %+v", k)
	}
	credential := filepath.Join(dir, "picloud-secret-key")
	if err := os.WriteFile(credential, []byte("x"), 0o440); err != nil { // as systemd makes it, with an ACL
		t.Fatal(err)
	}
	if k := caddycloud.FindSecretKey(""); k.File != credential {
		t.Errorf("got %+v", k)
	}
	if k := caddycloud.FindSecretKey("/option"); k.File != "/option" {
		t.Errorf("got %+v", k)
	}
}

// TestProvision_needsTheKeyThatIsNamed shows that a configuration whose key file
// is not there, or not as it should be, does not start.
func TestProvision_needsTheKeyThatIsNamed(t *testing.T) {
	s := start(t)
	good := s.config
	missing := filepath.Join(t.TempDir(), "secret-key")
	open := filepath.Join(t.TempDir(), "secret-key")
	if err := secrets.CreateKeyFile(open); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil { //nolint:gosec // which is refused
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "secret-key")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{missing: "Put it back from its copy", open: "chmod 600", empty: "holds no key"} {
		config, err := adapt([]byte(strings.ReplaceAll(good, s.secretKey, path)))
		if err != nil {
			t.Fatal(err)
		}
		if err := caddy.Load(config, true); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if status, body := s.do(http.MethodGet, "/hello", ""); status != http.StatusOK {
		t.Errorf("the server that ran does not any more: %d %s", status, body)
	}
}

// TestPrepare_secretKey shows that what is sealed is looked after before
// anything is served, and that nothing is made up.
func TestPrepare_secretKey(t *testing.T) {
	s := start(t)
	s.must(http.StatusNoContent, http.MethodPut, "/api/v1/apps/default/secrets/TOKEN", `{"value":"the secret"}`)
	before := s.dump()
	another := filepath.Join(t.TempDir(), "secret-key")
	if err := secrets.CreateKeyFile(another); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "secret-key")
	for name, tt := range map[string]struct {
		key  caddycloud.SecretKey
		want string
	}{
		"no key":          {caddycloud.SecretKey{}, "sealed with the master key"},
		"another key":     {caddycloud.SecretKey{File: another}, "sealed with the master key"},
		"a key that left": {caddycloud.SecretKey{File: missing}, "Put it back from its copy"},
		"no key's text":   {caddycloud.SecretKey{Text: "nonsense"}, "PICLOUD_SECRET_KEY"},
	} {
		err := caddycloud.Prepare(t.Context(), caddycloud.Preparation{Database: s.database, SecretKey: tt.key, CreateSecretKey: true, Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("a key was made although secrets are sealed with another: %v", err)
	}
	if changed := changes(before, s.dump()); changed != nil {
		t.Errorf("the database was changed:\n%s", strings.Join(changed, "\n"))
	}
	text, err := os.ReadFile(s.secretKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]caddycloud.SecretKey{"its file": {File: s.secretKey}, "its text": {Text: string(text)}} {
		if err := caddycloud.Prepare(t.Context(), caddycloud.Preparation{Database: s.database, SecretKey: key, Logger: slog.New(slog.DiscardHandler)}); err != nil {
			t.Errorf("the key in %s: %v", name, err)
		}
	}
}

// TestClientAddress shows whose address a request counts for.
func TestClientAddress(t *testing.T) {
	s := start(t)
	n := 0
	logIn := func() (address string) {
		t.Helper()
		n++
		u := s.user("u"+strconv.Itoa(n), "member", "correct horse battery")
		_, body, _ := s.asked(func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", "203.0.113.7")
			r.Header.Set("Forwarded", "for=203.0.113.8")
		}, http.MethodPost, "/api/v1/sessions", `{"name":"`+u.name+`","password":"`+u.password+`"}`)
		in := decode[struct{ Token string }](s, body)
		sessions := decode[struct {
			Items []struct {
				Address string
				Current bool
			}
		}](s, s.by(in.Token, http.StatusOK, http.MethodGet, "/api/v1/me/sessions", ""))
		for _, session := range sessions.Items {
			if session.Current {
				return session.Address
			}
		}
		t.Fatalf("got %+v", sessions)
		return ""
	}
	if got := logIn(); got != "127.0.0.1" {
		t.Errorf("what a stranger says of themselves counts: %s", got)
	}
	s.config = strings.Replace(s.config, "\tgrace_period 10s\n", "\tgrace_period 10s\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}\n", 1)
	s.load(2)
	http.DefaultClient.CloseIdleConnections() // the old generation is about to end them
	if got := logIn(); got != "203.0.113.7" {
		t.Errorf("behind a trusted proxy: %s", got)
	}
}
