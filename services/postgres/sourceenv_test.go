package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

// openSealer has one key, and writes the purpose into its boxes.
type openSealer struct{ key string }

func (s openSealer) Seal(purpose string, value []byte) (cloud.Sealed, error) {
	return cloud.Sealed{KeyID: s.key, Box: []byte(purpose + "=" + string(value))}, nil
}

func (s openSealer) Open(purpose string, sealed cloud.Sealed) ([]byte, error) {
	if sealed.KeyID != s.key {
		return nil, cloud.Errorf(cloud.CodeUnavailable, "no such key")
	}
	value, ok := strings.CutPrefix(string(sealed.Box), purpose+"=")
	if !ok {
		return nil, cloud.Errorf(cloud.CodeInternal, "tampered with")
	}
	return []byte(value), nil
}

func TestSource_Env(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	env, sealer := postgres.NewEnv(pool, nil), openSealer{"k1"}
	setSecret := func(app, name, purposeApp, value string) {
		t.Helper()
		sealed, err := sealer.Seal(cloud.SecretPurpose(purposeApp, name), []byte(value))
		must(t, err)
		must(t, env.SetSecret(t.Context(), app, name, sealed, len(value)))
	}
	a, b, c := createApp(t, pool, "a"), createApp(t, pool, "b"), createApp(t, pool, "c")
	must(t, env.SetVariable(t.Context(), a.ID, "GREETING", "hello"))
	must(t, env.SetVariable(t.Context(), a.ID, "NOTHING", ""))
	setSecret(a.ID, "TOKEN", a.ID, "abracadabra")
	setSecret(c.ID, "TOKEN", c.ID, "open sesame")
	envA := cloud.NewEnv(map[string]string{"GREETING": "hello", "NOTHING": ""}, map[string]string{"TOKEN": "abracadabra"})
	envC := cloud.NewEnv(nil, map[string]string{"TOKEN": "open sesame"})

	source := postgres.NewSource(pool, cloud.DefaultLimits, sealer, nil)
	states, err := source.Load(t.Context())
	must(t, err)
	equal(t, states, []cloud.AppState{{App: a, Env: envA}, {App: b}, {App: c, Env: envC}})
	state, _, err := source.LoadApp(t.Context(), a.ID)
	must(t, err)
	equal(t, state.Env, envA)
	equal(t, state.Env.Mask("it is abracadabra"), "it is [TOKEN]")

	fails := func(s cloud.Sealer, appID string, code cloud.Code, words ...string) {
		t.Helper()
		source := postgres.NewSource(pool, cloud.DefaultLimits, s, nil)
		_, _, errApp := source.LoadApp(t.Context(), appID)
		_, errAll := source.Load(t.Context())
		for _, err := range []error{errApp, errAll} {
			wantCode(t, err, code)
			e, _ := errors.AsType[*cloud.Error](err)
			for _, word := range append(words, `"a"`, "TOKEN") {
				if !strings.Contains(e.Message, word) {
					t.Errorf("%q does not say %q", e.Message, word)
				}
			}
			if strings.Contains(err.Error(), "abracadabra") {
				t.Errorf("%q has the secret", err)
			}
		}
	}
	t.Run("without the key nothing is loaded, and it is said how to go on", func(t *testing.T) {
		fails(nil, a.ID, cloud.CodeUnavailable, "master key k1", "restore", "nothing was overwritten")
		fails(openSealer{"k2"}, a.ID, cloud.CodeUnavailable, "master key k1", "restore", "nothing was overwritten")
	})
	t.Run("apps without secrets need no key", func(t *testing.T) {
		must(t, env.SetVariable(t.Context(), b.ID, "V", "x"))
		state, ok, err := postgres.NewSource(pool, cloud.DefaultLimits, nil, nil).LoadApp(t.Context(), b.ID)
		must(t, err)
		equal(t, ok, true)
		equal(t, string(state.Env.Payload()), `{"V":"x"}`)
	})
	t.Run("a secret that was another app's is damaged", func(t *testing.T) {
		setSecret(a.ID, "TOKEN", b.ID, "abracadabra")
		fails(sealer, a.ID, cloud.CodeInternal, "damaged")
	})
}
