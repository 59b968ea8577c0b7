package caddyappliance_test

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
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"

	_ "github.com/picloud/picloud/appliance/caddyappliance"
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
	option := func(o string) string {
		return "{\npicloud_appliance {\n" + o + "\n}\n}\n:80 {\npicloud_awake\n}\n"
	}
	for name, tt := range map[string]struct{ config, want string }{
		"an unknown option":            {option("bananas 3"), `unknown option "bananas"`},
		"an option given twice":        {option("ledger a\nledger b"), "ledger is given twice"},
		"a missing argument":           {option("wake_file"), "wrong argument count"},
		"one argument too many":        {option("ledger a b"), "wrong argument count"},
		"no duration":                  {option("sleep_after soon"), `"soon" is no duration`},
		"no time at all":               {option("sleep_after 0s"), `"0s" is no duration`},
		"a negative duration":          {option("clock_wait -1s"), `"-1s" is no duration`},
		"the option twice":             {"{\npicloud_appliance\npicloud_appliance\n}\n:80 {\npicloud_awake\n}\n", "given twice"},
		"an argument of the option":    {"{\npicloud_appliance on\n}\n:80 {\npicloud_awake\n}\n", "wrong argument count"},
		"an argument of the directive": {":80 {\npicloud_awake a b\n}\n", "wrong argument count"},
		"a block of the directive":     {":80 {\npicloud_awake {\nx\n}\n}\n", `unknown option "x"`},
		"a block of the wrapper":       {"{\nservers {\nlistener_wrappers {\npicloud_awake {\nx\n}\n}\n}\n}\n:80 {\npicloud_awake\n}\n", `unknown option "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := adapt([]byte(tt.config))
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.want)) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
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
