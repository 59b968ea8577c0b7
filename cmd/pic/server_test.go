package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testCLI is a cli on an empty machine: no environment but env, no credentials,
// a working folder of its own.
func testCLI(t *testing.T, env map[string]string) *cli {
	t.Helper()
	home := t.TempDir()
	return &cli{output: "table", app: defaultApp, system: system{
		in:        strings.NewReader(""),
		out:       &strings.Builder{},
		err:       &strings.Builder{},
		env:       func(name string) string { return env[name] },
		configDir: func() (string, error) { return filepath.Join(home, "config"), nil },
		workDir:   func() (string, error) { return filepath.Join(home, "work", "src"), nil },
		now:       func() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) },
	}}
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ownerTokenAbove leaves a development server's key in the folder above the
// working folder.
func ownerTokenAbove(t *testing.T, c *cli, token string) {
	t.Helper()
	dir, _ := c.workDir()
	writeFile(t, filepath.Join(filepath.Dir(dir), ".picloud", "owner-token"), token+"\n")
}

func TestServer(t *testing.T) {
	t.Parallel()
	loggedIn := credentials{
		Current: "http://pi.local",
		Servers: map[string]credential{"http://pi.local": {Token: "pi"}, "http://localhost:9000": {Token: "nine"}},
	}
	for _, test := range []struct {
		name  string
		flag  string
		env   map[string]string
		known credentials
		want  server
	}{
		{name: "nothing is configured: the local server with its owner token", want: server{url: "http://localhost:8080", token: "owner"}},
		{name: "the credentials file comes before the local server", known: loggedIn, want: server{url: "http://pi.local", token: "pi"}},
		{name: "PICLOUD_URL comes before the current server", env: map[string]string{"PICLOUD_URL": "http://localhost:9000/"}, known: loggedIn, want: server{url: "http://localhost:9000", token: "nine"}},
		{name: "--url comes before PICLOUD_URL", flag: "pi.local", env: map[string]string{"PICLOUD_URL": "http://localhost:9000"}, known: loggedIn, want: server{url: "http://pi.local", token: "pi"}},
		{name: "PICLOUD_TOKEN comes before the credentials file", env: map[string]string{"PICLOUD_TOKEN": " mine\n"}, known: loggedIn, want: server{url: "http://pi.local", token: "mine"}},
		{name: "the owner token goes to 127.0.0.1", flag: "http://127.0.0.1:8080", want: server{url: "http://127.0.0.1:8080", token: "owner"}},
		{name: "the owner token goes to ::1", flag: "http://[::1]:8080", want: server{url: "http://[::1]:8080", token: "owner"}},
		{name: "the owner token goes to no other machine", flag: "http://pi.local:8080", want: server{url: "http://pi.local:8080", token: ""}},
		{name: "the owner token goes to no name under localhost, which DNS may answer", flag: "http://evil.localhost", want: server{url: "http://evil.localhost", token: ""}},
		{name: "the owner token goes to no address that looks local", flag: "http://127.0.0.1.example.com", want: server{url: "http://127.0.0.1.example.com", token: ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := testCLI(t, test.env)
			c.url = test.flag
			ownerTokenAbove(t, c, "owner")
			if test.known.Current != "" {
				if err := c.saveCredentials(test.known); err != nil {
					t.Fatal(err)
				}
			}
			got, err := c.server()
			if err != nil {
				t.Fatal(err)
			}
			got.from = ""
			if got != test.want {
				t.Errorf("server() = %+v, want %+v", got, test.want)
			}
		})
	}

	t.Run("PICLOUD_DATA names another data folder", func(t *testing.T) {
		t.Parallel()
		data := t.TempDir()
		c := testCLI(t, map[string]string{"PICLOUD_DATA": data})
		ownerTokenAbove(t, c, "owner")
		writeFile(t, filepath.Join(data, "owner-token"), "other")
		if got, err := c.server(); err != nil || got.token != "other" || got.from != filepath.Join(data, "owner-token") {
			t.Errorf("server() = %+v, %v, want the token other of that folder", got, err)
		}
	})

	t.Run("--token-file comes before PICLOUD_TOKEN", func(t *testing.T) {
		t.Parallel()
		c := testCLI(t, map[string]string{"PICLOUD_TOKEN": "mine"})
		c.tokenFile = filepath.Join(t.TempDir(), "key")
		writeFile(t, c.tokenFile, "filed\n")
		if got, err := c.server(); err != nil || got.token != "filed" || got.from != c.tokenFile {
			t.Errorf("server() = %+v, %v, want the token filed of that file", got, err)
		}
	})
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"picloud.local":             "http://picloud.local",
		"localhost:8080":            "http://localhost:8080",
		"https://Cloud.Example.com": "https://cloud.example.com",
		"http://[::1]:8080/":        "http://[::1]:8080",
	} {
		if got, err := parseServer(in); err != nil || got != want {
			t.Errorf("parseServer(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"ftp://pi.local":         "neither http nor https",
		"http://":                "names no host",
		"http://u:p@pi.local":    "password",
		"http://pi.local/api/v1": "goes on behind the host",
		"http://pi.local?x":      "goes on behind the host",
		"http://pi .local":       "is no URL",
	} {
		if got, err := parseServer(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseServer(%q) = %q, %v, want an error with %q", in, got, err, want)
		}
	}
}
