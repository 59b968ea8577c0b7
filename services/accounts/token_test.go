package accounts

import (
	"crypto/rand"
	"regexp"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestMintKey(t *testing.T) {
	t.Parallel()
	a, b := MintKey(), MintKey()
	if !regexp.MustCompile(`^pic_[a-z2-7]{52}$`).MatchString(a) {
		t.Errorf("key %q has another form", a)
	}
	if a == b {
		t.Error("two keys are equal")
	}
	if !wellFormed(cloud.KeyPrefix, a) || wellFormed(cloud.SessionPrefix, a) {
		t.Error("a key is a key, and no session's token")
	}
}

func TestMint_withoutRandomnessNothingIsMade(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a token was made of nothing")
		}
	}()
	mint(strings.NewReader("too short"), cloud.KeyPrefix)
}

func TestRandomCode(t *testing.T) {
	t.Parallel()
	if code := randomCode(rand.Reader); !regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`).MatchString(code) {
		t.Errorf("code %q has another form", code)
	}
}

func FuzzWellFormed(f *testing.F) {
	for _, token := range []string{"", "pic_", MintKey(), MintKey() + "=", strings.ToUpper(MintKey()), "pic_" + strings.Repeat("a", 52), "pic_" + strings.Repeat("b", 52), "pic_" + strings.Repeat("a", 51) + "\n"} {
		f.Add(token)
	}
	form := regexp.MustCompile(`^pic_[a-z2-7]{51}[aq]\z`) // 256 bits: of the last 5 only the first counts
	f.Fuzz(func(t *testing.T, token string) {
		if got, want := wellFormed(cloud.KeyPrefix, token), form.MatchString(token); got != want {
			t.Errorf("%q well formed: %v, want %v", token, got, want)
		}
	})
}
