package authz

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

var update = flag.Bool("update", false, "write the table into docs/permissions.md")

const (
	page  = "../../docs/permissions.md"
	begin = "<!-- Generated from services/authz: go test ./services/authz -update -->\n"
	end   = "<!-- End of what is generated. -->\n"
)

// TestPermissionsPage holds the documentation against what Decide answers.
func TestPermissionsPage(t *testing.T) {
	t.Parallel()
	var table bytes.Buffer
	if err := WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(text, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		t.Fatalf("%s has no place for the table: it stands between\n%s%s", page, begin, end)
	}
	want := bytes.Join([][]byte{head, []byte(begin), []byte("\n"), table.Bytes(), []byte("\n"), []byte(end), tail}, nil)
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(text, want) {
		t.Errorf("%s is not what the rules say; write it with: go test ./services/authz -update", page)
	}
}

func TestWhat_everyCapabilityHasWords(t *testing.T) {
	t.Parallel()
	for _, c := range cloud.Capabilities {
		if what[c] == "" {
			t.Errorf("nobody says what %s is for", c)
		}
	}
}
