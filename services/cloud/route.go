package cloud

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// DispatchMode is how a route runs its script.
type DispatchMode string

// The modes.
const (
	Sync  DispatchMode = "sync"
	Async DispatchMode = "async" // answered at once; the script runs from the outbox
)

// AnyMethod is the method of a route that takes every method.
const AnyMethod = "ANY"

// Route leads requests of an app to a script.
type Route struct {
	ID       string
	AppID    string
	ScriptID string
	Method   string // AnyMethod or an upper-case method token
	Host     string // "" for any host of the app, else a host pattern: see ParseHostPattern
	Path     string // see ParsePathPattern
	Mode     DispatchMode
}

// PathKind tells the three kinds of path pattern apart.
type PathKind int

// The kinds, in the order in which they win.
const (
	PathExact  PathKind = iota // "/greet"
	PathParam                  // "/users/:id": each parameter is one whole segment that is not empty
	PathPrefix                 // "/files/*": the subtree, not "/files" itself
)

func (k PathKind) String() string { return [...]string{"exact", "param", "prefix"}[k] }

// PathPattern is a parsed route path.
type PathPattern struct {
	Kind     PathKind
	Segments []Segment // without the final "*" of a prefix
}

// Segment is one part of a path between slashes: a literal or a parameter.
type Segment struct {
	Literal string
	Param   string // the parameter's name; "" for a literal
}

// Bounds of a path pattern.
const (
	MaxPath     = 1024 // bytes
	MaxSegments = 32
)

// ParsePathPattern reads a route path. Literals stand in their decoded form: a
// request path matches after its percent-encoding is resolved. A trailing slash
// is significant. Every refusal is a CodeInvalid error about field "path" that
// says what is wrong where.
func ParsePathPattern(path string) (PathPattern, error) {
	switch {
	case path == "":
		return PathPattern{}, Invalid("path", "is empty; the root is /")
	case path[0] != '/':
		return PathPattern{}, Invalid("path", "%q does not start with /", path)
	case len(path) > MaxPath:
		return PathPattern{}, Invalid("path", "has %d bytes; at most %d are allowed", len(path), MaxPath)
	case !utf8.ValidString(path):
		return PathPattern{}, Invalid("path", "%q is not valid UTF-8", path)
	}
	parts := strings.Split(path[1:], "/")
	if len(parts) > MaxSegments {
		return PathPattern{}, Invalid("path", "has %d segments; at most %d are allowed", len(parts), MaxSegments)
	}
	p := PathPattern{}
	seen := map[string]bool{}
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "" && !last:
			return PathPattern{}, Invalid("path", "%q has an empty segment (//)", path)
		case part == "." || part == "..":
			return PathPattern{}, Invalid("path", "%q has the segment %q, which clients resolve before they ask", path, part)
		case part == "*" && last:
			p.Kind = PathPrefix
			return p, nil
		case part == "*":
			return PathPattern{}, Invalid("path", "%q has a * before its end; only the last segment may be *", path)
		case strings.HasPrefix(part, ":"):
			name := part[1:]
			if err := checkParam(path, name); err != nil {
				return PathPattern{}, err
			}
			if seen[name] {
				return PathPattern{}, Invalid("path", "%q names the parameter :%s twice", path, name)
			}
			seen[name] = true
			p.Kind = PathParam
			p.Segments = append(p.Segments, Segment{Param: name})
		default:
			if i := strings.IndexAny(part, "*?#%\\"); i >= 0 {
				return PathPattern{}, Invalid("path", "%q has %q inside the segment %q; write literals decoded, and * alone as the last segment", path, part[i:i+1], part)
			}
			if i := strings.IndexFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
				return PathPattern{}, Invalid("path", "%q has a control character", path)
			}
			p.Segments = append(p.Segments, Segment{Literal: part})
		}
	}
	return p, nil
}

func checkParam(path, name string) error {
	if name == "" {
		return Invalid("path", "%q has a : without a parameter name", path)
	}
	for i := range len(name) {
		c := name[i]
		if c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9' {
			continue
		}
		return Invalid("path", "%q: the parameter name %q may hold letters, digits and _, and no digit first", path, name)
	}
	return nil
}

// Literals is the number of leading literal segments.
func (p PathPattern) Literals() int {
	for i, s := range p.Segments {
		if s.Param != "" {
			return i
		}
	}
	return len(p.Segments)
}

// String is the pattern's path.
func (p PathPattern) String() string {
	var b strings.Builder
	for _, s := range p.Segments {
		b.WriteByte('/')
		if s.Param != "" {
			b.WriteByte(':')
		}
		b.WriteString(s.Param + s.Literal)
	}
	if p.Kind == PathPrefix {
		b.WriteString("/*")
	}
	return b.String()
}

// Shape is the pattern's path with parameter names removed; patterns of equal
// shape match the same paths.
func (p PathPattern) Shape() string {
	q := PathPattern{Kind: p.Kind, Segments: make([]Segment, len(p.Segments))}
	for i, s := range p.Segments {
		q.Segments[i] = s
		if s.Param != "" {
			q.Segments[i].Param = ":" // no parameter is named so, and no literal starts with it
		}
	}
	return q.String()
}

// Conflicts tells whether routes a and b of one app would answer the same
// requests with the same precedence: equal host, equal path shape, and equal
// methods. AnyMethod conflicts only with itself, since a route for one method
// goes before one for any. Both routes must be valid.
func Conflicts(a, b Route) bool {
	if a.Method != b.Method || !strings.EqualFold(a.Host, b.Host) {
		return false
	}
	pa, errA := ParsePathPattern(a.Path)
	pb, errB := ParsePathPattern(b.Path)
	return errA == nil && errB == nil && pa.Shape() == pb.Shape()
}

// ReservedPrefixes are the paths that belong to PiCloud on instance hosts. A
// name without a trailing slash is reserved as a whole path alone.
var ReservedPrefixes = []string{"/api/", "/admin/", "/realtime/", "/healthz", "/version"}

// Reserved is the reserved prefix that a route path of the default app would
// reach into, or "". A path with a parameter or "*" that merely could match
// a reserved path is allowed: the reserved one goes first.
func Reserved(path string) string {
	for _, r := range ReservedPrefixes {
		bare := strings.TrimSuffix(r, "/")
		if path == bare || strings.HasPrefix(path, bare+"/") && bare != r || path == r {
			return r
		}
	}
	return ""
}

// HostKind tells the kinds of host pattern apart.
type HostKind int

// The kinds.
const (
	HostAny      HostKind = iota // ""
	HostStrict                   // "shop.example.com"
	HostWildcard                 // "*.example.com": one or more labels in front
)

func (k HostKind) String() string { return [...]string{"any", "strict", "wildcard"}[k] }

// HostPattern is a parsed host of a route or domain claim.
type HostPattern struct {
	Kind HostKind
	Name string // lower case; of a wildcard the part behind "*."
}

// Matches tells whether host, normalised by NormalHost, is one of the pattern's.
func (p HostPattern) Matches(host string) bool {
	switch p.Kind {
	case HostStrict:
		return host == p.Name
	case HostWildcard:
		rest, ok := strings.CutSuffix(host, "."+p.Name)
		return ok && rest != ""
	default:
		return true
	}
}

// ParseHostPattern reads "", "name" or "*.name", where name is a host name of
// RFC 1123 labels (IDNs in their A-label form). Every refusal is a CodeInvalid
// error about field "host".
func ParseHostPattern(host string) (HostPattern, error) {
	if host == "" {
		return HostPattern{Kind: HostAny}, nil
	}
	p := HostPattern{Kind: HostStrict, Name: strings.ToLower(host)}
	if rest, ok := strings.CutPrefix(p.Name, "*."); ok {
		p = HostPattern{Kind: HostWildcard, Name: rest}
	}
	if len(host) > 253 {
		return HostPattern{}, Invalid("host", "has %d characters; a host name has at most 253", len(host))
	}
	if _, err := netip.ParseAddr(strings.Trim(p.Name, "[]")); err == nil {
		return HostPattern{}, Invalid("host", "%q is an address; claim a name", host)
	}
	for label := range strings.SplitSeq(p.Name, ".") {
		if CheckSlug(label) != nil {
			return HostPattern{}, Invalid("host", "%q is no host name: the label %q must be 1 to 63 of a-z, 0-9 and inner hyphens; write no scheme, port or path", host, label)
		}
	}
	return p, nil
}

// NormalHost is the host of a Host header in the form that patterns match:
// lower case, without port, trailing dot and the brackets of an IPv6 address.
// What is no host with a port keeps its colon or brackets, so that it is nobody's.
func NormalHost(host string) string {
	name, port, _ := strings.Cut(host, ":")
	if inner, ok := strings.CutPrefix(host, "["); ok {
		var closed bool
		if name, port, closed = strings.Cut(inner, "]"); closed && port != "" {
			port, closed = strings.CutPrefix(port, ":")
		}
		if !closed {
			return strings.ToLower(host)
		}
	}
	if strings.Trim(port, "0123456789") != "" {
		return strings.ToLower(host)
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// CheckMethod refuses, with a CodeInvalid error about field "method", anything
// but AnyMethod and the methods that HTTP servers here pass on.
func CheckMethod(m string) error {
	switch m {
	case AnyMethod, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return nil
	}
	return Invalid("method", "%q is not one of ANY, GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", m)
}
