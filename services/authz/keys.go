package authz

import (
	"context"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// KeyStore keeps API keys and the users they belong to.
type KeyStore interface {
	// PrincipalByKey finds the principal of an unexpired key of an active user by
	// the SHA-256 of the key's text. CodeUnauthorized if there is none.
	PrincipalByKey(ctx context.Context, hash [32]byte, now time.Time) (*cloud.Principal, error)

	// CreateOwnerKey stores a key with all scopes for the instance's owner, and
	// creates the owner, named "owner", if there is none.
	CreateOwnerKey(ctx context.Context, name string, hash [32]byte) error
}
