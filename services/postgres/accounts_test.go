package postgres_test

import (
	"testing"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/accounts/accountstest"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

func TestAccounts_Conformance(t *testing.T) {
	t.Parallel()
	accountstest.TestStore(t, func(t *testing.T) (accounts.Store, string, string) {
		pool := cloudtest.Database(t)
		return postgres.NewAccounts(pool, nil), createApp(t, pool, "app").ID, createApp(t, pool, "other").ID
	})
}
