package cloud

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of accounts. All ours.
const (
	MaxUserName     = 64  // characters
	MinPassword     = 10  // characters
	MaxPassword     = 256 // bytes: hashing costs by length
	MaxKeyName      = 100 // characters
	MaxKeysPerUser  = 50
	SessionLife     = 24 * time.Hour     // without use
	InvitationLife  = 7 * 24 * time.Hour // of an invitation, and of a one-time password
	MaxUserSessions = 50                 // the one used longest ago gives way
)

// User is a person, or a program, that may log in.
type User struct {
	ID     string
	Name   string // unique without regard to case; see CheckUserName
	Role   InstanceRole
	Active bool // an inactive user's sessions and keys do not work
	// Access is how the user comes in by name: "password", "one_time" (a password
	// that must be replaced at the next log-in), "invited" (a link waits to be
	// followed), or "none" (API keys alone).
	Access       Access
	SecondFactor bool // logging in takes a TOTP or recovery code too
	CreatedAt    time.Time
	LastLoginAt  time.Time // zero: never
}

// Access is how a user comes in by name.
type Access string

// The kinds of access.
const (
	AccessNone     Access = "none"
	AccessPassword Access = "password"
	AccessOneTime  Access = "one_time"
	AccessInvited  Access = "invited"
)

// Session is a log-in that lasts. It ends SessionLife after its last use.
type Session struct {
	ID        string
	UserID    string
	CreatedAt time.Time
	SeenAt    time.Time // last use, within an hour
	ExpiresAt time.Time
	Address   string // where it was begun: an IP address, or ""
	UserAgent string // what began it, at most 200 bytes
}

// APIKey is what is known of an API key beside its text.
type APIKey struct {
	ID         string
	UserID     string
	Name       string
	Scopes     []Scope
	AppID      string    // the only app it works for; "" for all
	ExpiresAt  time.Time // zero: never
	LastUsedAt time.Time // within an hour; zero: never
	CreatedAt  time.Time
}

// AppMember is a user with a role in one app.
type AppMember struct {
	UserID    string
	UserName  string
	Role      AppRole
	CreatedAt time.Time
}

// Client is where a request came from, as far as the server can tell.
type Client struct {
	Address   string // IP address without a port; "" for this machine's own commands
	UserAgent string
}

// LogIn is an attempt to log in.
type LogIn struct {
	Name     string
	Password string
	// Code is a TOTP or recovery code, for users with a second factor.
	Code string
	// NewPassword replaces a one-time password, and must be empty otherwise.
	NewPassword string
	Client      Client
}

// LoggedIn is a session that has begun. Token is its secret: a bearer token, or
// the value of the session cookie.
type LoggedIn struct {
	Token   string
	Session Session
	User    User
}

// UserDraft is a user to be.
type UserDraft struct {
	Name   string
	Role   InstanceRole // "": Member
	Invite bool         // an invitation link instead of a one-time password
}

// UserChange is what ChangeUser changes; nil leaves a field as it is.
type UserChange struct {
	Name   *string
	Role   *InstanceRole
	Active *bool
}

// Handover is a secret for a user to be handed over by whoever asked for it. It
// is shown once.
type Handover struct {
	Password   string // a one-time password, or ""
	Invitation string // the token of an invitation, or ""
	ExpiresAt  time.Time
}

// TOTPSetup is a second factor that waits for its first code (RFC 6238: SHA-1,
// 6 digits, 30 s, which is what authenticator apps know).
type TOTPSetup struct {
	Secret string // base32
	URI    string // otpauth://…, for a QR code
}

// KeyDraft is an API key to be.
type KeyDraft struct {
	Name      string
	Scopes    []Scope
	AppID     string
	ExpiresAt time.Time // zero: never
}

// Accounts are the users of the instance, what they log in with, and their
// places in apps. Who may change whom is decided here where it depends on the
// persons (guards below); whether the caller may do such a thing at all is
// decided before, by capability.
//
// Every method answers CodeUnavailable while the database is away, and one that
// has to do with a password CodeBusy when too many have at this moment. A change
// that returned without error is durable, and seen by the next request
// everywhere. Passwords, tokens and codes appear in no error and no log.
type Accounts interface {
	// Authenticate returns the principal of an API key or a session's token.
	// CodeUnauthorized if it is neither, unknown, ended or expired, or its user is
	// not active. It prolongs the session and notes the key's use, by at most one
	// write an hour.
	Authenticate(ctx context.Context, token string) (*Principal, error)

	// Claimed tells whether the instance has an owner.
	Claimed(ctx context.Context) (bool, error)

	// Claim makes the first owner and logs them in. CodeConflict if there is one
	// already; CodeInvalid about "name" or "password"; CodeRateLimited.
	Claim(ctx context.Context, name, password string, client Client) (LoggedIn, error)

	// LogIn begins a session. CodeUnauthorized if name and password do not fit,
	// the same whether the user exists or not; CodeSecondFactor if only the code is
	// missing or wrong; CodePasswordChange if the password is good but must be
	// replaced, by the same call with NewPassword; CodeRateLimited with
	// RetryDetails when there were too many failures; CodeBusy when too many people
	// log in at this moment.
	LogIn(ctx context.Context, attempt LogIn) (LoggedIn, error)

	// LogOut ends the session that p came with. CodeInvalid if it came with a key.
	LogOut(ctx context.Context, p *Principal) error

	// Sessions returns the user's living sessions, last used first.
	Sessions(ctx context.Context, userID string) ([]Session, error)
	// EndSession ends a session of the user. CodeNotFound.
	EndSession(ctx context.Context, userID, sessionID string) error
	// EndOtherSessions ends all sessions of p's user but the one that p came with,
	// and returns how many.
	EndOtherSessions(ctx context.Context, p *Principal) (int, error)

	// ChangePassword replaces the password of p's user and ends their other
	// sessions. A user without a password needs no current one. CodeForbidden if
	// current is wrong; CodeRateLimited; CodeInvalid about "new_password".
	ChangePassword(ctx context.Context, p *Principal, current, replacement string, client Client) error

	// BeginTOTP makes a secret that ConfirmTOTP puts into force. CodeConflict if a
	// second factor is in force; CodeForbidden if password is wrong;
	// CodeRateLimited.
	BeginTOTP(ctx context.Context, p *Principal, password string, client Client) (TOTPSetup, error)
	// ConfirmTOTP puts the second factor into force if code is right, ends the other
	// sessions of p's user, and returns the recovery codes, each good once.
	// CodeInvalid about "code".
	ConfirmTOTP(ctx context.Context, p *Principal, code string) (recovery []string, err error)
	// DisableTOTP takes the second factor away. CodeForbidden if password is wrong;
	// CodeRateLimited.
	DisableTOTP(ctx context.Context, p *Principal, password string, client Client) error

	// Keys returns the user's API keys, newest first.
	Keys(ctx context.Context, userID string) ([]APIKey, error)
	// CreateKey makes a key for p's user and returns its text, which is not kept. A
	// key cannot make one that can do more than itself: CodeForbidden. CodeInvalid
	// about "name", "scopes", "app" or "expires_at"; a key bound to an app with
	// instance:admin is such. CodeLimit.
	CreateKey(ctx context.Context, p *Principal, draft KeyDraft) (key APIKey, token string, err error)
	// RevokeKey ends a key of the user at once, and all that were made by it.
	// CodeNotFound.
	RevokeKey(ctx context.Context, userID, keyID string) error

	// Users returns all users by name.
	Users(ctx context.Context) ([]User, error)
	// User finds a user by id or name. CodeNotFound.
	User(ctx context.Context, ref string) (User, error)
	// CreateUser makes a user. CodeConflict about "name"; CodeForbidden if by is no
	// owner, or came with a key, and the role is owner; CodeInvalid.
	CreateUser(ctx context.Context, by *Principal, draft UserDraft) (User, Handover, error)
	// ChangeUser renames, promotes, demotes, activates or deactivates. Only owners
	// change owners, or make one, and nobody does so with a key, which changes its
	// own user neither: CodeForbidden. The last active owner stays one:
	// CodeLastOwner. The last active user with the role admin stays while nobody
	// else may administer. Deactivating ends sessions and, for as long as it lasts,
	// keys.
	ChangeUser(ctx context.Context, by *Principal, userID string, change UserChange) (User, error)
	// DeleteUser removes a user with keys, sessions and memberships, under the
	// guards of ChangeUser.
	DeleteUser(ctx context.Context, by *Principal, userID string) error
	// ResetAccess gives the user a one-time password, or an invitation, ends their
	// sessions and takes their second factor away, under the guards of ChangeUser.
	ResetAccess(ctx context.Context, by *Principal, userID string, invite bool) (Handover, error)
	// AcceptInvitation sets the password of the invited user and logs them in. The
	// link works once. CodeUnauthorized, CodeInvalid about "password",
	// CodeRateLimited.
	AcceptInvitation(ctx context.Context, token, password string, client Client) (LoggedIn, error)

	// Members returns the app's members by name.
	Members(ctx context.Context, appID string) ([]AppMember, error)
	// SetMember gives a user, by id or name, a role in the app. CodeNotFound,
	// CodeInvalid about "role".
	SetMember(ctx context.Context, appID, userRef string, role AppRole) (AppMember, error)
	// RemoveMember takes the role away. CodeNotFound.
	RemoveMember(ctx context.Context, appID, userRef string) error
}

// RetryDetails are the Details of a CodeRateLimited error.
type RetryDetails struct {
	RetryAfter int `json:"retry_after_seconds"` // whole seconds, 1 at least
}

// CheckUserName refuses, with a CodeInvalid error about "name", what is not 1 to
// MaxUserName letters, digits, and . _ - @ within.
func CheckUserName(name string) error {
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		return Invalid("name", "is empty")
	case n > MaxUserName:
		return Invalid("name", "has %d characters; at most %d are allowed", n, MaxUserName)
	case IsID(name):
		return Invalid("name", "has the form of an id")
	}
	for i, r := range name {
		switch {
		case r == utf8.RuneError:
			return Invalid("name", "is not valid UTF-8")
		case unicode.IsLetter(r), unicode.IsDigit(r):
		case strings.ContainsRune("._-@", r) && i > 0:
		default:
			return Invalid("name", "%q: use letters, digits and, but for the first, . _ - @", name)
		}
	}
	return nil
}
