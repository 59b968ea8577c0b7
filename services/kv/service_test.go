package kv_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/kv"
)

// grants is an Authorizer that allows what it lists, in one app.
type grants struct {
	app     string
	allowed []cloud.Capability
	denial  cloud.Code // "": CodeForbidden
}

func (g grants) Authorize(p *cloud.Principal, c cloud.Capability, appID string) error {
	if p == nil || appID != g.app || !slices.Contains(g.allowed, c) {
		return cloud.Errorf(cmp.Or(g.denial, cloud.CodeForbidden), "no")
	}
	return nil
}

// forbidden is a store that must not be reached.
type forbidden struct {
	kv.Store
}

const app = "018f0000-0000-7000-8000-000000000001"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func byScript(appID string) cloud.Call { return cloud.Call{AppID: appID, ByScript: true} }

func newService() *kv.Service {
	return kv.New(kv.Config{Store: kv.NewMemory(), Now: func() time.Time { return noon }})
}

func wantError(t *testing.T, err error, code cloud.Code, field string) {
	t.Helper()
	var e *cloud.Error
	if !errors.As(err, &e) || e.Code != code || e.Field != field {
		t.Errorf("error %v, want code %q about %q", err, code, field)
	}
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// operations are all methods of the service with good arguments, by the
// capability that each needs.
var operations = map[string]struct {
	needs cloud.Capability
	run   func(ctx context.Context, s cloud.KV, call cloud.Call, collection, key string) error
}{
	"get": {cloud.AppKvRead, func(ctx context.Context, s cloud.KV, call cloud.Call, c, k string) error {
		_, _, err := s.Get(ctx, call, c, k)
		return err
	}},
	"set": {cloud.AppKvWrite, func(ctx context.Context, s cloud.KV, call cloud.Call, c, k string) error {
		_, err := s.Set(ctx, call, c, k, json.RawMessage(`1`), cloud.KVSet{})
		return err
	}},
	"delete": {cloud.AppKvWrite, func(ctx context.Context, s cloud.KV, call cloud.Call, c, k string) error {
		_, err := s.Delete(ctx, call, c, k)
		return err
	}},
	"increment": {cloud.AppKvWrite, func(ctx context.Context, s cloud.KV, call cloud.Call, c, k string) error {
		_, err := s.Increment(ctx, call, c, k, 1)
		return err
	}},
	"getMany": {cloud.AppKvRead, func(ctx context.Context, s cloud.KV, call cloud.Call, c, k string) error {
		_, err := s.GetMany(ctx, call, c, []string{k})
		return err
	}},
	"list": {cloud.AppKvRead, func(ctx context.Context, s cloud.KV, call cloud.Call, c, k string) error {
		_, err := s.List(ctx, call, c, cloud.KVQuery{Prefix: k})
		return err
	}},
	"collections": {cloud.AppKvRead, func(ctx context.Context, s cloud.KV, call cloud.Call, c, _ string) error {
		_, err := s.Collections(ctx, call, c, 0)
		return err
	}},
}

func TestService_Gate(t *testing.T) {
	t.Parallel()
	user := &cloud.Principal{UserID: "u"}
	for name, op := range operations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := map[cloud.Capability]cloud.Capability{cloud.AppKvRead: cloud.AppKvWrite, cloud.AppKvWrite: cloud.AppKvRead}[op.needs]
			for _, c := range []struct {
				rule    string
				call    cloud.Call
				granted cloud.Capability
				want    cloud.Code
			}{
				{"a script for an anonymous caller is itself the gate", cloud.Call{AppID: app, ByScript: true}, "", ""},
				{"a script for a principal needs the capability", cloud.Call{AppID: app, ByScript: true, Principal: user}, op.needs, ""},
				{"a script for a principal without it is denied", cloud.Call{AppID: app, ByScript: true, Principal: user}, other, cloud.CodeForbidden},
				{"a principal needs the capability", cloud.Call{AppID: app, Principal: user}, op.needs, ""},
				{"a principal without it is denied", cloud.Call{AppID: app, Principal: user}, other, cloud.CodeForbidden},
				{"a principal has it in its own app alone", cloud.Call{AppID: "other", Principal: user}, op.needs, cloud.CodeForbidden},
				{"the anonymous are denied", cloud.Call{AppID: app}, op.needs, cloud.CodeForbidden},
				{"a call without an app is a fault", cloud.Call{ByScript: true}, op.needs, cloud.CodeInternal},
			} {
				var store kv.Store = kv.NewMemory()
				if c.want != "" {
					store = forbidden{}
				}
				s := kv.New(kv.Config{Store: store, Authorizer: grants{app: app, allowed: []cloud.Capability{c.granted}}})
				if err := op.run(t.Context(), s, c.call, "c", "k"); cloud.CodeOf(err) != c.want {
					t.Errorf("%s: error %v, want code %q", c.rule, err, c.want)
				}
			}
		})
	}
}

// A script must not read from its error whether its caller knows of the app.
func TestService_Gate_ofAnAppTheyMayNotKnow(t *testing.T) {
	t.Parallel()
	s := kv.New(kv.Config{Store: forbidden{}, Authorizer: grants{denial: cloud.CodeNotFound}})
	_, _, err := s.Get(t.Context(), cloud.Call{AppID: app, ByScript: true, Principal: &cloud.Principal{Name: "mia"}}, "c", "k")
	wantError(t, err, cloud.CodeForbidden, "")
}

func TestService_Names(t *testing.T) {
	t.Parallel()
	s := kv.New(kv.Config{Store: forbidden{}})
	long := strings.Repeat("k", cloud.MaxKVKey+1)
	for name, op := range operations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, bad := range []string{"", long, "a\x00b", "\xff"} {
				collection, key := "collection", "key"
				switch name {
				case "collections":
					collection = "after"
				case "list":
					key = "prefix"
				}
				if bad != "" || name != "collections" {
					wantError(t, op.run(t.Context(), s, byScript(app), bad, "k"), cloud.CodeInvalid, collection)
				}
				if bad != "" && name == "list" || name != "collections" && name != "list" {
					wantError(t, op.run(t.Context(), s, byScript(app), "c", bad), cloud.CodeInvalid, key)
				}
			}
			must(t, op.run(t.Context(), newService(), byScript(app), long[1:], long[1:]))
		})
	}
}

func TestService_AppFromCallAlone(t *testing.T) {
	t.Parallel()
	s := newService()
	_, err := s.Set(t.Context(), byScript("a"), "c", "k", json.RawMessage(`1`), cloud.KVSet{})
	must(t, err)
	_, ok, err := s.Get(t.Context(), byScript("b"), "c", "k")
	must(t, err)
	equal(t, ok, false)
}

func TestService_Set(t *testing.T) {
	t.Parallel()
	s := newService()
	set := func(value string, o cloud.KVSet) (cloud.KVEntry, error) {
		return s.Set(t.Context(), byScript(app), "c", "k", json.RawMessage(value), o)
	}
	quoted := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

	for _, value := range []string{
		`1`, ` {"a" : [1, 2.5e3]} `, `"\ud83d\ude00"`, `"\\u0000"`, `"\\\\ud800"`, `1e308`, `-1e-300`, `1e+10`,
		quoted(cloud.MaxKVValue), nested(500), `"[[[["`, "\"\u2028\"", strings.Repeat("9", 300), "0." + strings.Repeat("1", 1000),
	} {
		e, err := set(value, cloud.KVSet{})
		if err != nil {
			t.Errorf("%.60s: %v", value, err)
		}
		equal(t, string(e.Value), value)
	}
	for _, value := range []string{
		``, `{`, `undefined`, `1 2`, `'a'`, `"\ud800"`, `"\udc00"`, `"\ud800\u0041"`, `"\ud800\ud800"`, `"\ud800x"`, `"\u0000"`,
		`{"a\u0000":1}`, "\"\xff\"", `1e400`, `-1e309`, `1e-99999999999999999999`, nested(501), strings.Repeat("9", 400),
	} {
		_, err := set(value, cloud.KVSet{})
		wantError(t, err, cloud.CodeInvalid, "value")
	}
	for _, value := range []string{
		quoted(cloud.MaxKVValue + 1),
		"[" + strings.Repeat("1e300,", 1000) + "1]", // 300 KB once written out
	} {
		_, err := set(value, cloud.KVSet{})
		wantError(t, err, cloud.CodeLimit, "value")
	}

	_, err := set(`1`, cloud.KVSet{TTL: -1})
	wantError(t, err, cloud.CodeInvalid, "ttl")
	negative := int64(-1)
	_, err = set(`1`, cloud.KVSet{IfVersion: &negative})
	wantError(t, err, cloud.CodeInvalid, "ifVersion")
	e, err := set(`1`, cloud.KVSet{TTL: time.Minute})
	must(t, err)
	equal(t, e.ExpiresAt, noon.Add(time.Minute))
	e, err = set(`1`, cloud.KVSet{TTL: math.MaxInt64})
	must(t, err)
	equal(t, e.ExpiresAt, time.Time{}) // as good as never
}

func TestService_Increment(t *testing.T) {
	t.Parallel()
	for _, by := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := kv.New(kv.Config{Store: forbidden{}}).Increment(t.Context(), byScript(app), "c", "k", by)
		wantError(t, err, cloud.CodeInvalid, "by")
	}
}

func TestService_GetMany(t *testing.T) {
	t.Parallel()
	s := newService()
	keys := make([]string, cloud.MaxKVMany+1)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	_, err := s.GetMany(t.Context(), byScript(app), "c", keys)
	wantError(t, err, cloud.CodeInvalid, "keys")
	none, err := s.GetMany(t.Context(), byScript(app), "c", nil)
	must(t, err)
	equal(t, len(none), 0)

	for _, key := range keys {
		_, err := s.Set(t.Context(), byScript(app), "c", key, json.RawMessage(`"v"`), cloud.KVSet{})
		must(t, err)
	}
	got, err := s.GetMany(t.Context(), byScript(app), "c", []string{"k90", "absent", "k3", "k90", "k1"})
	must(t, err)
	equal(t, keysOf(got), []string{"k90", "k3", "k1"})
	got, err = s.GetMany(t.Context(), byScript(app), "c", keys[:cloud.MaxKVMany])
	must(t, err)
	equal(t, keysOf(got), keys[:cloud.MaxKVMany])

	big := json.RawMessage(`"` + strings.Repeat("x", cloud.MaxKVValue-2) + `"`)
	for _, key := range keys {
		_, err := s.Set(t.Context(), byScript(app), "c", key, big, cloud.KVSet{})
		must(t, err)
	}
	_, err = s.GetMany(t.Context(), byScript(app), "c", keys[:32])
	must(t, err)
	_, err = s.GetMany(t.Context(), byScript(app), "c", keys[:33])
	wantError(t, err, cloud.CodeLimit, "")
}

func keysOf(entries []cloud.KVEntry) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return keys
}

func TestService_List(t *testing.T) {
	t.Parallel()
	s := newService()
	var all []string
	for i := range 105 {
		key := fmt.Sprintf("k%03d", i)
		all = append(all, key)
		_, err := s.Set(t.Context(), byScript(app), "c", key, json.RawMessage(`1`), cloud.KVSet{})
		must(t, err)
	}
	list := func(q cloud.KVQuery) cloud.KVPage {
		t.Helper()
		p, err := s.List(t.Context(), byScript(app), "c", q)
		must(t, err)
		return p
	}
	t.Run("the default is a page of 100", func(t *testing.T) {
		p := list(cloud.KVQuery{})
		equal(t, keysOf(p.Entries), all[:100])
		p = list(cloud.KVQuery{Cursor: p.Cursor})
		equal(t, keysOf(p.Entries), all[100:])
		equal(t, p.Cursor, "")
	})
	for _, values := range []bool{false, true} {
		for _, limit := range []int{1, 7, 35, 105, 1000} {
			var got []string
			q := cloud.KVQuery{Limit: limit, Values: values}
			for {
				p := list(q)
				got = append(got, keysOf(p.Entries)...)
				for _, e := range p.Entries {
					equal(t, e.Value != nil, values)
				}
				if p.Cursor == "" {
					break
				}
				equal(t, len(p.Entries), limit)
				q.Cursor = p.Cursor
			}
			equal(t, got, all)
		}
	}
	t.Run("what it did not make is no cursor", func(t *testing.T) {
		cursor := list(cloud.KVQuery{Prefix: "k0", Limit: 1}).Cursor
		for _, q := range []cloud.KVQuery{
			{Cursor: "x"}, {Cursor: "AQ"}, {Cursor: "Amsw"}, {Cursor: cursor + "="}, {Cursor: cursor + "\n"}, {Cursor: cursor, Prefix: "k1"}, {Cursor: "AQA"}, {Cursor: "Af8"},
		} {
			_, err := s.List(t.Context(), byScript(app), "c", q)
			wantError(t, err, cloud.CodeInvalid, "cursor")
		}
	})
	t.Run("limits are bounded", func(t *testing.T) {
		for _, limit := range []int{-1, 1001} {
			_, err := s.List(t.Context(), byScript(app), "c", cloud.KVQuery{Limit: limit})
			wantError(t, err, cloud.CodeInvalid, "limit")
			_, err = s.Collections(t.Context(), byScript(app), "", limit)
			wantError(t, err, cloud.CodeInvalid, "limit")
		}
	})
	t.Run("a page with values ends early", func(t *testing.T) {
		big := json.RawMessage(`"` + strings.Repeat("x", cloud.MaxKVValue-2) + `"`)
		for _, key := range all[:70] {
			_, err := s.Set(t.Context(), byScript(app), "big", key, big, cloud.KVSet{})
			must(t, err)
		}
		var got []string
		q := cloud.KVQuery{Limit: 1000, Values: true}
		for _, want := range []int{32, 32, 6} {
			p, err := s.List(t.Context(), byScript(app), "big", q)
			must(t, err)
			equal(t, len(p.Entries), want)
			got = append(got, keysOf(p.Entries)...)
			q.Cursor = p.Cursor
		}
		equal(t, q.Cursor, "")
		equal(t, got, all[:70])
	})
}

func TestService_Sweep(t *testing.T) {
	t.Parallel()
	store := kv.NewMemory()
	now := noon
	s := kv.New(kv.Config{Store: store, Now: func() time.Time { return now }})
	set := func(n int) {
		for i := range n {
			_, err := s.Set(t.Context(), byScript(app), "c", fmt.Sprint(now.Unix(), i), json.RawMessage(`1`), cloud.KVSet{TTL: time.Second})
			must(t, err)
		}
	}
	left := func() int {
		n := 0
		for {
			swept, err := store.Sweep(t.Context(), now, 1)
			must(t, err)
			if swept == 0 {
				return n
			}
			n++
		}
	}
	set(150)
	now = now.Add(time.Hour)
	set(50) // the 200th write sweeps
	equal(t, left(), 0)
	set(99) // 50 of them again
	now = now.Add(time.Hour)
	equal(t, left(), 99)
	set(450)
	now = now.Add(time.Hour)
	n, err := s.Sweep(t.Context())
	must(t, err)
	equal(t, n, 450)
}

// causes notes what the store is told led to its changes.
type causes struct {
	*kv.Memory
	got []cloud.Cause
}

func (c *causes) Set(ctx context.Context, cause cloud.Cause, appID, collection, key string, value json.RawMessage, expires time.Time, ifVersion *int64, now time.Time) (cloud.KVEntry, error) {
	c.got = append(c.got, cause)
	return c.Memory.Set(ctx, cause, appID, collection, key, value, expires, ifVersion, now)
}

func (c *causes) Delete(ctx context.Context, cause cloud.Cause, appID, collection, key string, now time.Time) (bool, error) {
	c.got = append(c.got, cause)
	return c.Memory.Delete(ctx, cause, appID, collection, key, now)
}

func (c *causes) Increment(ctx context.Context, cause cloud.Cause, appID, collection, key string, by float64, now time.Time) (float64, error) {
	c.got = append(c.got, cause)
	return c.Memory.Increment(ctx, cause, appID, collection, key, by, now)
}

func TestService_Cause(t *testing.T) {
	t.Parallel()
	store := &causes{Memory: kv.NewMemory()}
	s := kv.New(kv.Config{Store: store})
	call := cloud.Call{AppID: cloud.NewID(), ByScript: true, ExecutionID: cloud.NewID(), Depth: 3}
	_, err := s.Set(t.Context(), call, "c", "k", json.RawMessage(`1`), cloud.KVSet{})
	if err == nil {
		_, err = s.Increment(t.Context(), call, "c", "k", 1)
	}
	if err == nil {
		_, err = s.Delete(t.Context(), call, "c", "k")
	}
	if err != nil {
		t.Fatal(err)
	}
	want := cloud.Cause{ExecutionID: call.ExecutionID, Depth: 3}
	if !slices.Equal(store.got, []cloud.Cause{want, want, want}) {
		t.Errorf("causes %v, want three of %v", store.got, want)
	}
}
