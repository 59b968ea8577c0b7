package caddycloud

import (
	"context"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// principals looks users up. Who asks while the answer to others is under way
// shares the next question with all that came meanwhile, so that thousands of
// events a second take few queries, and each still sees the user as they were when
// it asked or later.
type principals struct {
	// find returns those of the users that are there and active, by id.
	find func(ctx context.Context, userIDs []string) (map[string]*cloud.Principal, error)

	mu     sync.Mutex
	asking bool
	next   *question
}

// question is about several users. answer and err are set when done is closed.
type question struct {
	users  map[string]struct{}
	done   chan struct{}
	answer map[string]*cloud.Principal
	err    error
}

// questionTimeout bounds a question, so that a database that hangs holds nobody up
// for longer.
const questionTimeout = 10 * time.Second

// of is the user as a principal, or nil if they are gone or not active.
func (p *principals) of(ctx context.Context, userID string) (*cloud.Principal, error) {
	p.mu.Lock()
	if p.next == nil {
		p.next = &question{users: map[string]struct{}{}, done: make(chan struct{})}
	}
	q := p.next
	q.users[userID] = struct{}{}
	if !p.asking {
		p.asking = true
		go p.ask()
	}
	p.mu.Unlock()
	select {
	case <-q.done:
		return q.answer[userID], q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask asks until nobody waits.
func (p *principals) ask() {
	for {
		p.mu.Lock()
		q := p.next
		p.next = nil
		if q == nil {
			p.asking = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		users := make([]string, 0, len(q.users))
		for id := range q.users {
			users = append(users, id)
		}
		ctx, cancel := context.WithTimeout(context.Background(), questionTimeout)
		q.answer, q.err = p.find(ctx, users)
		cancel()
		close(q.done)
	}
}
