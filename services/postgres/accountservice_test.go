package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

// accountServices are the accounts of one instance in two processes, and the pool
// of the second.
func accountServices(t *testing.T) (services [2]*accounts.Service, pool *pgxpool.Pool) {
	t.Helper()
	url := cloudtest.URL(t)
	for i := range services {
		pool = cloudtest.Pool(t, url)
		s, err := accounts.New(accounts.Config{
			Store:   postgres.NewAccounts(pool, nil),
			Hashing: accounts.Hashing{Memory: 64, Passes: 1},
		})
		must(t, err)
		services[i] = s
	}
	return services, pool
}

// together calls f with 0 and 1 at the same time and returns the codes of its
// errors, sorted.
func together(f func(i int) error) []cloud.Code {
	codes := make([]cloud.Code, 2)
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() { codes[i] = cloud.CodeOf(f(i)) })
	}
	wg.Wait()
	slices.Sort(codes)
	return codes
}

const goodPassword = "correct horse battery"

func TestAccounts_OneClaims(t *testing.T) {
	t.Parallel()
	services, _ := accountServices(t)
	codes := together(func(i int) error {
		_, err := services[i].Claim(t.Context(), fmt.Sprint("owner", i), goodPassword, cloud.Client{})
		return err
	})
	equal(t, codes, []cloud.Code{"", cloud.CodeConflict})
	users, err := services[0].Users(t.Context())
	must(t, err)
	equal(t, len(users), 1)
}

func TestAccounts_LastOwnersResign(t *testing.T) {
	t.Parallel()
	services, _ := accountServices(t)
	first, err := services[0].Claim(t.Context(), "first", goodPassword, cloud.Client{})
	must(t, err)
	by, err := services[1].Authenticate(t.Context(), first.Token)
	must(t, err)
	for range 5 {
		second, handover, err := services[1].CreateUser(t.Context(), by, cloud.UserDraft{Name: "second", Role: cloud.Owner})
		must(t, err)
		loggedIn, err := services[1].LogIn(t.Context(), cloud.LogIn{Name: "SECOND", Password: handover.Password, NewPassword: goodPassword})
		must(t, err)
		principals := []*cloud.Principal{by, nil}
		principals[1], err = services[0].Authenticate(t.Context(), loggedIn.Token)
		must(t, err)
		equal(t, principals[1].UserID, second.ID)

		member := cloud.Member
		codes := together(func(i int) error {
			_, err := services[i].ChangeUser(t.Context(), principals[i], principals[i].UserID, cloud.UserChange{Role: &member})
			return err
		})
		equal(t, codes, []cloud.Code{"", cloud.CodeLastOwner})

		// Whoever stayed makes the first one an owner again, for the next round.
		stayed := slices.IndexFunc(principals, func(p *cloud.Principal) bool {
			u, err := services[0].User(t.Context(), p.UserID)
			must(t, err)
			return u.Role == cloud.Owner
		})
		owner := cloud.Owner
		_, err = services[0].ChangeUser(t.Context(), principals[stayed], by.UserID, cloud.UserChange{Role: &owner})
		must(t, err)
		must(t, services[0].DeleteUser(t.Context(), by, second.ID))
		_, err = services[1].Authenticate(t.Context(), loggedIn.Token)
		wantCode(t, err, cloud.CodeUnauthorized)
	}
}

func TestAccounts_KeyUse(t *testing.T) {
	t.Parallel()
	services, pool := accountServices(t)
	in, err := services[0].Claim(t.Context(), "ann", goodPassword, cloud.Client{Address: "192.0.2.7"})
	must(t, err)
	ann, err := services[0].Authenticate(t.Context(), in.Token)
	must(t, err)
	key, token, err := services[0].CreateKey(t.Context(), ann, cloud.KeyDraft{Name: "k", Scopes: []cloud.Scope{cloud.ScopeLogRead}})
	must(t, err)
	before := time.Now().Add(-time.Minute)
	for _, s := range services { // the second reads what the first noted
		p, err := s.Authenticate(t.Context(), token)
		must(t, err)
		equal(t, p.Key, &cloud.Key{ID: key.ID, Name: "k", Scopes: []cloud.Scope{cloud.ScopeLogRead}})
	}
	keys, err := services[1].Keys(t.Context(), ann.UserID)
	must(t, err)
	if len(keys) != 1 || keys[0].LastUsedAt.Before(before) {
		t.Errorf("keys %+v, want one that was used just now", keys)
	}
	var rows string
	must(t, pool.QueryRow(t.Context(), `
		SELECT (SELECT string_agg(k::text, '') FROM api_keys k) || (SELECT string_agg(s::text, '') FROM sessions s)
		    || (SELECT string_agg(u::text, '') FROM users u)`).Scan(&rows))
	for _, secret := range []string{token, in.Token, goodPassword} {
		if strings.Contains(rows, secret) {
			t.Errorf("%q is stored in clear text", secret)
		}
	}
	must(t, services[0].RevokeKey(t.Context(), ann.UserID, key.ID))
	_, err = services[1].Authenticate(t.Context(), token)
	wantCode(t, err, cloud.CodeUnauthorized)
}
