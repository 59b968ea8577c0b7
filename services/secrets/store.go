// Package secrets keeps the variables and secrets of apps, which their scripts
// get as env, and seals the secrets with the instance's master key.
package secrets

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// Store keeps variables and secrets. Names are bytes; both kinds share them in an
// app. Methods answer CodeUnavailable while the database is away. A change that
// returned without error is durable, and the processes that serve the app are
// told of it.
type Store interface {
	// Secret returns a sealed secret and whether there is one.
	Secret(ctx context.Context, appID, name string) (cloud.Sealed, bool, error)

	// SetSecret stores one whose value has size bytes. CodeConflict about "name" if
	// a variable has it; CodeLimit beyond cloud.MaxEnvNames or cloud.MaxEnvValues;
	// CodeNotFound if the app does not exist.
	SetSecret(ctx context.Context, appID, name string, s cloud.Sealed, size int) error

	// DeleteSecret reports whether it was there.
	DeleteSecret(ctx context.Context, appID, name string) (bool, error)

	// Secrets returns the names, sorted, without values.
	Secrets(ctx context.Context, appID string) ([]cloud.EnvEntry, error)

	// SetVariable, DeleteVariable and Variables are the same for variables, whose
	// values are in the clear.
	SetVariable(ctx context.Context, appID, name, value string) error
	DeleteVariable(ctx context.Context, appID, name string) (bool, error)
	Variables(ctx context.Context, appID string) ([]cloud.EnvEntry, error)
}

// Vault is everything sealed in the database, of whatever kind, for changing the
// master key.
type Vault interface {
	// KeyIDs returns the ids of the master keys that something is sealed with.
	KeyIDs(ctx context.Context) ([]string, error)

	// Reseal passes some of what is not sealed with keyID through reseal and stores
	// the results, in one transaction. It returns how many that were; 0: all is
	// sealed with keyID.
	Reseal(ctx context.Context, keyID string, reseal func(purpose string, s cloud.Sealed) (cloud.Sealed, error)) (int, error)
}
