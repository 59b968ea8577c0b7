package cloud

import "time"

// DefaultApp is the slug of the app that answers on instance hosts. A fresh
// instance has it; it can be renamed by nobody and deleted by nobody.
const DefaultApp = "default"

// App is the isolation boundary: scripts, routes, domains and data belong to
// exactly one, and nothing of one can name another.
type App struct {
	ID        string
	Slug      string // unique; see CheckSlug
	Name      string // for people; at most 100 characters
	CreatedAt time.Time
	UpdatedAt time.Time
}

// CheckSlug refuses, with a CodeInvalid error about field "slug", anything that
// is not 1 to 63 characters of a–z, 0–9 and inner hyphens: a slug is also a
// host label (RFC 1123, section 2.1).
func CheckSlug(s string) error {
	if s == "" {
		return Invalid("slug", "is empty; use 1 to 63 of a-z, 0-9 and -")
	}
	if len(s) > 63 {
		return Invalid("slug", "has %d characters; at most 63 fit into a host name", len(s))
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && i > 0 && i < len(s)-1:
		case c == '-':
			return Invalid("slug", "%q starts or ends with a hyphen", s)
		default:
			return Invalid("slug", "%q: the character %q at position %d is not one of a-z, 0-9 and -", s, rune(c), i+1)
		}
	}
	return nil
}

// Domain is a host claim of an app other than the default one.
type Domain struct {
	ID        string
	AppID     string
	Host      string // "shop.example.com" (exact) or "*.example.com" (wildcard); see ParseHostPattern
	CreatedAt time.Time
}
