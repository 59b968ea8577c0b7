package cloud

import (
	"cmp"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// How PiCloud's own tokens begin, so that people and secret scanners know them.
const (
	KeyPrefix        = "pic_" // API keys
	SessionPrefix    = "pis_" // sessions
	InvitationPrefix = "pin_" // invitations
)

// The names of the session cookie: browsers keep the second from everybody but
// the host itself, and want TLS for it (RFC 6265bis, section 4.1.3.2).
const (
	SessionCookie       = "picloud_session"
	SecureSessionCookie = "__Host-picloud_session"
)

// BearerToken is the token in the request's Authorization header (RFC 6750,
// section 2.1), or "" if there is none or the scheme is another.
func BearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// OwnToken tells whether a bearer token means to be one of PiCloud's own. Others
// are the business of scripts.
func OwnToken(token string) bool {
	return strings.HasPrefix(token, KeyPrefix) || strings.HasPrefix(token, SessionPrefix)
}

// IsSessionCookie tells whether a cookie of this name is PiCloud's. Scripts
// neither see nor set it.
func IsSessionCookie(name string) bool { return name == SessionCookie || name == SecureSessionCookie }

// WithoutCredentials is the value of a request's header field, its name in lower
// case, as a script may see it: without PiCloud's own credentials, valid or not.
// False: nothing of it is for scripts, as of X-PiCloud-*, which nobody outside may
// set.
func WithoutCredentials(name, value string) (rest string, ok bool) {
	switch name {
	case "authorization":
		return value, !ownCredential(value)
	case "cookie":
		rest = withoutSession(value)
		return rest, rest != ""
	}
	return value, !strings.HasPrefix(name, "x-picloud-")
}

// StripCredentials leaves of h what WithoutCredentials leaves of its fields.
func StripCredentials(h http.Header) {
	for name, values := range h {
		lower := strings.ToLower(name)
		kept := make([]string, 0, len(values))
		for _, value := range values {
			if rest, ok := WithoutCredentials(lower, value); ok {
				kept = append(kept, rest)
			}
		}
		if h[name] = kept; len(kept) == 0 {
			delete(h, name)
		}
	}
}

// ownCredential tells whether the value of an Authorization header holds a token
// of PiCloud's, under whatever scheme: one that does not authenticate its sender
// is no less a secret.
func ownCredential(value string) bool {
	for part := range strings.FieldsFuncSeq(value, func(c rune) bool { return strings.ContainsRune(" \t,;='\"", c) }) {
		if OwnToken(part) {
			return true
		}
	}
	return false
}

// withoutSession is the value of a Cookie header without PiCloud's own cookies;
// the others keep their bytes. Pairs end at semicolons whatever quotes say, as
// in net/http, so that what the server would take for its cookie is left out.
func withoutSession(value string) string {
	if !strings.Contains(value, SessionCookie) { // part of both names
		return value
	}
	var kept []string
	for pair := range strings.SplitSeq(value, ";") {
		name, _, _ := strings.Cut(pair, "=")
		if !IsSessionCookie(textproto.TrimString(name)) {
			kept = append(kept, pair)
		}
	}
	return textproto.TrimString(strings.Join(kept, ";"))
}

// SessionCookieName is the name under which the cookie is set in answer to r.
func SessionCookieName(r *http.Request) string {
	if r.TLS != nil {
		return SecureSessionCookie
	}
	return SessionCookie
}

// SessionToken is the token in the request's session cookie, or "". A browser
// sends cookies along with requests that pages of others cause: CodeCrossSite if
// that may be so, see CheckOrigin, and for a request that changes nothing "".
// Two such cookies are none, since the host of a page nearby may have set one.
func SessionToken(r *http.Request) (string, error) {
	cookies := r.CookiesNamed(SessionCookieName(r))
	if len(cookies) != 1 || cookies[0].Value == "" {
		return "", nil
	}
	token := cookies[0].Value
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case safe(r.Method):
		if (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			return "", nil
		}
		return token, nil
	case site == "" && r.Header.Get("Origin") == "":
		return "", Errorf(CodeCrossSite, "a change made with the session cookie needs an Origin or Sec-Fetch-Site header, as browsers send it; programs use Authorization: Bearer")
	}
	if err := CheckOrigin(r); err != nil {
		return "", err
	}
	return token, nil
}

// CheckOrigin refuses, with CodeCrossSite, a request that changes something and
// that a page of another origin caused (Fetch Metadata, section 2.3; Origin, RFC
// 6454, section 7). What no browser sent has neither header and passes.
func CheckOrigin(r *http.Request) error {
	if safe(r.Method) {
		return nil
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return nil
	case "":
		if origin := r.Header.Get("Origin"); origin == "" || sameOrigin(r, origin) {
			return nil
		}
	}
	return Errorf(CodeCrossSite, "a page of another origin may not do this")
}

// ByOwnPage tells whether a browser says that a page of the same origin caused the
// request, or the user themselves: for requests that do something whatever their
// method, which a link of a stranger's must not. Without TLS browsers send no
// Sec-Fetch-Site; there Origin or Referer must name the host.
func ByOwnPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		from := cmp.Or(r.Header.Get("Origin"), r.Header.Get("Referer"))
		return from != "" && sameOrigin(r, from)
	}
	return false
}

// sameOrigin tells whether a URL or an origin is of the host that r was sent to.
func sameOrigin(r *http.Request, from string) bool {
	u, err := url.Parse(from)
	return err == nil && strings.EqualFold(u.Host, r.Host) && (r.TLS == nil || u.Scheme == "https")
}

// safe tells whether a method changes nothing (RFC 9110, section 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
