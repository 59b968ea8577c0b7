package postgres

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzKeepable(f *testing.F) {
	f.Add("a\x00\\u0000")
	f.Fuzz(func(t *testing.T, s string) {
		s = text(s[:len(s)/2]) + strings.ToValidUTF8(s[len(s)/2:], "")
		b, err := keepable([]string{s})
		if err != nil {
			t.Fatal(err)
		}
		var back []string
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%q became %s: %v", s, b, err)
		}
		if back[0] != text(s) {
			t.Errorf("%q became %q, want %q", s, back[0], text(s))
		}
	})
}
