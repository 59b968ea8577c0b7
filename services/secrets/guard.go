package secrets

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// guardPatience is how long sealing may wait for the vault's verdict.
const guardPatience = 5 * time.Second

// Guard is a keyring that seals nothing while the vault holds what it has no key
// for: with a wrong key, it would add what the server with the right one cannot
// open. Once all keys were there, it does not ask again. It is safe for concurrent
// use.
type Guard struct {
	ring  *Keyring
	vault Vault
	good  atomic.Bool
}

var _ cloud.Sealer = (*Guard)(nil)

// NewGuard returns a Guard that has asked nothing yet.
func NewGuard(ring *Keyring, vault Vault) *Guard { return &Guard{ring: ring, vault: vault} }

// Check is Keyring.Check, until that has found nothing missing.
func (g *Guard) Check(ctx context.Context) error {
	if g.good.Load() {
		return nil
	}
	err := g.ring.Check(ctx, g.vault)
	g.good.Store(err == nil)
	return err
}

// Seal implements cloud.Sealer. It is refused with the error of Check.
func (g *Guard) Seal(purpose string, value []byte) (cloud.Sealed, error) {
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	if err := g.Check(ctx); err != nil {
		return cloud.Sealed{}, err
	}
	return g.ring.Seal(purpose, value)
}

// Open implements cloud.Sealer.
func (g *Guard) Open(purpose string, s cloud.Sealed) ([]byte, error) { return g.ring.Open(purpose, s) }
