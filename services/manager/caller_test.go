package manager

import (
	"net/http"
	"net/http/httptest"
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

func TestAbout_namesAFew(t *testing.T) {
	entry := &cloud.AuditEntry{}
	ctx := cloud.WithAudit(t.Context(), entry)
	about(ctx, "scripts", "a", "b", "c", "d", "e", "f", "g")
	if want := "scripts/a, scripts/b, scripts/c, scripts/d, scripts/e, 2 more"; entry.Target != want {
		t.Errorf("target = %q, want %q", entry.Target, want)
	}
	about(t.Context(), "scripts", "a") // of an unrecorded change
	rename(t.Context(), "a", "b")
}
