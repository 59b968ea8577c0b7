package caddycloud_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	_ "github.com/picloud/picloud/services/caddycloud"
)

var update = flag.Bool("update", false, "write the golden files")

// TestAdapt holds each testdata/adapt/NAME.caddyfile against NAME.json.
func TestAdapt(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/adapt/*.caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := adapt(source)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".caddyfile") + ".json"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestAdapt_Refusals(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ option, want string }{
		"an unknown option":              {"bananas 3", `unknown option "bananas"`},
		"an option given twice":          {"drain 1s\ndrain 2s", "drain is given twice"},
		"a missing argument":             {"database", "wrong argument count"},
		"a key file without a path":      {"secret_key_file", "wrong argument count"},
		"one argument too many":          {"database a b", "wrong argument count"},
		"an argument of the block":       {"executions 3", "wrong argument count"},
		"no duration":                    {"drain soon", `"soon" is no duration`},
		"a negative duration":            {"drain -1s", `"-1s" is no duration`},
		"no count":                       {"executions {\nmax none\n}", `"none" is no count`},
		"a count of zero":                {"executions {\nmax 0\n}", `"0" is no count`},
		"an unknown option of the block": {"executions {\nmin 1\n}", `unknown option "min"`},
		"the same twice in the block":    {"executions {\nmax 1\nmax 2\n}", "max is given twice"},
		"hosts without names":            {"hosts", "wrong argument count"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := adapt([]byte("{\npicloud {\n" + tt.option + "\n}\n}\n:80 {\npicloud_manager\n}\n"))
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.want)) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	for name, config := range map[string]string{
		"the option twice":             "{\npicloud\npicloud\n}\n:80 {\npicloud_manager\n}\n",
		"a directive with an argument": ":80 {\npicloud_manager x y\n}\n",
		"a directive with a block":     ":80 {\npicloud_executor {\nx\n}\n}\n",
	} {
		if _, err := adapt([]byte(config)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func adapt(source []byte) ([]byte, error) {
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(source, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, out, "", "\t"); err != nil {
		return nil, err
	}
	return append(indented.Bytes(), '\n'), nil
}
