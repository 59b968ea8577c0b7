package secrets_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
)

const app, other = "018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"

// grants is an Authorizer that allows what it lists, in one app.
type grants struct {
	allowed []cloud.Capability
	denial  cloud.Code // "": CodeForbidden
}

func (g grants) Authorize(p *cloud.Principal, c cloud.Capability, appID string) error {
	if p == nil || appID != app || !slices.Contains(g.allowed, c) {
		return cloud.Errorf(cmp.Or(g.denial, cloud.CodeForbidden), "no")
	}
	return nil
}

// bench is a service on a store in memory.
type bench struct {
	*secrets.Service
	store   *secrets.Memory
	ring    *secrets.Keyring
	reloads []string
	fails   error // of reloading
	log     bytes.Buffer
}

func newBench(t *testing.T, a cloud.Authorizer) *bench {
	t.Helper()
	b := &bench{store: secrets.NewMemory(), ring: newRing(t)}
	b.Service = secrets.New(secrets.Config{
		Store: b.store, Sealer: b.ring, Authorizer: a, Logger: slog.New(slog.NewTextHandler(&b.log, nil)),
		Reload: func(_ context.Context, appID string) error {
			b.reloads = append(b.reloads, appID)
			return b.fails
		},
	})
	return b
}

func byScript(appID string) cloud.Call { return cloud.Call{AppID: appID, ByScript: true} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, code cloud.Code, field string) {
	t.Helper()
	var e *cloud.Error
	if !errors.As(err, &e) || e.Code != code || e.Field != field {
		t.Errorf("error %v, want code %q about %q", err, code, field)
	}
}

// operations are all methods by the capability that each needs.
var operations = map[string]struct {
	needs cloud.Capability
	run   func(ctx context.Context, s *secrets.Service, call cloud.Call, name string) error
}{
	"set": {cloud.AppSecretsWrite, func(ctx context.Context, s *secrets.Service, call cloud.Call, name string) error {
		return s.Set(ctx, call, name, "value")
	}},
	"delete": {cloud.AppSecretsWrite, func(ctx context.Context, s *secrets.Service, call cloud.Call, name string) error {
		_, err := s.Delete(ctx, call, name)
		return err
	}},
	"list": {cloud.AppSecretsRead, func(ctx context.Context, s *secrets.Service, call cloud.Call, _ string) error {
		_, err := s.List(ctx, call)
		return err
	}},
	"set variable": {cloud.AppWriteScript, func(ctx context.Context, s *secrets.Service, call cloud.Call, name string) error {
		return s.SetVariable(ctx, call, name, "value")
	}},
	"delete variable": {cloud.AppWriteScript, func(ctx context.Context, s *secrets.Service, call cloud.Call, name string) error {
		_, err := s.DeleteVariable(ctx, call, name)
		return err
	}},
	"list variables": {cloud.AppReadScript, func(ctx context.Context, s *secrets.Service, call cloud.Call, _ string) error {
		_, err := s.ListVariables(ctx, call)
		return err
	}},
	"get": {cloud.AppSecretsRead, func(ctx context.Context, s *secrets.Service, call cloud.Call, name string) error {
		_, _, err := s.Get(ctx, call, name)
		return err
	}},
}

func TestService_gate(t *testing.T) {
	t.Parallel()
	all := []cloud.Capability{cloud.AppSecretsRead, cloud.AppSecretsWrite, cloud.AppReadScript, cloud.AppWriteScript}
	user := &cloud.Principal{UserID: "u", Name: "ada"}
	for name, op := range operations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			others := slices.DeleteFunc(slices.Clone(all), func(c cloud.Capability) bool { return c == op.needs })
			for _, c := range []struct {
				rule string
				call cloud.Call
				may  grants
				want cloud.Code
			}{
				{"a script for nobody is the gate", byScript(app), grants{}, ""},
				{"nobody may without a script", cloud.Call{AppID: app}, grants{allowed: all}, cloud.CodeForbidden},
				{"a script for one who may", cloud.Call{AppID: app, ByScript: true, Principal: user}, grants{allowed: []cloud.Capability{op.needs}}, ""},
				{"a script for one who may not", cloud.Call{AppID: app, ByScript: true, Principal: user}, grants{allowed: others}, cloud.CodeForbidden},
				{"a script for one who may not know of the app", cloud.Call{AppID: app, ByScript: true, Principal: user}, grants{denial: cloud.CodeNotFound}, cloud.CodeForbidden},
				{"one who may in another app", cloud.Call{AppID: other, ByScript: true, Principal: user}, grants{allowed: all}, cloud.CodeForbidden},
				{"one who may not", cloud.Call{AppID: app, Principal: user}, grants{allowed: others}, cloud.CodeForbidden},
				{"a call of no app", byScript(""), grants{allowed: all}, cloud.CodeInternal},
			} {
				if err := op.run(t.Context(), newBench(t, c.may).Service, c.call, "NAME"); cloud.CodeOf(err) != c.want {
					t.Errorf("%s: %v, want %q", c.rule, err, c.want)
				}
			}
			// Values have no way out but to scripts.
			want := cloud.Code("")
			if name == "get" {
				want = cloud.CodeForbidden
			}
			call := cloud.Call{AppID: app, Principal: user}
			if err := op.run(t.Context(), newBench(t, grants{allowed: all}).Service, call, "NAME"); cloud.CodeOf(err) != want {
				t.Errorf("one who may, without a script: %v, want %q", err, want)
			}
			if !strings.HasPrefix(name, "list") {
				wantError(t, op.run(t.Context(), newBench(t, grants{}).Service, byScript(app), "no name"), cloud.CodeInvalid, "name")
			}
		})
	}
}

func TestService_roundTrip(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	const value = "sk_live_ünïcode\n'\"\\"
	must(t, b.Set(t.Context(), byScript(app), "TOKEN", value))
	must(t, b.Set(t.Context(), byScript(app), "EMPTY", ""))
	must(t, b.SetVariable(t.Context(), byScript(app), "GREETING", "hello"))
	if got, ok, err := b.Get(t.Context(), byScript(app), "TOKEN"); got != value || !ok || err != nil {
		t.Errorf("got %q, %v, %v", got, ok, err)
	}
	if got, ok, err := b.Get(t.Context(), byScript(app), "EMPTY"); got != "" || !ok || err != nil {
		t.Errorf("got %q, %v, %v", got, ok, err)
	}
	for _, absent := range []struct{ app, name string }{{app, "NONE"}, {app, "GREETING"}, {other, "TOKEN"}} {
		if got, ok, err := b.Get(t.Context(), byScript(absent.app), absent.name); got != "" || ok || err != nil {
			t.Errorf("%v: got %q, %v, %v", absent, got, ok, err)
		}
	}
	entries, err := b.List(t.Context(), byScript(app))
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name+"="+e.Value)
	}
	if !reflect.DeepEqual(names, []string{"EMPTY=", "TOKEN="}) {
		t.Errorf("listed %v", names)
	}
	sealed, _, err := b.store.Secret(t.Context(), app, "TOKEN")
	must(t, err)
	if bytes.Contains(sealed.Box, []byte("live")) {
		t.Error("the store has it in the clear")
	}
	wantError(t, b.SetVariable(t.Context(), byScript(app), "TOKEN", "x"), cloud.CodeConflict, "name")
	wantError(t, b.Set(t.Context(), byScript(app), "GREETING", "x"), cloud.CodeConflict, "name")
}

func TestService_values(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, c := range []struct {
		value string
		code  cloud.Code
		field string
	}{
		{strings.Repeat("x", cloud.MaxSecret), "", ""},
		{strings.Repeat("x", cloud.MaxSecret+1), cloud.CodeLimit, ""},
		{"a\x00b", cloud.CodeInvalid, "value"},
		{"a\xffb", cloud.CodeInvalid, "value"},
	} {
		for _, set := range []func() error{
			func() error { return b.Set(t.Context(), byScript(app), "S", c.value) },
			func() error { return b.SetVariable(t.Context(), byScript(app), "V", c.value) },
		} {
			err := set()
			if c.code == "" {
				must(t, err)
				continue
			}
			wantError(t, err, c.code, c.field)
			if strings.Contains(err.Error(), "a\x00b") || len(err.Error()) > 200 {
				t.Errorf("the error tells the value: %.100s", err)
			}
		}
	}
}

func TestService_reloads(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.fails = errors.New("away")
	call := byScript(app)
	must(t, b.Set(t.Context(), call, "S", "secret value"))
	must(t, b.SetVariable(t.Context(), call, "V", "x"))
	for range 2 { // the second time there is nothing to delete
		_, err := b.Delete(t.Context(), call, "S")
		must(t, err)
		_, err = b.DeleteVariable(t.Context(), call, "V")
		must(t, err)
	}
	wantError(t, b.Set(t.Context(), call, "", "x"), cloud.CodeInvalid, "name")
	_, _, err := b.Get(t.Context(), call, "S")
	must(t, err)
	if !reflect.DeepEqual(b.reloads, []string{app, app, app, app}) {
		t.Errorf("reloaded %v", b.reloads)
	}
	if log := b.log.String(); strings.Count(log, "cannot reload") != 4 || strings.Contains(log, "secret value") {
		t.Errorf("logged %s", log)
	}
}

func TestService_withoutKey(t *testing.T) {
	t.Parallel()
	store := secrets.NewMemory()
	s := secrets.New(secrets.Config{Store: store, Sealer: &secrets.Keyring{}})
	wantError(t, s.Set(t.Context(), byScript(app), "S", "x"), cloud.CodeUnavailable, "")
	must(t, s.SetVariable(t.Context(), byScript(app), "V", "variables need no key"))
	must(t, store.SetSecret(t.Context(), app, "S", cloud.Sealed{KeyID: "0123456789abcdef"}, 1))
	_, _, err := s.Get(t.Context(), byScript(app), "S")
	wantError(t, err, cloud.CodeUnavailable, "")
	if was, err := s.Delete(t.Context(), byScript(app), "S"); !was || err != nil {
		t.Errorf("deleted %v, %v", was, err)
	}
}

// rotatingStore has the master key rotated between the sealing of a secret and
// its being stored, past the secret.
type rotatingStore struct {
	*secrets.Memory
	rotate func()
}

func (s *rotatingStore) SetSecret(ctx context.Context, appID, name string, v cloud.Sealed, size int) error {
	if rotate := s.rotate; rotate != nil {
		s.rotate = nil
		rotate()
	}
	return s.Memory.SetSecret(ctx, appID, name, v, size)
}

func TestService_setsWhileTheKeyIsRotated(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	ring, err := secrets.OpenKeyring(path)
	must(t, err)
	store := &rotatingStore{Memory: secrets.NewMemory()}
	store.rotate = func() { must(t, secrets.Rotate(t.Context(), path, store, nil)) }
	s := secrets.New(secrets.Config{Store: store, Sealer: ring})
	must(t, s.Set(t.Context(), byScript(app), "S", "kept"))

	fresh, err := secrets.OpenKeyring(path) // as after a restart
	must(t, err)
	must(t, fresh.Check(t.Context(), store))
	s = secrets.New(secrets.Config{Store: store, Sealer: fresh})
	if got, _, err := s.Get(t.Context(), byScript(app), "S"); got != "kept" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
