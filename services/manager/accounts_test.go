package manager_test

import (
	"context"
	"sync"

	"github.com/picloud/picloud/services/cloud"
)

// standIns are accounts with further principals, whom a test lets in by tokens
// of its choice.
type standIns struct {
	cloud.Accounts

	mu         sync.Mutex
	principals map[string]*cloud.Principal // by token
}

func (a *standIns) Authenticate(ctx context.Context, token string) (*cloud.Principal, error) {
	a.mu.Lock()
	p := a.principals[token]
	a.mu.Unlock()
	if p != nil {
		return p, nil
	}
	return a.Accounts.Authenticate(ctx, token)
}

func (a *standIns) let(token string, p cloud.Principal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.principals[token] = &p
}
