package accounts_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

func TestService_CreateKey(t *testing.T) {
	t.Parallel()
	scopes := []cloud.Scope{cloud.ScopeScriptRead, cloud.ScopeLogRead}
	t.Run("makes one that does what it says", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		expires := w.now.Add(time.Hour)
		key, token, err := w.CreateKey(t.Context(), olga, cloud.KeyDraft{Name: "laptop", Scopes: scopes, AppID: w.app, ExpiresAt: expires.Add(500)})
		w.must(err)
		want := cloud.APIKey{ID: key.ID, UserID: olga.UserID, Name: "laptop", Scopes: scopes, AppID: w.app, ExpiresAt: expires, CreatedAt: w.now}
		if !reflect.DeepEqual(key, want) {
			t.Errorf("key %+v, want %+v", key, want)
		}
		if keys, err := w.Keys(t.Context(), olga.UserID); err != nil || !reflect.DeepEqual(keys, []cloud.APIKey{want}) {
			t.Errorf("keys %+v, %v", keys, err)
		}
		p := w.principal(token)
		if got, want := *p.Key, (cloud.Key{ID: key.ID, Name: "laptop", Scopes: scopes, AppID: w.app, ExpiresAt: expires}); !reflect.DeepEqual(got, want) || p.SessionID != "" {
			t.Errorf("principal's key %+v, want %+v", got, want)
		}
		w.pass(time.Hour)
		_, err = w.Authenticate(t.Context(), token)
		w.code(err, cloud.CodeUnauthorized, "")
	})
	t.Run("refuses what is no key", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		for field, drafts := range map[string][]cloud.KeyDraft{
			"name": {
				{Scopes: scopes}, {Name: strings.Repeat("é", cloud.MaxKeyName+1), Scopes: scopes},
				{Name: "a\nb", Scopes: scopes}, {Name: "a\x00", Scopes: scopes}, {Name: "\xff", Scopes: scopes},
			},
			"scopes": {
				{Name: "k"}, {Name: "k", Scopes: []cloud.Scope{"script:*"}}, {Name: "k", Scopes: []cloud.Scope{""}},
				{Name: "k", Scopes: []cloud.Scope{cloud.ScopeLogRead, cloud.ScopeLogRead}},
				{Name: "k", Scopes: cloud.Scopes, AppID: w.app},
			},
			"app": {
				{Name: "k", Scopes: scopes, AppID: noApp}, {Name: "k", Scopes: scopes, AppID: "blog"},
			},
			"expires_at": {
				{Name: "k", Scopes: scopes, ExpiresAt: w.now}, {Name: "k", Scopes: scopes, ExpiresAt: time.Unix(0, 0)},
				{Name: "k", Scopes: scopes, ExpiresAt: w.now.AddDate(101, 0, 0)},
			},
		} {
			for _, draft := range drafts {
				_, _, err := w.CreateKey(t.Context(), olga, draft)
				w.code(err, cloud.CodeInvalid, field)
			}
		}
		_, _, err := w.CreateKey(t.Context(), nil, cloud.KeyDraft{Name: "k", Scopes: scopes})
		w.code(err, cloud.CodeForbidden, "")
		if keys, err := w.Keys(t.Context(), olga.UserID); err != nil || len(keys) != 0 {
			t.Errorf("keys %+v, %v", keys, err)
		}
	})
	t.Run("an app that the user may not know of is none", func(t *testing.T) {
		w := newWorld(t)
		w.claim()
		_, ann := w.user("ann", cloud.Member)
		_, _, of := w.CreateKey(t.Context(), ann, cloud.KeyDraft{Name: "k", Scopes: scopes, AppID: w.app})
		w.code(of, cloud.CodeInvalid, "app")
		_, _, none := w.CreateKey(t.Context(), ann, cloud.KeyDraft{Name: "k", Scopes: scopes, AppID: noApp})
		if none == nil || none.Error() != of.Error() {
			t.Errorf("%v and %v differ", of, none)
		}
	})
	t.Run("a key makes none that can do more", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		hour := w.now.Add(time.Hour)
		other := cloud.NewID()
		free, _ := w.key(olga, cloud.KeyDraft{Name: "free", Scopes: scopes})
		bound, _ := w.key(olga, cloud.KeyDraft{Name: "bound", Scopes: scopes, AppID: w.app})
		short, _ := w.key(olga, cloud.KeyDraft{Name: "short", Scopes: scopes, ExpiresAt: hour})
		for _, test := range []struct {
			name  string
			by    *cloud.Principal
			draft cloud.KeyDraft
			want  cloud.Code
		}{
			{"the same", free, cloud.KeyDraft{Scopes: scopes}, ""},
			{"fewer scopes", free, cloud.KeyDraft{Scopes: scopes[:1]}, ""},
			{"another scope", free, cloud.KeyDraft{Scopes: []cloud.Scope{cloud.ScopeScriptWrite}}, cloud.CodeForbidden},
			{"one scope more", free, cloud.KeyDraft{Scopes: append(slices.Clone(scopes), cloud.ScopeInstanceAdmin)}, cloud.CodeForbidden},
			{"bound by free", free, cloud.KeyDraft{Scopes: scopes, AppID: w.app}, ""},
			{"bound by bound", bound, cloud.KeyDraft{Scopes: scopes, AppID: w.app}, ""},
			{"free by bound", bound, cloud.KeyDraft{Scopes: scopes}, cloud.CodeForbidden},
			{"bound by one bound elsewhere", bound, cloud.KeyDraft{Scopes: scopes, AppID: other}, cloud.CodeForbidden},
			{"as long as itself", short, cloud.KeyDraft{Scopes: scopes, ExpiresAt: hour}, ""},
			{"longer than itself", short, cloud.KeyDraft{Scopes: scopes, ExpiresAt: hour.Add(time.Microsecond)}, cloud.CodeForbidden},
			{"for ever by one that expires", short, cloud.KeyDraft{Scopes: scopes}, cloud.CodeForbidden},
		} {
			test.draft.Name = test.name
			_, token, err := w.CreateKey(t.Context(), test.by, test.draft)
			w.secret(token)
			if cloud.CodeOf(err) != test.want {
				t.Errorf("%s: %v, want %q", test.name, err, test.want)
			}
			if (token == "") != (err != nil) {
				t.Errorf("%s: token %q and error %v", test.name, token, err)
			}
		}
	})
	t.Run("a key that was revoked makes none", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		key, _ := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: scopes})
		w.must(w.RevokeKey(t.Context(), olga.UserID, key.Key.ID))
		_, _, err := w.CreateKey(t.Context(), key, cloud.KeyDraft{Name: "k", Scopes: scopes})
		w.code(err, cloud.CodeUnauthorized, "")
	})
	t.Run("there is a bound", func(t *testing.T) {
		w := newWorld(t)
		_, olga := w.claim()
		for i := range cloud.MaxKeysPerUser {
			w.key(olga, cloud.KeyDraft{Name: fmt.Sprint(i), Scopes: scopes})
		}
		_, _, err := w.CreateKey(t.Context(), olga, cloud.KeyDraft{Name: "k", Scopes: scopes})
		w.code(err, cloud.CodeLimit, "")
	})
}

func TestService_RevokeKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, olga := w.claim()
	_, ann := w.user("ann", cloud.Admin)
	key, token := w.key(olga, cloud.KeyDraft{Name: "k", Scopes: cloud.Scopes})
	w.code(w.RevokeKey(t.Context(), ann.UserID, key.Key.ID), cloud.CodeNotFound, "")
	w.code(w.RevokeKey(t.Context(), olga.UserID, "k"), cloud.CodeNotFound, "")
	w.principal(token)
	w.must(w.RevokeKey(t.Context(), olga.UserID, key.Key.ID))
	_, err := w.Authenticate(t.Context(), token)
	w.code(err, cloud.CodeUnauthorized, "")
	w.code(w.RevokeKey(t.Context(), olga.UserID, key.Key.ID), cloud.CodeNotFound, "")
}

// Whoever had a leaked key has no other that was made by it.
func TestService_RevokeKey_madeByIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, olga := w.claim()
	leaked, _ := w.key(olga, cloud.KeyDraft{Name: "leaked", Scopes: cloud.Scopes})
	child, childToken := w.key(leaked, cloud.KeyDraft{Name: "child", Scopes: cloud.Scopes})
	_, grandchildToken := w.key(child, cloud.KeyDraft{Name: "grandchild", Scopes: cloud.Scopes})
	_, ownToken := w.key(olga, cloud.KeyDraft{Name: "own", Scopes: cloud.Scopes})
	w.must(w.RevokeKey(t.Context(), olga.UserID, leaked.Key.ID))
	for _, token := range []string{childToken, grandchildToken} {
		_, err := w.Authenticate(t.Context(), token)
		w.code(err, cloud.CodeUnauthorized, "")
	}
	w.principal(ownToken)
}
