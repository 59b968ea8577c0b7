package cloud

import (
	"context"
	"time"
)

// Bounds of variables and secrets.
const (
	MaxEnvName   = 128       // bytes; see CheckEnvName
	MaxSecret    = 64 << 10  // bytes of a value, of a variable too
	MaxEnvNames  = 200       // variables and secrets of an app, together; ours
	MaxEnvValues = 512 << 10 // bytes of all values of an app, together; ours
)

// CheckEnvName refuses, with a CodeInvalid error about "name", what is not 1 to
// MaxEnvName of A–Z, a–z, 0–9 and _, not beginning with a digit.
func CheckEnvName(name string) error {
	if name == "" {
		return Invalid("name", "is empty")
	}
	if len(name) > MaxEnvName {
		return Invalid("name", "has %d characters; at most %d are allowed", len(name), MaxEnvName)
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case '0' <= c && c <= '9' && i > 0:
		default:
			return Invalid("name", "%.40q: use letters, digits and _, and begin with no digit", name)
		}
	}
	return nil
}

// Secrets are an app's values that nobody may see but its scripts. They are
// sealed at rest and part of env; a name is either a secret's or a variable's.
//
// Every method refuses a bad name with CodeInvalid about "name", a caller without
// AppSecretsRead (or AppSecretsWrite where it changes something) with
// CodeForbidden, and answers CodeUnavailable while the database is away or there
// is no master key. A change that returned without error is durable and part of
// env from the next execution on.
type Secrets interface {
	// Get returns the value and whether there is one. It is for scripts alone: the
	// API has no way to it.
	Get(ctx context.Context, call Call, name string) (string, bool, error)
	// Set stores a value. Over MaxSecret or the bounds of the app: CodeLimit; a
	// variable of that name: CodeConflict; not UTF-8 or with U+0000: CodeInvalid
	// about "value".
	Set(ctx context.Context, call Call, name, value string) error
	// Delete removes it and reports whether it was there.
	Delete(ctx context.Context, call Call, name string) (bool, error)
	// List returns the names, sorted, without values.
	List(ctx context.Context, call Call) ([]EnvEntry, error)
}

// Variables are the part of an app's env that is no secret. The rules are those
// of Secrets, with AppReadScript and AppWriteScript.
type Variables interface {
	SetVariable(ctx context.Context, call Call, name, value string) error
	DeleteVariable(ctx context.Context, call Call, name string) (bool, error)
	ListVariables(ctx context.Context, call Call) ([]EnvEntry, error)
}

// EnvEntry is a variable, or a secret without its value.
type EnvEntry struct {
	Name      string
	Value     string // of variables
	UpdatedAt time.Time
}

// Sealed is a value encrypted with one of the instance's master keys.
type Sealed struct {
	KeyID string
	Box   []byte
}

// Sealer encrypts with the instance's master key. It is safe for concurrent use.
type Sealer interface {
	// Seal encrypts value for one purpose, such as "secret/APP/NAME": what is
	// sealed for one purpose does not open for another. CodeUnavailable without a
	// master key.
	Seal(purpose string, value []byte) (Sealed, error)
	// Open decrypts. CodeUnavailable if its key is not there, CodeInternal if the
	// box was tampered with or is for another purpose.
	Open(purpose string, s Sealed) ([]byte, error)
}

// SecretPurpose is the purpose for which a secret of an app is sealed.
func SecretPurpose(appID, name string) string { return "secret/" + appID + "/" + name }

// TOTPPurpose is the purpose for which the secret of a user's second factor is
// sealed.
func TOTPPurpose(userID string) string { return "totp/" + userID }
