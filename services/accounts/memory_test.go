package accounts_test

import (
	"testing"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/accounts/accountstest"
	"github.com/picloud/picloud/services/cloud"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	accountstest.TestStore(t, func(*testing.T) (accounts.Store, string, string) {
		app, other := cloud.NewID(), cloud.NewID()
		return accounts.NewMemory(func(id string) bool { return id == app || id == other }), app, other
	})
}
