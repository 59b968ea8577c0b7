package executor

import (
	"net/textproto"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// ownCredential tells whether the value of an Authorization header holds a token
// of PiCloud's, under whatever scheme: one that does not authenticate its sender
// is no less a secret.
func ownCredential(value string) bool {
	for part := range strings.FieldsFuncSeq(value, func(c rune) bool { return strings.ContainsRune(" \t,;='\"", c) }) {
		if cloud.OwnToken(part) {
			return true
		}
	}
	return false
}

// withoutSession is the value of a Cookie header without PiCloud's own cookies;
// the others keep their bytes. Pairs end at semicolons whatever quotes say, as
// in net/http, so that what the server would take for its cookie is left out.
func withoutSession(value string) string {
	if !strings.Contains(value, cloud.SessionCookie) { // part of both names
		return value
	}
	var kept []string
	for pair := range strings.SplitSeq(value, ";") {
		name, _, _ := strings.Cut(pair, "=")
		if !cloud.IsSessionCookie(textproto.TrimString(name)) {
			kept = append(kept, pair)
		}
	}
	return textproto.TrimString(strings.Join(kept, ";"))
}

// setsSession tells whether the value of a Set-Cookie header makes a browser send
// a cookie that looks like PiCloud's own. It need not have the name: one without
// a name is sent as its bare value, which may read "name=value" (RFC 6265bis,
// section 5.7).
func setsSession(value string) bool {
	pair, _, _ := strings.Cut(value, ";")
	name, _, _ := strings.Cut(strings.TrimLeft(pair, " \t="), "=")
	return cloud.IsSessionCookie(textproto.TrimString(name))
}
