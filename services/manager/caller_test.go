package manager

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "192.0.2.7": "192.0.2.7", "[2001:db8::1]:80": "2001:db8::1", "2001:db8::1": "2001:db8::1",
		"[::ffff:192.0.2.7]:80": "192.0.2.7", "[fe80::1%eth0]:80": "fe80::1", "fe80::1%eth0": "fe80::1",
		"": "", "@": "", "localhost:80": "", "192.0.2.7:port": "", "192.0.2.7, 10.0.0.1": "",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%q is %q, want %q", remote, got, want)
		}
	}
}

func TestNewAuditEntry(t *testing.T) {
	r := httptest.NewRequest(http.MethodDelete, "/", nil)
	r.SetPathValue("app", "shop")
	r.SetPathValue("script", "hello")
	r.SetPathValue("user", "MIA")
	r.SetPathValue("key", "k")
	app := cloud.App{ID: "a", Slug: "shop"}
	ada := &cloud.Principal{UserID: "u", Name: "ada", SessionID: "s"}
	keyed := &cloud.Principal{UserID: "u", Name: "ada", Key: &cloud.Key{Name: "ci"}}
	for _, test := range []struct {
		path   string
		rule   rule
		caller caller
		want   cloud.AuditEntry
	}{
		{"/apps", rule{}, caller{principal: ada}, cloud.AuditEntry{UserID: "u", UserName: "ada", Via: "session"}},
		{"/apps", rule{}, caller{principal: keyed}, cloud.AuditEntry{UserID: "u", UserName: "ada", Via: "key ci"}},
		{"/sessions", rule{via: "log-in"}, caller{client: cloud.Client{Address: "192.0.2.7"}}, cloud.AuditEntry{Via: "log-in", Address: "192.0.2.7"}},
		{
			"/apps/{app}/scripts/{script}/rollback", rule{}, caller{principal: ada, app: app},
			cloud.AuditEntry{UserID: "u", UserName: "ada", Via: "session", AppID: "a", AppSlug: "shop", Target: "scripts/hello"},
		},
		{
			"/users/{user}/keys/{key}", rule{}, caller{principal: ada, user: cloud.User{Name: "mia"}},
			cloud.AuditEntry{UserID: "u", UserName: "ada", Via: "session", Target: "users/mia/keys/k"},
		},
		{
			"/apps/{app}/members/{user}", rule{}, caller{principal: ada, app: app},
			cloud.AuditEntry{UserID: "u", UserName: "ada", Via: "session", AppID: "a", AppSlug: "shop", Target: "members/MIA"},
		},
	} {
		test.want.Action = "do-it"
		if got := *newAuditEntry(huma.Operation{OperationID: "do-it", Path: test.path}, test.rule, r, &test.caller); got != test.want {
			t.Errorf("%s:\n got %+v\nwant %+v", test.path, got, test.want)
		}
	}
}

func TestAbout_whatThereIsRoomFor(t *testing.T) {
	entry := &cloud.AuditEntry{}
	ctx := cloud.WithAudit(t.Context(), entry)
	var things []string
	for i := range 200 {
		things = append(things, thing("scripts", fmt.Sprintf("script-%03d", i))+fact("version", i+1))
	}
	about(ctx, things...)
	if !strings.HasPrefix(entry.Target, "scripts/script-000 version=1, scripts/script-001 version=2, ") || !strings.HasSuffix(entry.Target, " version=16, 184 more") || len(entry.Target) > maxTarget {
		t.Errorf("target = %q", entry.Target)
	}
	about(ctx, strings.Repeat("ä", maxTarget))
	if want := strings.Repeat("ä", 248) + "…"; entry.Target != want {
		t.Errorf("target = %q, want %q", entry.Target, want)
	}
	about(t.Context(), "scripts/a") // of an unrecorded change
	note(t.Context(), fact("role", "owner"))
	rename(t.Context(), "a", "b")
}

// No name and no value looks like another fact, or leaves no room for one.
func TestAbout_whatIsNoFact(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"ci", `keys/ci name=ci`},
		{"the ci", `keys/the ci name="the ci"`},
		{"ci scopes=log:read", `keys/"ci scopes=log:read" name="ci scopes=log:read"`},
		{`"`, `keys/"\"" name="\""`},
		{"a, users/root", `keys/"a, users/root" name="a, users/root"`},
		{"\u202Eic", `keys/"\u202eic" name="\u202eic"`},
		{"", `keys/""`},
	} {
		if got := thing("keys", test.name) + fact("name", test.name); got != test.want {
			t.Errorf("%q: %s, want %s", test.name, got, test.want)
		}
	}
	for _, long := range []string{strings.Repeat("x", 300), strings.Repeat("\U000e0001", 100)} {
		entry := &cloud.AuditEntry{Target: "keys/ID"}
		ctx := cloud.WithAudit(t.Context(), entry)
		rename(ctx, "ID", long)
		note(ctx, fact("role", "owner"), setTo("active", new(false)))
		if !strings.HasSuffix(entry.Target, " role=owner active=false") || len(entry.Target) > maxTarget {
			t.Errorf("target = %q", entry.Target)
		}
	}
}
