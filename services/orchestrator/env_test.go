package orchestrator

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
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

// secret is one of the app with this id, sealed with the key k1.
func secret(appID, name, value string) cloud.EnvValue {
	sealed, _ := openSealer{"k1"}.Seal(cloud.SecretPurpose(appID, name), []byte(value))
	return cloud.EnvValue{Name: name, Secret: &sealed}
}

func TestOpenEnv(t *testing.T) {
	t.Parallel()
	open := func(s cloud.Sealer, env ...cloud.EnvValue) (*cloud.Env, error) {
		return openEnv(cloud.AppState{App: cloud.App{ID: "1", Slug: "a"}, Env: env}, s)
	}
	greeting, nothing := cloud.EnvValue{Name: "GREETING", Value: "hello"}, cloud.EnvValue{Name: "NOTHING"}
	env, err := open(openSealer{"k1"}, greeting, nothing, secret("1", "TOKEN", "abracadabra"))
	want := cloud.NewEnv(map[string]string{"GREETING": "hello", "NOTHING": ""}, map[string]string{"TOKEN": "abracadabra"})
	if err != nil || !reflect.DeepEqual(env, want) || env.Mask("it is abracadabra") != "it is [TOKEN]" {
		t.Errorf("got %s, %v", env.Payload(), err)
	}
	if env, err := open(nil); env != nil || err != nil {
		t.Errorf("of no values: %v, %v", env, err)
	}
	if env, err := open(nil, greeting); err != nil || string(env.Payload()) != `{"GREETING":"hello"}` {
		t.Errorf("variables alone need no key: %s, %v", env.Payload(), err)
	}
	for name, tt := range map[string]struct {
		sealer cloud.Sealer
		of     string
		code   cloud.Code
		words  []string
	}{
		"without a master key":   {nil, "1", cloud.CodeUnavailable, []string{"master key k1", "restore", "nothing was overwritten"}},
		"with another":           {openSealer{"k2"}, "1", cloud.CodeUnavailable, []string{"master key k1", "restore", "nothing was overwritten"}},
		"that was another app's": {openSealer{"k1"}, "2", cloud.CodeInternal, []string{"damaged"}},
	} {
		_, err := open(tt.sealer, secret(tt.of, "TOKEN", "abracadabra"))
		e, _ := errors.AsType[*cloud.Error](err)
		if e == nil || e.Code != tt.code || strings.Contains(err.Error(), "abracadabra") {
			t.Fatalf("a secret %s: %v", name, err)
		}
		for _, word := range append(tt.words, `"a"`, "TOKEN") {
			if !strings.Contains(e.Message, word) {
				t.Errorf("a secret %s: %q does not say %q", name, e.Message, word)
			}
		}
	}
}
