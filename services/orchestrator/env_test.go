package orchestrator

import (
	"errors"
	"log/slog"
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
		"that was another app's": {openSealer{"k1"}, "2", cloud.CodeUnavailable, []string{"damaged"}},
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

// An app whose secret does not open stops nobody else, and runs again once it does.
func TestCatalog_brokenEnv(t *testing.T) {
	t.Parallel()
	state := func(id, slug string, env ...cloud.EnvValue) cloud.AppState {
		return cloud.AppState{
			App: cloud.App{ID: id, Slug: slug}, Env: env,
			Routes:  []cloud.Route{{ID: id, ScriptID: id, Method: cloud.AnyMethod, Path: "/*", Mode: cloud.Sync}},
			Scripts: []cloud.Runnable{{ID: id, Name: "s", AppID: id}},
		}
	}
	source := &fakeSource{apps: map[string]cloud.AppState{
		"1": state("1", cloud.DefaultApp, secret("1", "TOKEN", "abracadabra")),
		"2": state("2", "damaged", secret("1", "TOKEN", "abracadabra")),
	}}
	var log strings.Builder
	c := NewCatalog(CatalogConfig{Source: source, Sealer: openSealer{"k1"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := c.loadAll(source.load); err != nil {
		t.Fatal(err)
	}
	d := &Dispatcher{Catalog: c, Authenticate: authenticate, Authorizer: everyMayInvoke{}}
	urls := func(slug, id string) []string {
		return []string{"http://" + slug + "/x", "http://localhost" + ExecutePrefix + id}
	}
	runs := func(id string, urls []string) {
		t.Helper()
		for _, url := range urls {
			if plan, w := dispatch(t, d, "GET", url, "pic_ada"); plan == nil || plan.App.ID != id {
				t.Errorf("%s: %d %s", url, w.Code, w.Body)
			}
		}
		if plan, err := c.PlanScript(id, id); err != nil || plan.App.ID != id {
			t.Errorf("an event of %s: %v", id, err)
		}
	}
	runs("1", urls("localhost", "1"))
	for _, url := range urls("damaged.localhost", "2") {
		plan, w := dispatch(t, d, "GET", url, "pic_ada")
		if body := w.Body.String(); plan != nil || w.Code != 503 || !strings.Contains(body, "the secret TOKEN of the app") || strings.Contains(body, "abracadabra") {
			t.Errorf("%s: %d %s", url, w.Code, body)
		}
	}
	if _, err := c.PlanScript("2", "2"); cloud.CodeOf(err) != cloud.CodeUnavailable {
		t.Errorf("an event of an app that cannot run: %v", err)
	}
	if !strings.Contains(log.String(), "TOKEN") || !strings.Contains(log.String(), "app_id=2") || strings.Contains(log.String(), "abracadabra") {
		t.Errorf("logged %s", log.String())
	}
	source.apps["2"] = state("2", "damaged", secret("2", "TOKEN", "set anew"))
	if err := c.Reload(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	runs("2", urls("damaged.localhost", "2"))
	runs("1", urls("localhost", "1"))
}
