// Package accounts keeps the users of an instance: what they log in with, their
// sessions and API keys, and their places in apps.
package accounts

import (
	"context"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Store keeps accounts. Methods answer CodeUnavailable while the database is
// away, and CodeNotFound for what does not exist. Secrets reach it as hashes or
// sealed. Times come back in UTC, to the microsecond; what expires at a moment is
// expired then. Names are ordered and compared in lower case. accountstest
// specifies the rest.
type Store interface {
	// PrincipalByKey finds an unexpired key of an active user by the SHA-256 of its
	// text, with the user's memberships. used is when its use was last noted.
	// CodeUnauthorized if there is none.
	PrincipalByKey(ctx context.Context, hash [32]byte, now time.Time) (p *cloud.Principal, used time.Time, err error)

	// PrincipalBySession finds an unexpired session of an active user by the SHA-256
	// of its token, with the user's memberships. CodeUnauthorized if there is none.
	PrincipalBySession(ctx context.Context, hash [32]byte, now time.Time) (p *cloud.Principal, seen time.Time, err error)

	// Principals finds the active among the users with the ids, by id, with their
	// memberships, as they are without a key or session.
	Principals(ctx context.Context, userIDs []string) (map[string]*cloud.Principal, error)

	// NoteKeyUse and NoteSessionUse record a use; they change nothing else, wait for
	// no disk, and are no error if key or session have ended meanwhile.
	NoteKeyUse(ctx context.Context, keyID string, at time.Time) error
	NoteSessionUse(ctx context.Context, sessionID string, at, expires time.Time) error

	// Owned tells whether there is an active owner.
	Owned(ctx context.Context) (bool, error)

	Users(ctx context.Context) ([]cloud.User, error)                                     // by name
	User(ctx context.Context, ref string) (cloud.User, error)                            // by id, or name without regard to case
	Credentials(ctx context.Context, name string) (Credentials, error)                   // by name or id; CodeNotFound
	Sessions(ctx context.Context, userID string, now time.Time) ([]cloud.Session, error) // the living, last used first
	Keys(ctx context.Context, userID string) ([]cloud.APIKey, error)                     // newest first
	Members(ctx context.Context, appID string) ([]cloud.AppMember, error)                // by name

	// Change runs change in one transaction. Changes of accounts come one after the
	// other, so that what one has read does not become untrue before it commits. An
	// error of change rolls everything back and is returned as it is.
	Change(ctx context.Context, change func(ctx context.Context, tx Tx) error) error
}

// Tx reads and changes accounts inside Store.Change. Reads see the changes made
// before.
type Tx interface {
	Users(ctx context.Context) ([]cloud.User, error) // by name
	Credentials(ctx context.Context, name string) (Credentials, error)
	Keys(ctx context.Context, userID string) ([]cloud.APIKey, error)
	Sessions(ctx context.Context, userID string, now time.Time) ([]cloud.Session, error)
	// InvitedUser finds the active user with an unexpired invitation. CodeUnauthorized.
	InvitedUser(ctx context.Context, hash [32]byte, now time.Time) (cloud.User, error)

	// InsertUser stores ID, Name, Role, Active and CreatedAt. CodeConflict about
	// "name" if another user has it, without regard to case.
	InsertUser(ctx context.Context, user cloud.User) error
	// UpdateUser stores Name, Role, Active and LastLoginAt. CodeConflict as above.
	UpdateUser(ctx context.Context, user cloud.User) error
	// DeleteUser removes the user and everything that is theirs.
	DeleteUser(ctx context.Context, id string) error

	// SetPassword stores the hash of a password; one with an expiry is a one-time
	// password. An invitation that waited is withdrawn.
	SetPassword(ctx context.Context, userID, hash string, expires time.Time) error
	// SetInvitation takes the password away and stores an invitation.
	SetInvitation(ctx context.Context, userID string, hash [32]byte, expires time.Time) error

	// SetTOTP stores a sealed secret, in force or waiting for its first code; nil
	// takes it away, with the recovery codes.
	SetTOTP(ctx context.Context, userID string, secret *cloud.Sealed, inForce bool) error
	// SetTOTPStep notes the time step of the last code that was used, so that none
	// is good twice (RFC 6238, section 5.2).
	SetTOTPStep(ctx context.Context, userID string, step int64) error
	// SetRecoveryCodes replaces all of them.
	SetRecoveryCodes(ctx context.Context, userID string, hashes [][32]byte) error
	// UseRecoveryCode takes one away and reports whether it was there.
	UseRecoveryCode(ctx context.Context, userID string, hash [32]byte) (bool, error)

	// InsertSession stores a session, and forgets those of the user that were over
	// when it was created, so that nobody need sweep.
	InsertSession(ctx context.Context, session cloud.Session, hash [32]byte) error
	EndSession(ctx context.Context, userID, id string) error             // CodeNotFound
	EndSessions(ctx context.Context, userID, except string) (int, error) // all but one, or all for ""

	// InsertKey stores a key that was made by the one with the id parent, or by none
	// for "". CodeNotFound about "app" if the app does not exist; CodeUnauthorized if
	// the parent does not.
	InsertKey(ctx context.Context, key cloud.APIKey, parent string, hash [32]byte) error
	// DeleteKey removes a key and all that were made by it. CodeNotFound.
	DeleteKey(ctx context.Context, userID, id string) error

	// SetMember adds a member or changes the role of one, who keeps CreatedAt. CodeNotFound.
	SetMember(ctx context.Context, appID, userID string, role cloud.AppRole) (cloud.AppMember, error)
	RemoveMember(ctx context.Context, appID, userID string) error // CodeNotFound
}

// Credentials is what a user logs in with.
type Credentials struct {
	User            cloud.User
	PasswordHash    string    // as hashPassword makes it; "" for none
	PasswordExpires time.Time // of a one-time password; zero: it is no such
	TOTP            *cloud.Sealed
	TOTPInForce     bool
	TOTPStep        int64
}
