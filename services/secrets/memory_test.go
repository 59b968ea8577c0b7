package secrets_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
	"github.com/picloud/picloud/services/secrets/secretstest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	secretstest.TestStore(t, func(*testing.T) (secrets.Store, secrets.Vault, string, string) {
		m := secrets.NewMemory()
		return m, m, cloud.NewID(), cloud.NewID()
	})
}
