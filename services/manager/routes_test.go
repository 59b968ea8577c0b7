package manager_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// routed is a server with the endpoints a and b and the module lib in the app
// shop, and the endpoint home in the default app.
func routed(t *testing.T) *server {
	t.Helper()
	s := start(t, nil)
	s.must("POST", "/apps", `{"slug":"shop"}`)
	for _, name := range []string{"a", "b"} {
		s.must("PUT", "/apps/shop/scripts/"+name, map[string]any{"source": endpoint("")})
	}
	s.must("PUT", "/apps/shop/scripts/lib", map[string]any{"kind": "module", "source": "export const x = 1"})
	s.must("PUT", "/apps/default/scripts/home", map[string]any{"source": endpoint("")})
	return s
}

func TestAPI_routes(t *testing.T) {
	t.Parallel()
	s := routed(t)
	user := `{"id":"*","script":"a","method":"GET","host":"","path":"/users/:id","mode":"sync","url":"http://shop.localhost:8080/users/:id"}`
	t.Run("add and list by path, host and method", func(t *testing.T) {
		s.owner("POST", "/apps/shop/routes", `{"script":"a","method":"get","path":"/users/:id"}`).is(201, user)
		s.owner("POST", "/apps/shop/routes", `{"script":"b","path":"/users/:id","mode":"sync"}`).is(201,
			`{"id":"*","script":"b","method":"ANY","host":"","path":"/users/:id","mode":"sync","url":"http://shop.localhost:8080/users/:id"}`)
		s.owner("POST", "/apps/shop/routes", `{"script":"b","host":"SHOP.local","path":"/"}`).is(201,
			`{"id":"*","script":"b","method":"ANY","host":"shop.local","path":"/","mode":"sync","url":"http://shop.local:8080/"}`)
		var got [][2]any
		for _, r := range s.must("GET", "/apps/shop/routes", nil)["items"].([]any) {
			got = append(got, [2]any{r.(map[string]any)["path"], r.(map[string]any)["method"]})
		}
		if want := [][2]any{{"/", "ANY"}, {"/users/:id", "ANY"}, {"/users/:id", "GET"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("routes = %v, want %v", got, want)
		}
	})
	t.Run("a conflict names the other route, in words and as data", func(t *testing.T) {
		p := s.owner("POST", "/apps/shop/routes", `{"script":"b","method":"GET","path":"/users/:name"}`).
			fails(409, cloud.CodeRouteConflict, "path", `GET /users/:id on any host already leads to the script "a"`)
		want := canonical(t, `{"conflict":`+user+`}`)
		if got := canonical(t, text(t, p.Details)); got != want {
			t.Errorf("details = %s, want %s", got, want)
		}
		s.owner("POST", "/apps/shop/routes", `{"script":"b","host":"shop.local","path":"/"}`).
			fails(409, cloud.CodeRouteConflict, "path", `ANY / on the host shop.local already leads to the script "b"`)
	})
	t.Run("a mode", func(t *testing.T) {
		const job = `{"id":"*","script":"b","method":"POST","host":"","path":"/jobs","mode":"async","url":"http://shop.localhost:8080/jobs"}`
		added := s.owner("POST", "/apps/shop/routes", `{"script":"b","method":"POST","path":"/jobs","mode":"async"}`)
		added.is(201, job)
		s.owner("GET", "/apps/shop/routes:match?method=POST&url=/jobs", nil).is(200, `{"route":`+job+`,"script":"b","params":{}}`)
		s.owner("DELETE", "/apps/shop/routes/"+added.decode(201)["id"].(string), nil).empty()
	})
	t.Run("check previews without a change", func(t *testing.T) {
		s.owner("POST", "/apps/shop/routes:check", `{"script":"b","method":"GET","path":"/users/:name"}`).is(200, `{"ok":false,"conflict":`+user+`}`)
		s.owner("POST", "/apps/shop/routes:check", `{"script":"b","path":"/free"}`).is(200, `{"ok":true}`)
		s.owner("POST", "/apps/shop/routes:check", `{"script":"b","path":"free"}`).fails(422, cloud.CodeInvalid, "path", `"free" does not start with /`)
		if got := s.must("GET", "/apps/shop/routes", nil)["items"].([]any); len(got) != 3 {
			t.Errorf("%d routes, want 3", len(got))
		}
	})
	t.Run("match tells route, script and parameters", func(t *testing.T) {
		s.owner("GET", "/apps/shop/routes:match?url=/users/7", nil).is(200, `{"route":`+user+`,"script":"a","params":{"id":"7"}}`)
		s.owner("GET", "/apps/shop/routes:match?method=post&url=http://shop.localhost/users/7", nil).is(200,
			`{"route":{"id":"*","script":"b","method":"ANY","host":"","path":"/users/:id","mode":"sync","url":"http://shop.localhost:8080/users/:id"},"script":"b","params":{"id":"7"}}`)
		s.owner("GET", "/apps/shop/routes:match?url=/nothing", nil).fails(404, cloud.CodeRouteUnknown, "", "…")
		s.owner("GET", "/apps/shop/routes:match?url=http://localhost/users/7", nil).fails(404, cloud.CodeHostUnknown, "", "…")
		s.owner("GET", "/apps/shop/routes:match?method=BREW&url=/", nil).fails(422, cloud.CodeInvalid, "method", `"BREW" is no method of a request that reaches scripts`)
		s.owner("GET", "/apps/shop/routes:match", nil).fails(422, cloud.CodeInvalid, "url", "url: required query parameter is missing")
		s.must("POST", "/apps/shop/routes", `{"script":"a","method":"GET","path":"/only"}`)
		p := s.owner("GET", "/apps/shop/routes:match?method=PUT&url=/only", nil).fails(405, cloud.CodeMethodNotAllowed, "", "…")
		if want := map[string]any{"allow": []any{"GET", "HEAD"}}; !reflect.DeepEqual(p.Details, want) {
			t.Errorf("details = %v, want %v", p.Details, want)
		}
	})
	t.Run("delete", func(t *testing.T) {
		id := s.must("POST", "/apps/shop/routes", `{"script":"a","path":"/gone"}`)["id"].(string)
		s.owner("DELETE", "/apps/default/routes/"+id, nil).fails(404, cloud.CodeNotFound, "", "…")
		s.owner("DELETE", "/apps/shop/routes/"+id, nil).empty()
		s.owner("DELETE", "/apps/shop/routes/"+id, nil).fails(404, cloud.CodeNotFound, "", "…")
		s.owner("DELETE", "/apps/shop/routes/7", nil).fails(404, cloud.CodeNotFound, "", `the app has no route with the id "7"`)
	})
}

func TestAPI_routesRefused(t *testing.T) {
	t.Parallel()
	s := routed(t)
	s.must("POST", "/apps/shop/domains", `{"host":"*.example.com"}`)
	for _, test := range []struct {
		app, body     string
		code          cloud.Code
		field, detail string
	}{
		{"shop", `{"script":"nothing","path":"/x"}`, cloud.CodeInvalid, "script", `the app shop has no script "nothing"`},
		{"shop", `{"script":"lib","path":"/x"}`, cloud.CodeInvalid, "script", `"lib" is a module, which others import; only an endpoint can have routes`},
		{"shop", `{"script":"a","path":"/x","method":"BREW"}`, cloud.CodeInvalid, "method", `"BREW" is not one of ANY, GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS`},
		{"shop", `{"script":"a","path":"/x","mode":"later"}`, cloud.CodeInvalid, "mode", `mode: expected value to be one of "sync, async"`},
		{"shop", `{"script":"a"}`, cloud.CodeInvalid, "path", `path: is missing`},
		{"shop", `{"script":"a","path":""}`, cloud.CodeInvalid, "path", `is empty; the root is /`},
		{"shop", `{"script":"a","path":"/a//b"}`, cloud.CodeInvalid, "path", `"/a//b" has an empty segment (//)`},
		{"shop", `{"script":"a","path":"/a/../b"}`, cloud.CodeInvalid, "path", `"/a/../b" has the segment "..", which clients resolve before they ask`},
		{"shop", `{"script":"a","path":"/a*"}`, cloud.CodeInvalid, "path", `"/a*" has "*" inside the segment "a*"; write literals decoded, and * alone as the last segment`},
		{"shop", `{"script":"a","path":"/*/b"}`, cloud.CodeInvalid, "path", `"/*/b" has a * before its end; only the last segment may be *`},
		{"shop", `{"script":"a","path":"/:id/:id"}`, cloud.CodeInvalid, "path", `"/:id/:id" names the parameter :id twice`},
		{"shop", `{"script":"a","path":"/x","verb":"GET"}`, cloud.CodeInvalid, "verb", `verb: there is no such field`},
		{"shop", `{"script":"a","path":7}`, cloud.CodeInvalid, "path", `path: expected string`},

		{"shop", `{"script":"a","path":"/x","host":"http://x"}`, cloud.CodeInvalid, "host", `"http://x" is no host name…`},
		{"shop", `{"script":"a","path":"/x","host":"127.0.0.1"}`, cloud.CodeInvalid, "host", `"127.0.0.1" is an address; claim a name`},
		{"shop", `{"script":"a","path":"/x","host":"other.local"}`, cloud.CodeInvalid, "host", `"other.local" is not one of the app's hosts; add it to the app's domains first`},
		{"shop", `{"script":"a","path":"/x","host":"example.com"}`, cloud.CodeInvalid, "host", `"example.com" is not one of the app's hosts; add it to the app's domains first`},
		{"shop", `{"script":"a","path":"/x","host":"*.com"}`, cloud.CodeInvalid, "host", `"*.com" is not one of the app's hosts; add it to the app's domains first`},
		{"shop", `{"script":"a","path":"/x","host":"*.shop.local"}`, cloud.CodeInvalid, "host", `"*.shop.local" is not one of the app's hosts; add it to the app's domains first`},
		{"default", `{"script":"home","path":"/x","host":"shop.example.com"}`, cloud.CodeInvalid, "host", `"shop.example.com" is not one of the instance's own hosts, the only ones that the app "default" answers on`},
		{"default", `{"script":"home","path":"/x","host":"*.local"}`, cloud.CodeInvalid, "host", `"*.local" is not one of the instance's own hosts, the only ones that the app "default" answers on`},

		{"shop", `{"script":"a","path":"/healthz"}`, cloud.CodeReserved, "path", `"/healthz" reaches into /healthz, which belongs to PiCloud; choose another path`},
		{"default", `{"script":"home","path":"/healthz"}`, cloud.CodeReserved, "path", `"/healthz" reaches into /healthz, which belongs to PiCloud; choose another path`},
		{"default", `{"script":"home","path":"/version"}`, cloud.CodeReserved, "path", `"/version" reaches into /version, which belongs to PiCloud; choose another path`},
		{"default", `{"script":"home","path":"/api"}`, cloud.CodeReserved, "path", `"/api" reaches into /api/, which belongs to PiCloud; choose another path`},
		{"default", `{"script":"home","path":"/api/v2/*"}`, cloud.CodeReserved, "path", `"/api/v2/*" reaches into /api/, which belongs to PiCloud; choose another path`},
		{"default", `{"script":"home","path":"/admin/:page"}`, cloud.CodeReserved, "path", `"/admin/:page" reaches into /admin/, which belongs to PiCloud; choose another path`},
		{"default", `{"script":"home","path":"/realtime/*"}`, cloud.CodeReserved, "path", `"/realtime/*" reaches into /realtime/, which belongs to PiCloud; choose another path`},
	} {
		t.Run(fmt.Sprintf("%s %s", test.app, test.body), func(t *testing.T) {
			s.owner("POST", "/apps/"+test.app+"/routes", test.body).fails(422, test.code, test.field, test.detail)
		})
	}
	for _, app := range []string{"shop", "default"} {
		s.owner("GET", "/apps/"+app+"/routes", nil).is(200, `{"items":[]}`)
	}

	t.Run("allowed are the app's own hosts, those of its domains, and paths reserved on instance hosts alone", func(t *testing.T) {
		for _, body := range []string{
			`{"script":"a","path":"/x","host":"shop.local"}`,
			`{"script":"a","path":"/x","host":"shop.localhost"}`,
			`{"script":"a","path":"/x","host":"a.example.com"}`,
			`{"script":"a","path":"/x","host":"*.example.com"}`,
			`{"script":"a","path":"/x","host":"*.a.example.com"}`,
			`{"script":"a","path":"/api/v1/apps"}`,
			`{"script":"a","path":"/version"}`,
		} {
			s.must("POST", "/apps/shop/routes", body)
		}
		s.must("POST", "/apps/default/routes", `{"script":"home","path":"/x","host":"picloud.local"}`)
		s.must("POST", "/apps/default/routes", `{"script":"home","path":"/*"}`)
		s.must("POST", "/apps/default/routes", `{"script":"home","path":"/apiary"}`)
	})
}

func TestAPI_domains(t *testing.T) {
	t.Parallel()
	s := routed(t)
	s.must("POST", "/apps", `{"slug":"other"}`)
	t.Run("claim, list by host, give up", func(t *testing.T) {
		s.owner("POST", "/apps/shop/domains", `{"host":"Shop.Example.com"}`).is(201, `{"id":"*","host":"shop.example.com","created_at":"*"}`)
		s.owner("POST", "/apps/shop/domains", `{"host":"*.example.com"}`).is(201, `{"id":"*","host":"*.example.com","created_at":"*"}`)
		s.owner("GET", "/apps/shop/domains", nil).is(200, `{"items":[
			{"id":"*","host":"*.example.com","created_at":"*"},{"id":"*","host":"shop.example.com","created_at":"*"}]}`)
	})
	t.Run("refused", func(t *testing.T) {
		add := func(app, host string) answer {
			return s.owner("POST", "/apps/"+app+"/domains", map[string]any{"host": host})
		}
		add("other", "shop.example.com").fails(409, cloud.CodeConflict, "host", "an app has claimed shop.example.com already")
		add("shop", "shop.example.com").fails(409, cloud.CodeConflict, "host", "an app has claimed shop.example.com already")
		add("default", "a.example.com").fails(422, cloud.CodeInvalid, "host", `the app "default" answers on the instance's own hosts and takes no domains; create an app for a.example.com`)
		add("shop", "").fails(422, cloud.CodeInvalid, "host", "is empty…")
		add("shop", "localhost").fails(422, cloud.CodeInvalid, "host", `"localhost" is this machine itself…`)
		add("shop", "x.localhost").fails(422, cloud.CodeInvalid, "host", `"x.localhost" is this machine itself…`)
		add("shop", "*.local").fails(422, cloud.CodeInvalid, "host", `"*.local" belongs to multicast DNS…`)
		add("shop", "picloud.local").fails(422, cloud.CodeInvalid, "host", `"picloud.local" belongs to multicast DNS…`)
		add("shop", "192.168.1.5").fails(422, cloud.CodeInvalid, "host", `"192.168.1.5" is an address; claim a name`)
		add("shop", "[::1]").fails(422, cloud.CodeInvalid, "host", `"[::1]" is an address; claim a name`)
		add("shop", "a b").fails(422, cloud.CodeInvalid, "host", `"a b" is no host name…`)
	})
	t.Run("a claim that a route needs stays", func(t *testing.T) {
		id := s.must("POST", "/apps/shop/routes", `{"script":"a","path":"/x","host":"a.example.com"}`)["id"].(string)
		s.owner("DELETE", "/apps/shop/domains/shop.example.com", nil).empty()
		s.owner("DELETE", "/apps/shop/domains/*.example.com", nil).fails(409, cloud.CodeConflict, "",
			"the route ANY a.example.com/x of shop answers on a host that would no longer be the app's; delete the route first")
		s.must("DELETE", "/apps/shop/routes/"+id, nil)
		s.owner("DELETE", "/apps/shop/domains/*.Example.com", nil).empty()
		s.owner("DELETE", "/apps/shop/domains/*.example.com", nil).fails(404, cloud.CodeNotFound, "", "…")
		s.owner("DELETE", "/apps/shop/domains/a_b", nil).fails(404, cloud.CodeNotFound, "", `the app has no domain "a_b"`)
	})
}

func TestAPI_theInstancesPublicHostIsNoDomain(t *testing.T) {
	t.Parallel()
	s := start(t, publicHost)
	s.must("POST", "/apps", `{"slug":"shop"}`)
	s.owner("POST", "/apps/shop/domains", `{"host":"pi.example.com"}`).fails(422, cloud.CodeInvalid, "host", `"pi.example.com" is the instance's own host`)
}
