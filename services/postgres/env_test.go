package postgres_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/secrets"
	"github.com/picloud/picloud/services/secrets/secretstest"
)

func TestEnv_Conformance(t *testing.T) {
	t.Parallel()
	secretstest.TestStore(t, func(t *testing.T) (secrets.Store, secrets.Vault, string, string) {
		pool := cloudtest.Database(t)
		env := postgres.NewEnv(pool, nil)
		return env, env, createApp(t, pool, "app").ID, createApp(t, pool, "other").ID
	})
}
