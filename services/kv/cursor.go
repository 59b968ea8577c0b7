package kv

import (
	"encoding/base64"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// A cursor is the last key of a page behind the version of this form, so that a
// later form can tell itself apart.
const cursorVersion = "\x01"

var cursorEncoding = base64.RawURLEncoding.Strict()

func encodeCursor(key string) string {
	return cursorEncoding.EncodeToString([]byte(cursorVersion + key))
}

// decodeCursor returns the key that a page starts after; "" for the first page.
func decodeCursor(cursor, prefix string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	b, err := cursorEncoding.DecodeString(cursor)
	key, ok := strings.CutPrefix(string(b), cursorVersion)
	if err != nil || !ok || strings.ContainsAny(cursor, "\r\n") || checkName("cursor", key) != nil || !strings.HasPrefix(key, prefix) {
		return "", cloud.Invalid("cursor", "is not one that a listing with this prefix returned; leave it out to start anew")
	}
	return key, nil
}
