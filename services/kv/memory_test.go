package kv_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/kv"
	"github.com/picloud/picloud/services/kv/kvtest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	kvtest.TestStore(t, func(*testing.T) (kv.Store, string, string) {
		return kv.NewMemory(), cloud.NewID(), cloud.NewID()
	})
}
