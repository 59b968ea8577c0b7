package executor

import (
	"net/textproto"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// setsSession tells whether the value of a Set-Cookie header makes a browser send
// a cookie that looks like PiCloud's own. It need not have the name: one without
// a name is sent as its bare value, which may read "name=value" (RFC 6265bis,
// section 5.7).
func setsSession(value string) bool {
	pair, _, _ := strings.Cut(value, ";")
	name, _, _ := strings.Cut(strings.TrimLeft(pair, " \t="), "=")
	return cloud.IsSessionCookie(textproto.TrimString(name))
}
