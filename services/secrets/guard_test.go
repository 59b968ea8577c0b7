package secrets_test

import (
	"context"
	"errors"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
)

// countingVault counts how often it is asked, and may be away.
type countingVault struct {
	*secrets.Memory
	asked int
	fails error
}

func (v *countingVault) KeyIDs(ctx context.Context) ([]string, error) {
	v.asked++
	if v.fails != nil {
		return nil, v.fails
	}
	return v.Memory.KeyIDs(ctx)
}

// TestGuard shows that a wrong key adds nothing to what it cannot open, and that
// a right one is looked at once.
func TestGuard(t *testing.T) {
	t.Parallel()
	vault := &countingVault{Memory: secrets.NewMemory()}
	right := newRing(t)
	wrong, err := secrets.OpenKeyring(newKeyFile(t))
	must(t, err)
	service := func(ring *secrets.Keyring) *secrets.Service {
		return secrets.New(secrets.Config{Store: vault, Sealer: secrets.NewGuard(ring, vault)})
	}
	s := service(right)
	vault.fails = cloud.Errorf(cloud.CodeUnavailable, "away")
	if err := s.Set(t.Context(), byScript(app), "S", "kept"); !errors.Is(err, vault.fails) || errors.Is(err, secrets.ErrMissingKey) {
		t.Errorf("before anybody knows: %v", err)
	}
	vault.fails = nil
	for range 3 {
		must(t, s.Set(t.Context(), byScript(app), "S", "kept"))
	}
	if vault.asked != 2 {
		t.Errorf("asked %d times", vault.asked)
	}

	other := service(wrong)
	for range 2 {
		err := other.Set(t.Context(), byScript(app), "S", "lost")
		wantError(t, err, cloud.CodeUnavailable, "")
		if !errors.Is(err, secrets.ErrMissingKey) {
			t.Errorf("got %v", err)
		}
	}
	if got, _, err := s.Get(t.Context(), byScript(app), "S"); got != "kept" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = vault.DeleteSecret(t.Context(), app, "S")
	must(t, err)
	must(t, other.Set(t.Context(), byScript(app), "S", "its own now"))
}
