package postgres

import (
	"encoding/json"
	"strings"
)

// text is s without what a text column cannot keep: scripts write what they like.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// keepable is v as JSON that a jsonb column can keep: encoding/json replaces
// invalid UTF-8, and U+0000 it writes as an escape.
func keepable(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil || !strings.Contains(string(b), `\u0000`) {
		return b, err
	}
	return replaceNUL(b), nil
}

// replaceNUL replaces the escape of U+0000 by that of U+FFFD, but not the text
// that looks like it, whose backslash is itself escaped.
func replaceNUL(b []byte) []byte {
	for i := 0; i < len(b)-1; i++ {
		if b[i] != '\\' {
			continue
		}
		if i+6 <= len(b) && string(b[i:i+6]) == `\u0000` {
			copy(b[i+2:], "fffd")
		}
		i++ // the escaped character
	}
	return b
}
