package cloud

import (
	"net/http"
	"strings"
)

// KeyPrefix is how API keys begin, so that people and secret scanners know them.
const KeyPrefix = "pic_"

// BearerToken is the token in the request's Authorization header (RFC 6750,
// section 2.1), or "" if there is none or the scheme is another.
func BearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
