package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Config is what a Service works with. Store is required.
type Config struct {
	Store   Store
	Sealer  cloud.Sealer     // seals the secrets of second factors; nil: there can be none
	Logger  *slog.Logger     // nil: silence
	Now     func() time.Time // nil: time.Now
	Random  io.Reader        // must not fail; nil: crypto/rand.Reader
	Hashing Hashing          // zero fields: DefaultHashing
	Issuer  string           // what authenticator apps call the instance; "": PiCloud
	// Interfaces are the addresses of this machine, which tell who is in its own
	// networks. Nil: net.InterfaceAddrs.
	Interfaces func() ([]net.Addr, error)
}

// Service implements cloud.Accounts on a Store. It has nothing to start or stop
// and is safe for concurrent use.
type Service struct {
	store   Store
	sealer  cloud.Sealer
	log     *slog.Logger
	now     func() time.Time
	random  io.Reader
	hasher  *hasher
	limiter *limiter
	issuer  string
	addrs   func() ([]net.Addr, error)
	claimed atomic.Bool // once true, an instance stays claimed: the last owner stays
	noted   notes
}

var _ cloud.Accounts = (*Service)(nil)

// Operator is who this machine's own commands act as. It may do what an owner
// may.
var Operator = &cloud.Principal{Name: "this machine", Role: cloud.Owner}

// New returns a service.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil {
		return nil, errors.New("accounts need a store")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Issuer == "" {
		cfg.Issuer = "PiCloud"
	}
	if cfg.Interfaces == nil {
		cfg.Interfaces = net.InterfaceAddrs
	}
	hasher, err := newHasher(cfg.Hashing, cfg.Random)
	if err != nil {
		return nil, err
	}
	return &Service{
		store: cfg.Store, sealer: cfg.Sealer, log: cfg.Logger, now: cfg.Now, random: cfg.Random,
		hasher: hasher, limiter: newLimiter(), issuer: cfg.Issuer, addrs: cfg.Interfaces,
	}, nil
}

// Claimed implements cloud.Accounts.
func (s *Service) Claimed(ctx context.Context) (bool, error) {
	if s.claimed.Load() {
		return true, nil
	}
	owned, err := s.store.Owned(ctx)
	if owned {
		s.claimed.Store(true)
	}
	return owned, err
}

// actor is who makes a change, as they are now. A request's principal may be
// older than the changes that were made while it waited for its turn.
func actor(ctx context.Context, tx Tx, by *cloud.Principal) (cloud.User, error) {
	switch {
	case by == nil:
		return cloud.User{}, cloud.Errorf(cloud.CodeForbidden, "an anonymous caller may not do this")
	case by.UserID == "": // this machine's own command; whoever came with a credential is a user
		return cloud.User{Name: by.Name, Role: by.Role, Active: true}, nil
	}
	c, err := self(ctx, tx, by)
	return c.User, err
}

// self is what p's user logs in with now. CodeUnauthorized if p is no user any
// more.
func self(ctx context.Context, from interface {
	Credentials(ctx context.Context, name string) (Credentials, error)
}, p *cloud.Principal) (Credentials, error) {
	gone := cloud.Errorf(cloud.CodeUnauthorized, "the user does not exist any more, or was deactivated")
	if p == nil || p.UserID == "" {
		return Credentials{}, cloud.Errorf(cloud.CodeForbidden, "only a user may do this")
	}
	c, err := from.Credentials(ctx, p.UserID)
	switch {
	case cloud.CodeOf(err) == cloud.CodeNotFound:
		return Credentials{}, gone.Because(err)
	case err != nil:
		return Credentials{}, err
	case !c.User.Active:
		return Credentials{}, gone
	}
	return c, nil
}

// needSession refuses what a stolen key must not do: take the account over.
func needSession(p *cloud.Principal) error {
	if p == nil || p.SessionID == "" {
		return cloud.Errorf(cloud.CodeForbidden, "this needs a session: log in with name and password; an API key does not do")
	}
	return nil
}

// sign names, in the audit entry of a change, the user that only the change
// itself could find out.
func sign(ctx context.Context, user cloud.User) {
	if entry := cloud.AuditFrom(ctx); entry != nil {
		entry.UserID, entry.UserName = user.ID, user.Name
	}
}
