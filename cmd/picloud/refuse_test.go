package main_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloudtest"
)

func TestDev_RefusesANewerSchema(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	put(t, d, "kept")
	database := cloudtest.Pool(t, "postgres:///postgres?"+url.Values{"host": {filepath.Join(d.Dir, "postgres", "socket")}, "user": {"postgres"}}.Encode())
	if _, err := database.Exec(t.Context(), `
		INSERT INTO schema_version (version_id, is_applied) VALUES (999, true);
		UPDATE schema_compatibility SET floor = 999`); err != nil {
		t.Fatal(err)
	}
	database.Close()
	d.Stop()
	before := snapshot(t, filepath.Join(d.Dir, "owner-token"))

	for range 2 { // the first refusal has changed nothing that would let the second pass
		out, err := picloud(t, "dev", "--listen", "localhost:0", "--data", d.Dir)
		for _, want := range []string{"schema is at step 999", "start the newer PiCloud again", "Nothing was changed"} {
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("got %v, want %q in\n%s", err, want, out)
			}
		}
		if left := processes(t, d.Dir); len(left) > 0 {
			t.Errorf("processes left behind: %v", left)
		}
	}
	if after := snapshot(t, filepath.Join(d.Dir, "owner-token")); after != before {
		t.Error("the owner's key has changed")
	}
}

func TestDev_RefusesAnUnfitPostgres(t *testing.T) {
	t.Parallel()
	old := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(old, name), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 14.2'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct{ dir, want string }{
		"too old": {old, "PostgreSQL 14 in " + old + " is too old; install a PostgreSQL server, version 15 to 18"},
		"missing": {t.TempDir(), "no PostgreSQL server in PICLOUD_POSTGRES_BIN="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			cmd := exec.CommandContext(t.Context(), filepath.Join(cloudtest.Binaries(t), "picloud"), "dev", "--listen", "localhost:0", "--data", data)
			cmd.Env = append(os.Environ(), "PICLOUD_POSTGRES_BIN="+tt.dir)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) || !strings.Contains(string(out), "apt-get install postgresql") {
				t.Errorf("got %v\n%s", err, out)
			}
			if _, err := os.Stat(filepath.Join(data, "owner-token")); !os.IsNotExist(err) {
				t.Errorf("owner-token: %v", err)
			}
		})
	}
}

func TestDev_NeedsItsWorker(t *testing.T) {
	t.Parallel()
	alone := filepath.Join(t.TempDir(), "picloud")
	program, err := os.ReadFile(filepath.Join(cloudtest.Binaries(t), "picloud"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, program, 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	out, err := exec.CommandContext(t.Context(), alone, "dev", "--listen", "localhost:0", "--data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "picloud-worker, which runs the scripts") || !strings.Contains(string(out), "make build") {
		t.Errorf("got %v\n%s", err, out)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("the data directory was made: %v", err)
	}
}

func TestMigrate_NeedsADatabase(t *testing.T) {
	t.Parallel()
	if out, err := picloud(t, "migrate"); err == nil || !strings.Contains(out, "PICLOUD_DATABASE_URL") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func snapshot(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
