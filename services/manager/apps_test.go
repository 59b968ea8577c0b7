package manager_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/manager"
)

func TestAPI_apps(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const shop = `{"id":"*","slug":"shop","name":"The Shop","my_role":"app_admin","url":"http://shop.localhost:8080","created_at":"*","updated_at":"*"}`

	t.Run("create, show by slug and by id, list by slug", func(t *testing.T) {
		s.owner("POST", "/apps", `{"slug":"shop","name":"The Shop"}`).is(201, shop)
		s.owner("GET", "/apps/shop", nil).is(200, shop)
		id := s.must("GET", "/apps/shop", nil)["id"].(string)
		s.owner("GET", "/apps/"+id, nil).is(200, shop)
		s.owner("GET", "/apps", nil).is(200, `{"items":[
			{"id":"*","slug":"default","name":"default","my_role":"app_admin","url":"http://localhost:8080","created_at":"*","updated_at":"*"},`+shop+`]}`)
	})
	t.Run("the name defaults to the slug", func(t *testing.T) {
		s.owner("POST", "/apps", `{"slug":"plain"}`).is(201,
			`{"id":"*","slug":"plain","name":"plain","my_role":"app_admin","url":"http://plain.localhost:8080","created_at":"*","updated_at":"*"}`)
	})
	t.Run("bad input", func(t *testing.T) {
		s.owner("POST", "/apps", `{"slug":"shop"}`).fails(409, cloud.CodeConflict, "slug", `another app has the slug "shop"; choose another`)
		s.owner("POST", "/apps", `{"slug":"Shop"}`).fails(422, cloud.CodeInvalid, "slug", `"Shop": the character 'S' at position 1 is not one of a-z, 0-9 and -`)
		s.owner("POST", "/apps", `{"slug":""}`).fails(422, cloud.CodeInvalid, "slug", "is empty…")
		s.owner("POST", "/apps", `{"slug":"picloud"}`).fails(422, cloud.CodeInvalid, "slug", `"picloud" would answer on picloud.local, which is the device's own name`)
		s.owner("POST", "/apps", map[string]any{"slug": "x", "name": strings.Repeat("ü", 101)}).fails(422, cloud.CodeInvalid, "name", "has 101 characters; at most 100 are allowed")
		s.owner("POST", "/apps", `{"slug":"x","name":"a\u0000b"}`).fails(422, cloud.CodeInvalid, "name", `"a\x00b" has a control character or is not valid UTF-8`)
		s.owner("GET", "/apps/nothing", nil).fails(404, cloud.CodeNotFound, "", `there is no app "nothing", or none that you may see`)
		s.owner("GET", "/apps/%00", nil).fails(404, cloud.CodeNotFound, "", `there is no app "\x00", or none that you may see`)
		if got := s.must("GET", "/apps", nil)["items"].([]any); len(got) != 3 {
			t.Errorf("refusals left %d apps, want 3", len(got))
		}
	})
	t.Run("renaming keeps the old slug as a way to it until another app takes it", func(t *testing.T) {
		const store = `{"id":"*","slug":"store","name":"The Shop","my_role":"app_admin","url":"http://store.localhost:8080","created_at":"*","updated_at":"*"}`
		s.owner("PATCH", "/apps/shop", `{"slug":"store"}`).is(200, store)
		s.owner("GET", "/apps/shop", nil).is(200, store)
		s.must("POST", "/apps", `{"slug":"shop"}`)
		s.owner("GET", "/apps/shop", nil).is(200, `{"id":"*","slug":"shop","name":"shop","my_role":"app_admin","url":"http://shop.localhost:8080","created_at":"*","updated_at":"*"}`)
		s.owner("PATCH", "/apps/store", `{"slug":"shop"}`).fails(409, cloud.CodeConflict, "slug", `another app has the slug "shop"; choose another`)
		s.owner("PATCH", "/apps/store", `{"name":""}`).fails(422, cloud.CodeInvalid, "name", `is empty`)
	})
	t.Run("renaming is refused while a route names the old host", func(t *testing.T) {
		s.must("POST", "/apps/plain/deploy", map[string]any{"scripts": []any{map[string]any{
			"name": "hi", "source": endpoint(""), "routes": []any{map[string]any{"host": "plain.local", "path": "/hi"}},
		}}})
		s.owner("PATCH", "/apps/plain", `{"slug":"fancy"}`).fails(409, cloud.CodeConflict, "",
			"the route ANY plain.local/hi of plain answers on a host that would no longer be the app's; delete the route first")
	})
	t.Run("the default app can be neither renamed nor deleted", func(t *testing.T) {
		s.owner("PATCH", "/apps/default", `{"slug":"other"}`).fails(422, cloud.CodeInvalid, "slug", `the app "default" cannot be renamed`)
		s.owner("DELETE", "/apps/default", nil).fails(422, cloud.CodeInvalid, "app", `the app "default" cannot be deleted`)
		s.owner("PATCH", "/apps/default", `{"name":"Home"}`).is(200, `{"id":"*","slug":"default","name":"Home","my_role":"app_admin","url":"http://localhost:8080","created_at":"*","updated_at":"*"}`)
	})
	t.Run("delete", func(t *testing.T) {
		s.owner("DELETE", "/apps/store", nil).empty()
		s.owner("GET", "/apps/store", nil).fails(404, cloud.CodeNotFound, "", `…`)
	})
}

func TestAPI_appsAreReachedFromWhereTheCallerIs(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.must("POST", "/apps", `{"slug":"shop"}`)
	url := func(host string) any {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.http.URL+"/api/v1/apps/shop", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Authorization", "bearer owner")
		a := s.do(r)
		_, after, _ := strings.Cut(string(a.body), `"url":"`)
		before, _, _ := strings.Cut(after, `"`)
		return before
	}
	for host, want := range map[string]string{
		"localhost:8080":     "http://shop.localhost:8080",
		"localhost":          "http://shop.localhost",
		"picloud.local":      "http://shop.local",
		"picloud.local:8080": "http://shop.local:8080",
		"[::1]:8080":         "http://shop.localhost:8080",
	} {
		if got := url(host); got != want {
			t.Errorf("seen from %s the app is at %s, want %s", host, got, want)
		}
	}
	s.must("POST", "/apps/shop/domains", `{"host":"*.example.com"}`)
	s.must("POST", "/apps/shop/domains", `{"host":"shop.example.com"}`)
	if got, want := url("picloud.local:8080"), "http://shop.example.com:8080"; got != want {
		t.Errorf("with an exact domain the app is at %s, want %s", got, want)
	}
}

func TestAPI_quotas(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *server, c *manager.Config) {
		c.Quotas = manager.Quotas{Apps: 2, Scripts: 1, Routes: 1, Domains: 1}
	})
	s.must("POST", "/apps", `{"slug":"shop"}`)
	s.owner("POST", "/apps", `{"slug":"one-too-many"}`).fails(507, cloud.CodeLimit, "", "this instance has 2 apps, the most it keeps; delete one first")
	s.must("PUT", "/apps/shop/scripts/a", map[string]any{"source": endpoint("")})
	s.owner("PUT", "/apps/shop/scripts/b", map[string]any{"source": endpoint("")}).fails(507, cloud.CodeLimit, "", "the app would have 2 scripts; at most 1 are allowed")
	s.must("PUT", "/apps/shop/scripts/a", map[string]any{"source": endpoint("2")})
	s.must("POST", "/apps/shop/routes", `{"script":"a","path":"/a"}`)
	s.owner("POST", "/apps/shop/routes", `{"script":"a","path":"/b"}`).fails(507, cloud.CodeLimit, "", "the app has 1 routes, the most it may have")
	s.must("POST", "/apps/shop/domains", `{"host":"a.example.com"}`)
	s.owner("POST", "/apps/shop/domains", `{"host":"b.example.com"}`).fails(507, cloud.CodeLimit, "", "the app has 1 domains, the most it may have")
}

// The caller's next request must see the change.
func TestAPI_everyChangeIsReloadedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	id := s.must("POST", "/apps", `{"slug":"shop"}`)["id"].(string)
	changes := []func(){
		func() { s.must("PATCH", "/apps/shop", `{"name":"The Shop"}`) },
		func() { s.must("PUT", "/apps/shop/scripts/a", map[string]any{"source": endpoint("")}) },
		func() { s.must("PUT", "/apps/shop/scripts/a", map[string]any{"source": endpoint("2")}) },
		func() { s.must("POST", "/apps/shop/scripts/a/rollback", `{"version":1}`) },
		func() {
			route := s.must("POST", "/apps/shop/routes", `{"script":"a","path":"/a"}`)
			s.must("DELETE", "/apps/shop/routes/"+route["id"].(string), nil)
		},
		func() {
			s.must("POST", "/apps/shop/deploy", map[string]any{"scripts": []any{map[string]any{"name": "b", "source": endpoint("")}}})
		},
		func() { s.must("DELETE", "/apps/shop/scripts/b", nil) },
		func() { s.must("POST", "/apps/shop/domains", `{"host":"a.example.com"}`) },
		func() { s.must("DELETE", "/apps/shop/domains/a.example.com", nil) },
		func() { s.must("DELETE", "/apps/shop", nil) },
	}
	for _, change := range changes {
		change()
	}
	if want := slices.Repeat([]string{id}, len(changes)+2); !slices.Equal(s.reloads, want) {
		t.Errorf("reloads = %v, want %d of %s", s.reloads, len(want), id)
	}
}

func TestAPI_aFailedReloadIsLoggedAndNotAnswered(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.reloadErr = cloud.Errorf(cloud.CodeUnavailable, "no memory left")
	s.must("POST", "/apps", `{"slug":"shop"}`)
	s.must("PATCH", "/apps/shop", `{"name":"The Shop"}`)
	if got := strings.Count(s.log.String(), "cannot reload an app after a change"); got != 2 {
		t.Errorf("logged %d times, want 2: %s", got, s.log)
	}
}
