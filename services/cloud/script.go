package cloud

import "time"

// ScriptKind tells whether a script answers requests or is imported by others.
type ScriptKind string

// The kinds.
const (
	Endpoint ScriptKind = "endpoint" // has a default export that handles something
	Module   ScriptKind = "module"   // imported by endpoints of the same app as "./name"
)

// Language is how a script's source is read.
type Language string

// The languages. JSX in either is compiled with the classic React factory names.
const (
	JavaScript Language = "js"
	TypeScript Language = "ts"
	JSX        Language = "jsx"
	TSX        Language = "tsx"
)

// Script is a program of an app. Its name is unique in the app.
type Script struct {
	ID       string
	AppID    string
	Name     string // see CheckScriptName
	Kind     ScriptKind
	Language Language
	Version  int    // 1 for the first save, bumped by each
	Source   string // as written; at most MaxSource bytes
	Limits   Limits // what was asked for; zero fields mean the defaults
	// Imports are the names of the modules that an endpoint's build contains,
	// sorted. Only manager.AppTx reads fill them; writes take them from the build.
	Imports   []string
	CreatedAt time.Time
	UpdatedAt time.Time
}

// MaxSource bounds a script's source in bytes; bundles of npm libraries fit.
const MaxSource = 4 << 20

// KeptVersions is how many versions of a script are kept, the running one
// included.
const KeptVersions = 20

// ScriptVersion is one saved state of a script.
type ScriptVersion struct {
	Version   int
	Kind      ScriptKind
	Language  Language
	Source    string
	CreatedAt time.Time
	CreatedBy string // name of the principal who saved it
}

// CheckScriptName refuses, with a CodeInvalid error about field "name",
// anything that is not 1 to 63 characters of a–z, A–Z, 0–9, hyphen and
// underscore, starting with a letter or digit.
func CheckScriptName(s string) error {
	if s == "" {
		return Invalid("name", "is empty")
	}
	if len(s) > 63 {
		return Invalid("name", "has %d characters; at most 63 are allowed", len(s))
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case (c == '-' || c == '_') && i > 0:
		default:
			return Invalid("name", "%q: the character %q at position %d is not allowed; use letters, digits, - and _", s, rune(c), i+1)
		}
	}
	return nil
}

// Source is a script's text as the builder reads it.
type Source struct {
	Name     string
	Language Language
	Text     string
}

// Build is what runs: the result of building a script with its modules.
type Build struct {
	// Code is a JavaScript expression: an async function that takes the object
	// behind the module "picloud" and resolves to an object of the entry module's
	// exports.
	Code      string
	SourceMap []byte   // version 3 source map from positions in Code back to the sources
	Hash      string   // lower-case hex SHA-256 of Code: equal builds share a worker's compiled program
	Exports   []string // names that the entry module exports, sorted
	Imports   []string // names of the module scripts it contains, sorted
}

// Diagnostic is one message of a build. Lines and columns count from 1;
// columns count UTF-16 code units, as editors do.
type Diagnostic struct {
	File       string `json:"file"` // script name with its extension, such as "guestbook.ts"
	Line       int    `json:"line"`
	Column     int    `json:"column"`
	Message    string `json:"message"`
	SourceLine string `json:"source_line"`
}
