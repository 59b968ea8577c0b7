package kv

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
)

func FuzzCursor(f *testing.F) {
	f.Add("", "")
	f.Add(encodeCursor("key"), "k")
	f.Add("AQ", "")
	f.Fuzz(func(t *testing.T, cursor, prefix string) {
		key, err := decodeCursor(cursor, prefix)
		switch {
		case err != nil:
			if cloud.CodeOf(err) != cloud.CodeInvalid {
				t.Errorf("decodeCursor(%q): %v", cursor, err)
			}
		case cursor == "":
			if key != "" {
				t.Errorf("no cursor leads to %q", key)
			}
		case checkName("key", key) != nil || !strings.HasPrefix(key, prefix):
			t.Errorf("decodeCursor(%q, %q) = %q", cursor, prefix, key)
		case encodeCursor(key) != cursor:
			t.Errorf("%q and %q lead to the same key", cursor, encodeCursor(key))
		}
	})
}

func FuzzCheckName(f *testing.F) {
	f.Add("key")
	f.Add("a\x00")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, name string) {
		want := name != "" && len(name) <= cloud.MaxKVKey && utf8.ValidString(name) && !strings.Contains(name, "\x00")
		if err := checkName("key", name); (err == nil) != want {
			t.Errorf("checkName(%q) = %v", name, err)
		}
	})
}

// What passes is JSON without what jsonb refuses.
func FuzzCheckValue(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e+3,"\u00e9\ud83d\ude00"]}`, `"\\u0000\ud800"`, `"\u0000"`, `1e400`, `"\ud800\"`, `[[["\\"]]]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if checkValue(value) != nil {
			return
		}
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			t.Fatalf("%q passed: %v", value, err)
		}
		inspect(t, v, string(value))
	})
}

func inspect(t *testing.T, v any, text string) {
	t.Helper()
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "\x00") || strings.Contains(v, "\uFFFD") && !strings.Contains(text, "\uFFFD") && !strings.Contains(strings.ToLower(text), `\ufffd`) {
			t.Fatalf("%q passed", text)
		}
	case []any:
		for _, e := range v {
			inspect(t, e, text)
		}
	case map[string]any:
		for k, e := range v {
			inspect(t, k, text)
			inspect(t, e, text)
		}
	}
}
