package manager_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/manager"
)

func TestAPI_scripts(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.must("POST", "/apps", `{"slug":"shop"}`)
	put := func(name string, body map[string]any) answer {
		t.Helper()
		return s.owner("PUT", "/apps/shop/scripts/"+name, body)
	}
	const one = `{"id":"*","name":"hi","kind":"endpoint","language":"ts","version":1,"source":"export default () => 1\n","limits":{},"created_at":"*","updated_at":"*"}`
	t.Run("create, show by name and by id", func(t *testing.T) {
		put("hi", map[string]any{"source": endpoint("1")}).is(201, one)
		s.owner("GET", "/apps/shop/scripts/hi", nil).is(200, one)
		id := s.must("GET", "/apps/shop/scripts/hi", nil)["id"].(string)
		s.owner("GET", "/apps/shop/scripts/"+id, nil).is(200, one)
	})
	t.Run("the list has no sources", func(t *testing.T) {
		s.owner("GET", "/apps/shop/scripts", nil).is(200, `{"items":[
			{"id":"*","name":"hi","kind":"endpoint","language":"ts","version":1,"limits":{},"created_at":"*","updated_at":"*"}]}`)
	})
	t.Run("what is saved unchanged keeps its version", func(t *testing.T) {
		put("hi", map[string]any{"source": endpoint("1")}).is(200, one)
	})
	t.Run("each change is a version: source, language, limits", func(t *testing.T) {
		put("hi", map[string]any{"source": endpoint("2")})
		put("hi", map[string]any{"source": endpoint("2"), "language": "js"})
		put("hi", map[string]any{"source": endpoint("2"), "limits": map[string]any{"wall_ms": 500, "host_calls": 7}}).is(200,
			`{"id":"*","name":"hi","kind":"endpoint","language":"js","version":4,"source":"export default () => 2\n","limits":{"wall_ms":500,"host_calls":7},"created_at":"*","updated_at":"*"}`)
	})
	t.Run("limits stay if absent and go back to the defaults if empty", func(t *testing.T) {
		put("hi", map[string]any{"source": endpoint("2")}).is(200,
			`{"id":"*","name":"hi","kind":"endpoint","language":"js","version":4,"source":"export default () => 2\n","limits":{"wall_ms":500,"host_calls":7},"created_at":"*","updated_at":"*"}`)
		put("hi", map[string]any{"source": endpoint("2"), "limits": map[string]any{}}).is(200,
			`{"id":"*","name":"hi","kind":"endpoint","language":"js","version":5,"source":"export default () => 2\n","limits":{},"created_at":"*","updated_at":"*"}`)
	})
	t.Run("versions", func(t *testing.T) {
		s.owner("GET", "/apps/shop/scripts/hi/versions", nil).is(200, `{"items":[
			{"version":5,"kind":"endpoint","language":"js","created_at":"*","created_by":"olga"},
			{"version":4,"kind":"endpoint","language":"js","created_at":"*","created_by":"olga"},
			{"version":3,"kind":"endpoint","language":"js","created_at":"*","created_by":"olga"},
			{"version":2,"kind":"endpoint","language":"ts","created_at":"*","created_by":"olga"},
			{"version":1,"kind":"endpoint","language":"ts","created_at":"*","created_by":"olga"}]}`)
		s.owner("GET", "/apps/shop/scripts/hi/versions/1", nil).is(200,
			`{"version":1,"kind":"endpoint","language":"ts","source":"export default () => 1\n","created_at":"*","created_by":"olga"}`)
		s.owner("GET", "/apps/shop/scripts/hi/versions/9", nil).fails(404, cloud.CodeNotFound, "", "…")
		s.owner("GET", "/apps/shop/scripts/hi/versions/0", nil).fails(422, cloud.CodeInvalid, "version", "version: expected number >= 1")
		s.owner("GET", "/apps/shop/scripts/nothing/versions", nil).fails(404, cloud.CodeNotFound, "", `the app has no script "nothing"`)
	})
	t.Run("rollback saves the old source as a new version", func(t *testing.T) {
		s.owner("POST", "/apps/shop/scripts/hi/rollback", `{"version":1}`).is(200,
			`{"id":"*","name":"hi","kind":"endpoint","language":"ts","version":6,"source":"export default () => 1\n","limits":{},"created_at":"*","updated_at":"*"}`)
		s.owner("POST", "/apps/shop/scripts/hi/rollback", `{"version":99}`).fails(404, cloud.CodeNotFound, "", "…")
		s.owner("POST", "/apps/shop/scripts/nothing/rollback", `{"version":1}`).fails(404, cloud.CodeNotFound, "", `the app has no script "nothing"`)
	})
	t.Run("delete takes the routes along", func(t *testing.T) {
		s.must("POST", "/apps/shop/routes", `{"script":"hi","path":"/hi"}`)
		s.owner("DELETE", "/apps/shop/scripts/hi", nil).empty()
		s.owner("GET", "/apps/shop/routes", nil).is(200, `{"items":[]}`)
		s.owner("GET", "/apps/shop/scripts/hi", nil).fails(404, cloud.CodeNotFound, "", `the app has no script "hi"`)
		s.owner("DELETE", "/apps/shop/scripts/hi", nil).fails(404, cloud.CodeNotFound, "", `the app has no script "hi"`)
	})
}

func TestAPI_scriptsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	put := func(name string, body any) answer { return s.owner("PUT", "/apps/default/scripts/"+name, body) }
	kept := s.must("PUT", "/apps/default/scripts/kept", map[string]any{"source": endpoint("1")})

	t.Run("source that does not build: file, line, column, source line", func(t *testing.T) {
		p := put("kept", map[string]any{"source": "export default {\n  fetch(request) {\n    return new Response(\"hi\" +);\n  },\n};\n"}).
			fails(422, cloud.CodeBuildFailed, "", `kept.ts:3:31: Unexpected ")"`)
		want := map[string]any{"diagnostics": []any{map[string]any{
			"file": "kept.ts", "line": 3.0, "column": 31.0, "message": `Unexpected ")"`, "source_line": `    return new Response("hi" +);`,
		}}}
		if !reflect.DeepEqual(p.Details, want) {
			t.Errorf("details = %v, want %v", p.Details, want)
		}
	})
	for _, test := range []struct {
		name, script  string
		body          any
		code          cloud.Code
		field, detail string
	}{
		{"endpoint without default export", "x", map[string]any{"source": "export const a = 1"}, cloud.CodeInvalid, "source", `the endpoint "x" has no default export; add one…`},
		{"module that does not build", "x", map[string]any{"kind": "module", "source": "export const = 1"}, cloud.CodeBuildFailed, "", `x.ts:1:14: Expected identifier but found "="`},
		{"import of a module that is not there", "x", map[string]any{"source": "import './nothing'\n" + endpoint("")}, cloud.CodeBuildFailed, "", `x.ts:1:8: …`},
		{"import of an endpoint", "x", map[string]any{"source": "import './kept'\n" + endpoint("")}, cloud.CodeBuildFailed, "", `x.ts:1:8: …`},
		{"name", "a.b", map[string]any{"source": endpoint("")}, cloud.CodeInvalid, "name", `"a.b": the character '.' at position 2 is not allowed; use letters, digits, - and _`},
		{"kind", "x", map[string]any{"source": endpoint(""), "kind": "worker"}, cloud.CodeInvalid, "kind", `kind: expected value to be one of "endpoint, module"`},
		{"language", "x", map[string]any{"source": endpoint(""), "language": "py"}, cloud.CodeInvalid, "language", `language: expected value to be one of "js, ts, jsx, tsx"`},
		{"no source", "x", map[string]any{}, cloud.CodeInvalid, "source", `source: is missing`},
		{"source with NUL", "x", map[string]any{"source": "// \x00"}, cloud.CodeInvalid, "source", `is not text: it has a NUL character or is not valid UTF-8`},
		{"source over the limit", "x", map[string]any{"source": strings.Repeat(" ", cloud.MaxSource+1)}, cloud.CodeInvalid, "source", `has 4194305 bytes; at most 4194304 are allowed`},
		{"unknown field", "x", map[string]any{"source": endpoint(""), "sauce": 1}, cloud.CodeInvalid, "sauce", `sauce: there is no such field`},
		{"unknown limit", "x", map[string]any{"source": endpoint(""), "limits": map[string]any{"wall": 1}}, cloud.CodeInvalid, "limits.wall", `limits.wall: there is no such field`},
		{"excessive limit", "x", map[string]any{"source": endpoint(""), "limits": map[string]any{"wall_ms": 300_001}}, cloud.CodeInvalid, "limits.wall_ms", `300001 was asked for, the ceiling is 300000`},
		{"absurd limit", "x", map[string]any{"source": endpoint(""), "limits": map[string]any{"cpu_ms": int64(1) << 62}}, cloud.CodeInvalid, "limits.cpu_ms", `9223372036854 was asked for, the ceiling is 60000`},
		{"negative limit", "x", map[string]any{"source": endpoint(""), "limits": map[string]any{"fetches": -1}}, cloud.CodeInvalid, "limits.fetches", `-1 is negative`},
	} {
		t.Run(test.name, func(t *testing.T) {
			put(test.script, test.body).fails(422, test.code, test.field, test.detail)
		})
	}
	t.Run("nothing has changed", func(t *testing.T) {
		if got := s.must("GET", "/apps/default/scripts/kept", nil); !reflect.DeepEqual(got, kept) {
			t.Errorf("script = %v, want %v", got, kept)
		}
		if got := s.must("GET", "/apps/default/scripts", nil)["items"].([]any); len(got) != 1 {
			t.Errorf("scripts = %v, want one", got)
		}
	})
}

func TestAPI_operatorsCeilings(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *server, c *manager.Config) { c.Ceilings.Memory = 64 << 20 })
	s.owner("PUT", "/apps/default/scripts/x", map[string]any{"source": endpoint(""), "limits": map[string]any{"memory_bytes": 64<<20 + 1}}).
		fails(422, cloud.CodeInvalid, "limits.memory_bytes", "67108865 was asked for, the ceiling is 67108864")
	s.must("PUT", "/apps/default/scripts/x", map[string]any{"source": endpoint(""), "limits": map[string]any{"memory_bytes": 64 << 20}})
}

func TestAPI_modules(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.must("POST", "/apps", `{"slug":"shop"}`)
	module := func(name, source string) answer {
		return s.owner("PUT", "/apps/shop/scripts/"+name, map[string]any{"kind": "module", "source": source})
	}
	script := func(name, source string) answer {
		return s.owner("PUT", "/apps/shop/scripts/"+name, map[string]any{"source": source})
	}
	code := func() string { // of the endpoint as the hot path has it
		t.Helper()
		state, ok, err := s.source.LoadApp(t.Context(), s.must("GET", "/apps/shop", nil)["id"].(string))
		if err != nil || !ok || len(state.Scripts) != 1 {
			t.Fatalf("state = %+v, %v, %v", state, ok, err)
		}
		return state.Scripts[0].Build.Code
	}
	module("rates", "export const vat = 0.19")
	module("money", "import { vat } from './rates'\nexport const gross = (net: number) => net * (1 + vat)")
	script("till", "import { gross } from './money'\nexport default () => gross(100)")
	module("lonely", "import { vat } from './rates'\nexport const x = vat")

	t.Run("a module's change rebuilds what imports it, through others too", func(t *testing.T) {
		if before := code(); !strings.Contains(before, "0.19") {
			t.Fatalf("code = %s", before)
		}
		if a := module("rates", "export const vat = 0.21"); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if after := code(); !strings.Contains(after, "0.21") || strings.Contains(after, "0.19") {
			t.Errorf("code = %s", after)
		}
		if v := s.must("GET", "/apps/shop/scripts/till", nil)["version"]; v != 1.0 {
			t.Errorf("the importer's version is %v, want 1", v)
		}
	})
	t.Run("a change that would break an importer is refused and names it", func(t *testing.T) {
		p := module("rates", "export const tax = 0.21").fails(422, cloud.CodeBuildFailed, "",
			`the change of "rates" would break "till", which imports it: money.ts:1:10: …`)
		d := p.Details.(map[string]any)["diagnostics"].([]any)[0].(map[string]any)
		if d["file"] != "money.ts" || d["source_line"] != "import { vat } from './rates'" {
			t.Errorf("diagnostic = %v", d)
		}
		s.owner("PUT", "/apps/shop/scripts/rates", map[string]any{"kind": "endpoint", "source": endpoint("")}).
			fails(422, cloud.CodeBuildFailed, "", `the change of "rates" would break "till", which imports it: …`)
		if v := s.must("GET", "/apps/shop/scripts/rates", nil)["version"]; v != 2.0 {
			t.Errorf("version = %v, want 2", v)
		}
	})
	t.Run("a module and its importer change together in one deployment", func(t *testing.T) {
		a := s.owner("POST", "/apps/shop/deploy", map[string]any{"scripts": []any{
			map[string]any{"name": "till", "source": "import { net } from './money'\nexport default () => net(100)"},
			map[string]any{"name": "money", "source": "import { vat } from './rates'\nexport const net = (gross: number) => gross / (1 + vat)"},
		}})
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if after := code(); !strings.Contains(after, "net") {
			t.Errorf("code = %s", after)
		}
	})
	t.Run("deleting what is imported is refused and names the importers, modules too", func(t *testing.T) {
		s.owner("DELETE", "/apps/shop/scripts/rates", nil).fails(409, cloud.CodeConflict, "", `"rates" is imported by lonely, money, till; change or delete them first`)
		s.owner("DELETE", "/apps/shop/scripts/money", nil).fails(409, cloud.CodeConflict, "", `"money" is imported by till; change or delete them first`)
		s.owner("DELETE", "/apps/shop/scripts/lonely", nil).empty()
		s.owner("DELETE", "/apps/shop/scripts/till", nil).empty()
		s.owner("DELETE", "/apps/shop/scripts/money", nil).empty()
		s.owner("DELETE", "/apps/shop/scripts/rates", nil).empty()
	})
	t.Run("an endpoint with routes does not become a module", func(t *testing.T) {
		script("page", endpoint(""))
		s.must("POST", "/apps/shop/routes", `{"script":"page","method":"GET","path":"/page"}`)
		s.owner("PUT", "/apps/shop/scripts/page", map[string]any{"kind": "module", "source": "export const x = 1"}).
			fails(422, cloud.CodeInvalid, "kind", `"page" cannot become a module while the route GET /page leads to it; delete the route first`)
	})
	t.Run("modules of other apps are out of reach", func(t *testing.T) {
		s.must("POST", "/apps", `{"slug":"other"}`)
		s.must("PUT", "/apps/other/scripts/secret", map[string]any{"kind": "module", "source": "export const x = 1"})
		script("thief", "import { x } from './secret'\nexport default () => x").fails(422, cloud.CodeBuildFailed, "", "thief.ts:1:19: …")
	})
}

func TestAPI_deploy(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.must("POST", "/apps", `{"slug":"shop"}`)
	deploy := func(scripts ...map[string]any) answer {
		t.Helper()
		return s.owner("POST", "/apps/shop/deploy", map[string]any{"scripts": scripts})
	}
	route := func(script, method, path string) string {
		return fmt.Sprintf(`{"id":"*","script":%q,"method":%q,"host":"","path":%q,"mode":"sync","url":"http://shop.localhost:8080%s"}`, script, method, path, path)
	}
	t.Run("an endpoint without routes gets /NAME and /NAME/*", func(t *testing.T) {
		deploy(map[string]any{"name": "guestbook", "source": endpoint("")}).is(200, `{"scripts":[{
			"script":{"id":"*","name":"guestbook","kind":"endpoint","language":"ts","version":1,"limits":{},"created_at":"*","updated_at":"*"},
			"routes":[`+route("guestbook", "ANY", "/guestbook")+`,`+route("guestbook", "ANY", "/guestbook/*")+`],
			"urls":["http://shop.localhost:8080/guestbook","http://shop.localhost:8080/guestbook/*"]}]}`)
	})
	t.Run("a module gets none", func(t *testing.T) {
		deploy(map[string]any{"name": "lib", "kind": "module", "source": "export const x = 1"}).is(200, `{"scripts":[{
			"script":{"id":"*","name":"lib","kind":"module","language":"ts","version":1,"limits":{},"created_at":"*","updated_at":"*"},
			"routes":[],"urls":[]}]}`)
	})
	t.Run("again, nothing changes", func(t *testing.T) {
		a := deploy(map[string]any{"name": "guestbook", "source": endpoint("")}, map[string]any{"name": "lib", "source": "export const x = 1"})
		if a.status != 200 || strings.Contains(string(a.body), `"version":2`) {
			t.Errorf("%d %s", a.status, a.body)
		}
		if got := s.must("GET", "/apps/shop/routes", nil)["items"].([]any); len(got) != 2 {
			t.Errorf("routes = %v", got)
		}
	})
	t.Run("given routes are added where missing, others stay; whole paths come first", func(t *testing.T) {
		a := deploy(map[string]any{"name": "guestbook", "source": endpoint("2"), "routes": []any{
			map[string]any{"method": "GET", "path": "/entries/:id"}, map[string]any{"path": "/guestbook"}, map[string]any{"path": "/"},
		}})
		var got struct {
			Scripts []struct{ URLs []string }
		}
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		want := []string{
			"http://shop.localhost:8080/", "http://shop.localhost:8080/guestbook",
			"http://shop.localhost:8080/entries/:id", "http://shop.localhost:8080/guestbook/*",
		}
		slices.Sort(got.Scripts[0].URLs[:2])
		if !slices.Equal(got.Scripts[0].URLs, want) {
			t.Errorf("urls = %v, want %v", got.Scripts[0].URLs, want)
		}
	})
	t.Run("no routes are added if the list is empty", func(t *testing.T) {
		deploy(map[string]any{"name": "hidden", "source": endpoint(""), "routes": []any{}}).is(200, `{"scripts":[{
			"script":{"id":"*","name":"hidden","kind":"endpoint","language":"ts","version":1,"limits":{},"created_at":"*","updated_at":"*"},
			"routes":[],"urls":[]}]}`)
	})
	t.Run("what was deployed is what the caller's next request reaches", func(t *testing.T) {
		s.owner("GET", "/apps/shop/routes:match?url=/guestbook/new", nil).is(200,
			`{"route":`+route("guestbook", "ANY", "/guestbook/*")+`,"script":"guestbook","params":{"*":"new"}}`)
	})

	before := s.must("GET", "/apps/shop/scripts", nil)
	good := map[string]any{"name": "good", "source": endpoint("")}
	t.Run("all or nothing", func(t *testing.T) {
		for _, test := range []struct {
			name          string
			scripts       []map[string]any
			status        int
			code          cloud.Code
			field, detail string
		}{
			{"none", []map[string]any{}, 422, cloud.CodeInvalid, "scripts", `scripts: expected array length >= 1`},
			{"named twice", []map[string]any{good, good}, 422, cloud.CodeInvalid, "scripts[1].name", `"good" is named twice, as scripts[0] too`},
			{"one does not build", []map[string]any{good, {"name": "bad", "source": "export default ("}}, 422, cloud.CodeBuildFailed, "", `bad.ts:1:17: Unexpected end of file`},
			{"one has a bad name", []map[string]any{good, {"name": "", "source": ""}}, 422, cloud.CodeInvalid, "scripts[1].name", `is empty`},
			{"one has no default export", []map[string]any{good, {"name": "bad", "source": ""}}, 422, cloud.CodeInvalid, "scripts[1].source", `the endpoint "bad" has no default export…`},
			{"one has a bad limit", []map[string]any{good, {"name": "bad", "source": endpoint(""), "limits": map[string]any{"log_bytes": -5}}}, 422, cloud.CodeInvalid, "scripts[1].limits.log_bytes", `-5 is negative`},
			{"one conflicts", []map[string]any{good, {"name": "bad", "source": endpoint(""), "routes": []any{map[string]any{"path": "/"}, map[string]any{"path": "x"}}}}, 409, cloud.CodeRouteConflict, "scripts[1].routes[0].path", `ANY / on any host already leads to the script "guestbook"`},
			{"one has a bad path", []map[string]any{good, {"name": "bad", "source": endpoint(""), "routes": []any{map[string]any{"path": "bad"}}}}, 422, cloud.CodeInvalid, "scripts[1].routes[0].path", `"bad" does not start with /`},
			{"two conflict with each other", []map[string]any{good, {"name": "better", "source": endpoint(""), "routes": []any{map[string]any{"path": "/good"}}}}, 409, cloud.CodeRouteConflict, "scripts[1].routes[0].path", `ANY /good on any host already leads to the script "good"`},
			{"a module with a route", []map[string]any{{"name": "lib", "source": "export const x = 2", "routes": []any{map[string]any{"path": "/lib"}}}}, 422, cloud.CodeInvalid, "scripts[0].routes[0].script", `"lib" is a module, which others import; only an endpoint can have routes`},
			{"an unknown mode", []map[string]any{{"name": "good", "source": endpoint(""), "routes": []any{map[string]any{"path": "/x", "mode": "later"}}}}, 422, cloud.CodeInvalid, "scripts[0].routes[0].mode", `scripts[0].routes[0].mode: expected value to be one of "sync, async"`},
			{"an unknown field", []map[string]any{{"name": "good", "source": endpoint(""), "routes": []any{map[string]any{"path": "/x", "verb": "GET"}}}}, 422, cloud.CodeInvalid, "scripts[0].routes[0].verb", `scripts[0].routes[0].verb: there is no such field`},
		} {
			t.Run(test.name, func(t *testing.T) {
				deploy(test.scripts...).fails(test.status, test.code, test.field, test.detail)
			})
		}
		if after := s.must("GET", "/apps/shop/scripts", nil); !reflect.DeepEqual(after, before) {
			t.Errorf("scripts = %v, want %v", after, before)
		}
	})
}

func TestAPI_bodiesAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	long := strings.Repeat("x", 1<<20)
	s.owner("POST", "/apps", map[string]any{"slug": long}).fails(http.StatusRequestEntityTooLarge, cloud.CodeTooLarge, "", "the body is over the limit of 1048576 bytes")
	s.owner("PUT", "/apps/default/scripts/x", map[string]any{"source": strings.Repeat("x", 9<<20)}).
		fails(http.StatusRequestEntityTooLarge, cloud.CodeTooLarge, "", "the body is over the limit of 9437184 bytes")
	s.owner("POST", "/apps/default/deploy", map[string]any{"scripts": []any{map[string]any{"name": "x", "source": strings.Repeat("x", 17<<20)}}}).
		fails(http.StatusRequestEntityTooLarge, cloud.CodeTooLarge, "", "the body is over the limit of 17825792 bytes")

	source := "// " + strings.Repeat("\t", cloud.MaxSource-len(endpoint(""))-4) + "\n" + endpoint("")
	if a := s.owner("PUT", "/apps/default/scripts/x", map[string]any{"source": source}); len(source) != cloud.MaxSource || a.status != 201 {
		t.Errorf("a source of %d bytes, twice as long in JSON: %d", len(source), a.status)
	}
}
