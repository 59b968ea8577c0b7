package main_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/secrets"
)

// TestRun_endsWithAnotherKey shows that a server whose master key is a good one,
// but not the one of its database, says so and ends, and that the one beside it
// goes on.
func TestRun_endsWithAnotherKey(t *testing.T) {
	t.Parallel()
	dir, database := t.TempDir(), cloudtest.URL(t)
	right, wrong := filepath.Join(dir, "right"), filepath.Join(dir, "wrong")
	for _, path := range []string{right, wrong} {
		if err := secrets.CreateKeyFile(path); err != nil {
			t.Fatal(err)
		}
	}
	s := startRunOn(t, database, "secret_key_file "+right)
	s.must(t, http.MethodPut, "/api/v1/apps/default/secrets/TOKEN", `{"value":"the secret"}`)

	config, _ := runConfig(t, database, "secret_key_file "+wrong)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(cloudtest.Binaries(t), "picloud"), "run", "--config", config)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("it ended with %d, %v", code, err)
	}
	for _, want := range []string{"picloud: unavailable: secrets in the database are sealed with the master key", "which is not in " + wrong, "Nothing was changed"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	s.deploy(t, "tell", `export default (request, env) => new Response(env.TOKEN)`)
	if got := s.must(t, http.MethodGet, "/tell", ""); got != "the secret" {
		t.Errorf("the server with the right key: %q", got)
	}
}
