package manager_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/manager"
)

func TestAPI_members(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.must("POST", "/apps", `{"slug":"shop"}`)
	s.must("POST", "/apps", `{"slug":"secret"}`)
	mia, ben := s.user("mia", cloud.Member), s.user("ben", cloud.Member)
	admin := s.user("ada", cloud.Admin)
	app := func(role string) string {
		return `{"id":"*","slug":"shop","name":"shop","my_role":"` + role + `","url":"http://shop.localhost:8080","created_at":"*","updated_at":"*"}`
	}
	const miaIsAdmin = `{"user_id":"*","name":"mia","role":"app_admin","created_at":"*"}`

	s.as(mia, "GET", "/api/v1/apps", nil).is(200, `{"items":[]}`)
	s.owner("PUT", "/apps/shop/members/mia", `{"role":"app_admin"}`).is(200, miaIsAdmin)
	s.as(mia, "GET", "/api/v1/apps", nil).is(200, `{"items":[`+app("app_admin")+`]}`)
	s.as(admin, "GET", "/api/v1/apps/shop", nil).is(200, app("editor"))
	s.owner("GET", "/apps/shop", nil).is(200, app("app_admin"))

	benID := s.must("GET", "/users/ben", nil)["id"].(string)
	s.as(mia, "PUT", "/api/v1/apps/shop/members/"+benID, `{"role":"viewer"}`).is(200, `{"user_id":"*","name":"ben","role":"viewer","created_at":"*"}`)
	s.as(ben, "GET", "/api/v1/apps/shop/members", nil).is(200, `{"items":[{"user_id":"*","name":"ben","role":"viewer","created_at":"*"},`+miaIsAdmin+`]}`)
	s.as(ben, "GET", "/api/v1/apps/shop", nil).is(200, app("viewer"))
	s.as(ben, "PUT", "/api/v1/apps/shop/members/ben", `{"role":"app_admin"}`).fails(403, cloud.CodeForbidden, "", "ben may not do this (AppManageMembers): it takes the role app_admin in the app")
	s.as(admin, "PUT", "/api/v1/apps/shop/members/ada", `{"role":"app_admin"}`).fails(403, cloud.CodeForbidden, "", "…")
	s.as(mia, "PUT", "/api/v1/apps/secret/members/mia", `{"role":"viewer"}`).fails(404, cloud.CodeNotFound, "", `there is no app "secret", or none that you may see`)

	s.owner("PUT", "/apps/shop/members/nobody", `{"role":"viewer"}`).fails(404, cloud.CodeNotFound, "", "…")
	s.owner("PUT", "/apps/shop/members/%00", `{"role":"viewer"}`).fails(404, cloud.CodeNotFound, "", "…")
	s.owner("PUT", "/apps/shop/members/ben", `{"role":"owner"}`).fails(422, cloud.CodeInvalid, "role", "…")
	s.owner("DELETE", "/apps/shop/members/ada", nil).fails(404, cloud.CodeNotFound, "", "…")

	s.as(mia, "PUT", "/api/v1/apps/shop/members/ben", `{"role":"editor"}`).is(200, `{"user_id":"*","name":"ben","role":"editor","created_at":"*"}`)
	s.as(ben, "GET", "/api/v1/apps/shop", nil).is(200, app("editor"))
	s.as(mia, "DELETE", "/api/v1/apps/shop/members/ben", nil).empty()
	s.as(ben, "GET", "/api/v1/apps/shop", nil).fails(404, cloud.CodeNotFound, "", `there is no app "shop", or none that you may see`)
	s.as(ben, "GET", "/api/v1/apps", nil).is(200, `{"items":[]}`)
}

// Who makes an app may do everything in it.
func TestAPI_creatorsAreAppAdmins(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	ada := s.user("ada", cloud.Admin)
	app := func(slug string) string {
		return `{"id":"*","slug":"` + slug + `","name":"` + slug + `","my_role":"app_admin","url":"http://` + slug + `.localhost:8080","created_at":"*","updated_at":"*"}`
	}
	s.as(ada, "POST", "/api/v1/apps", `{"slug":"shop"}`).is(201, app("shop"))
	s.as(ada, "GET", "/api/v1/apps/shop", nil).is(200, app("shop"))
	s.owner("GET", "/apps/shop/members", nil).is(200, `{"items":[{"user_id":"*","name":"ada","role":"app_admin","created_at":"*"}]}`)

	s.owner("POST", "/apps", `{"slug":"other"}`).is(201, app("other"))
	s.owner("GET", "/apps/other/members", nil).is(200, `{"items":[]}`)
	s.as(ada, "DELETE", "/api/v1/apps/other", nil).fails(403, cloud.CodeForbidden, "", "ada may not do this (AppAdmin): it takes the role app_admin in the app")

	key := s.as(ada, "POST", "/api/v1/me/keys", map[string]any{"name": "ci", "scopes": cloud.Scopes}).decode(201)["token"].(string)
	s.as(key, "POST", "/api/v1/apps", `{"slug":"keyed"}`).is(201, app("keyed"))
	s.as(key, "DELETE", "/api/v1/apps/keyed", nil).empty()
	s.as(ada, "DELETE", "/api/v1/apps/shop", nil).empty()

	s.let("gone", cloud.Principal{UserID: cloud.NewID(), Name: "gone", Role: cloud.Admin})
	s.as("gone", "POST", "/api/v1/apps", `{"slug":"theirs"}`).fails(404, cloud.CodeNotFound, "", "the user does not exist any more")
	s.owner("GET", "/apps/theirs", nil).fails(404, cloud.CodeNotFound, "", "…")
}

// A store that counts what finding an app costs.
type countingStore struct {
	manager.Store
	reads *atomic.Int64
}

func (s countingStore) App(ctx context.Context, ref string) (cloud.App, error) {
	s.reads.Add(1)
	return s.Store.App(ctx, ref)
}

func (s countingStore) Domains(ctx context.Context, appID string) ([]cloud.Domain, error) {
	s.reads.Add(1)
	return s.Store.Domains(ctx, appID)
}

// Who may not know of an app learns nothing of it, by text or by work done.
func TestAPI_hiddenAppsAreAsThoseThatDoNotExist(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	s := start(t, func(_ *server, c *manager.Config) { c.Store = countingStore{c.Store, &reads} })
	hidden := s.must("POST", "/apps", `{"slug":"hidden"}`)["id"].(string)
	s.must("PATCH", "/apps/hidden", `{"slug":"secret"}`)
	mia := s.user("mia", cloud.Member)
	s.let("bound", cloud.Principal{UserID: cloud.NewID(), Name: "bound", Role: cloud.Owner, Key: &cloud.Key{Scopes: cloud.Scopes, AppID: cloud.NewID()}})
	asked := 0
	for id, op := range s.operations() {
		for _, who := range []string{mia, "bound"} {
			if !strings.HasPrefix(op.path, "/api/v1/apps/{app}") {
				continue
			}
			asked++
			ask := func(ref string) int64 {
				before := reads.Load()
				a := s.as(who, op.method, op.exampleIn(ref), `{"body":"is not read"}`)
				a.what = id + " of " + ref
				a.fails(404, cloud.CodeNotFound, "", `there is no app "`+ref+`", or none that you may see`)
				return reads.Load() - before
			}
			nothing := ask("nothing")
			for _, ref := range []string{"secret", "hidden", hidden, cloud.NewID()} {
				if got := ask(ref); got != nothing {
					t.Errorf("%s of %s: %d reads, of an app that does not exist %d", id, ref, got, nothing)
				}
			}
		}
	}
	if asked < 60 {
		t.Errorf("only %d questions were asked", asked)
	}
}
