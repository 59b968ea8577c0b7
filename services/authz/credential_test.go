package authz_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
)

// keyStore knows one key.
type keyStore struct {
	hash    [32]byte
	asked   int
	askedAt time.Time
}

func (s *keyStore) PrincipalByKey(_ context.Context, hash [32]byte, now time.Time) (*cloud.Principal, error) {
	s.asked++
	s.askedAt = now
	if hash != s.hash {
		return nil, cloud.Errorf(cloud.CodeUnauthorized, "unknown")
	}
	return &cloud.Principal{Name: "ann"}, nil
}

func (s *keyStore) CreateOwnerKey(_ context.Context, _ string, hash [32]byte) error {
	s.hash = hash
	return nil
}

func TestMintKey(t *testing.T) {
	t.Parallel()
	a, b := authz.MintKey(), authz.MintKey()
	if !regexp.MustCompile(`^pic_[a-z2-7]{52}$`).MatchString(a) {
		t.Errorf("key %q has another form", a)
	}
	if a == b {
		t.Error("two keys are equal")
	}
}

func TestKeys_Authenticate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := &keyStore{}
	keys := authz.NewKeys(store, func() time.Time { return now })
	token, err := keys.CreateOwnerKey(t.Context(), "owner-token")
	if err != nil {
		t.Fatal(err)
	}
	p, err := keys.Authenticate(t.Context(), token)
	if err != nil || p.Name != "ann" || !store.askedAt.Equal(now) {
		t.Errorf("got %v, %v at %v", p, err, store.askedAt)
	}
	if _, err := keys.Authenticate(t.Context(), authz.MintKey()); cloud.CodeOf(err) != cloud.CodeUnauthorized {
		t.Errorf("an unknown key: %v", err)
	}
	asked := store.asked
	for _, bad := range []string{
		"", "pic_", token[4:], "PIC_" + token[4:], token + "a", token[:len(token)-1], strings.ToUpper(token),
		token[:20] + "1" + token[21:], token[:20] + "\n" + token[21:], token[:20] + "\x00" + token[21:], strings.Repeat("x", 1<<20),
	} {
		_, err := keys.Authenticate(t.Context(), bad)
		if cloud.CodeOf(err) != cloud.CodeUnauthorized {
			t.Errorf("%.60q: %v, want unauthorized", bad, err)
		}
		if strings.Contains(err.Error(), "pic_"+token[4:]) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
	if store.asked != asked {
		t.Error("malformed tokens reached the database")
	}
}
