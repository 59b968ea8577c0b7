package caddycloud

import (
	"context"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
)

// keyAccounts are accounts that know API keys alone.
type keyAccounts struct {
	cloud.Accounts
	keys *authz.Keys
}

func (a keyAccounts) Authenticate(ctx context.Context, token string) (*cloud.Principal, error) {
	return a.keys.Authenticate(ctx, token)
}

func (keyAccounts) Claimed(context.Context) (bool, error) { return true, nil }
