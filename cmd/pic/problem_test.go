package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestDiagnostic(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300) + "!" + strings.Repeat("y", 300)
	for _, test := range []struct {
		name string
		in   cloud.Diagnostic
		want string
	}{
		{
			"the caret stands under the column",
			cloud.Diagnostic{File: "a.ts", Line: 3, Column: 11, Message: "Unexpected \";\"", SourceLine: "const a = ;"},
			"a.ts:3:11: error: Unexpected \";\"\n    3 | const a = ;\n      |           ^\n",
		},
		{
			"tabs before the column stay tabs",
			cloud.Diagnostic{File: "a.ts", Line: 12, Column: 3, Message: "no", SourceLine: "\t\t;"},
			"a.ts:12:3: error: no\n   12 | \t\t;\n      | \t\t^\n",
		},
		{
			"columns count UTF-16 code units",
			cloud.Diagnostic{File: "a.ts", Line: 1, Column: 5, Message: "no", SourceLine: "'😀';"},
			"a.ts:1:5: error: no\n    1 | '😀';\n      |    ^\n",
		},
		{
			"a message without a source line has no caret",
			cloud.Diagnostic{File: "a.ts", Line: 1, Column: 1, Message: "no"},
			"a.ts:1:1: error: no\n",
		},
		{
			"a long line is cut around the column",
			cloud.Diagnostic{File: "a.js", Line: 1, Column: 301, Message: "no", SourceLine: long},
			"a.js:1:301: error: no\n    1 | …" + strings.Repeat("x", 50) + "!" + strings.Repeat("y", 49) + "…\n      | " + strings.Repeat(" ", 51) + "^\n",
		},
		{
			"a column behind the line stands at its end",
			cloud.Diagnostic{File: "a.js", Line: 1, Column: 99, Message: "no", SourceLine: "ab"},
			"a.js:1:99: error: no\n    1 | ab\n      |   ^\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := diagnostic(styles{}, test.in); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func FuzzDiagnostic(f *testing.F) {
	f.Add("const a = ;", 11)
	f.Add(strings.Repeat("😀\t", 200), 301)
	f.Add("\xff\x1b[2J", -1)
	f.Fuzz(func(t *testing.T, line string, column int) {
		got := diagnostic(styles{}, cloud.Diagnostic{File: "a.ts", Line: 1, Column: column, Message: "m", SourceLine: line})
		if strings.ContainsAny(got, "\x1b\x07\r") {
			t.Errorf("%q steers the terminal", got)
		}
		if n := len([]rune(got)); n > 8*maxSourceLine {
			t.Errorf("%d characters are too many for one diagnostic", n)
		}
	})
}

func TestPrintError(t *testing.T) {
	t.Parallel()
	there, nobody := server{url: "http://pi.local", token: "pic_x"}, server{url: "http://pi.local"}
	session := server{url: "http://pi.local", token: "pis_x"}
	fromEnv := server{url: "http://pi.local", token: "pic_x", from: "PICLOUD_TOKEN"}
	refused := &net.OpError{Op: "dial", Err: errors.New("connect: connection refused")}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"a local server that is not there", &unreachable{localURL, refused}, "pic: cannot reach http://localhost:8080: dial: connect: connection refused\nIs PiCloud running? Start it with make run, or pass another server with --url.\n"},
		{"another server that is not there", &unreachable{"http://pi.local", refused}, "pic: cannot reach http://pi.local: dial: connect: connection refused\nIs PiCloud running there? Pass another server with --url.\n"},
		{"a name that nobody knows", &unreachable{"http://pi.local", &net.DNSError{Err: "no such host", Name: "pi.local"}}, "pic: cannot reach http://pi.local: lookup pi.local: no such host\nIs the name right, and are you on the same network? Pass another server with --url.\n"},
		{"no key", &problem{Status: 401, Code: cloud.CodeUnauthorized, Detail: "no credentials", server: nobody}, "pic: no credentials\nLog in with pic login --url http://pi.local, or set PICLOUD_TOKEN.\n"},
		{"a bad key", &problem{Status: 401, Code: cloud.CodeUnauthorized, Detail: "unknown key", server: there}, "pic: unknown key\nThe API key is wrong, expired or revoked. Log in again with pic login --url http://pi.local.\n"},
		{"a bad key that a log-in would not replace", &problem{Status: 401, Code: cloud.CodeUnauthorized, Detail: "unknown key", server: fromEnv}, "pic: unknown key\nThe API key of PICLOUD_TOKEN is wrong, expired or revoked. Put a good one there, or take it away and log in with pic login --url http://pi.local.\n"},
		{"a session that has ended", &problem{Status: 401, Code: cloud.CodeUnauthorized, Detail: "unknown session", server: session}, "pic: unknown session\nYour session has ended. Log in again with pic login --url http://pi.local.\n"},
		{"a key that may not", &problem{Status: 403, Code: cloud.CodeForbidden, Detail: "the key lacks script:write", server: there}, "pic: the key lacks script:write\npic whoami shows what your key may do; pic login takes another, or your password.\n"},
		{"a person who may not", &problem{Status: 403, Code: cloud.CodeForbidden, Detail: "viewers do not deploy", server: session}, "pic: viewers do not deploy\npic whoami and pic apps show tell your roles. An app's admins give another by pic members set, the instance's by pic users change.\n"},
		{"a server without an owner", &problem{Status: 403, Code: cloud.CodeUnclaimed, Detail: "nobody owns this yet", server: nobody}, "pic: nobody owns this yet\npic login --claim --url http://pi.local makes you its owner.\n"},
		{"too many attempts", &problem{Status: 429, Code: cloud.CodeRateLimited, Detail: "try again in 1m30s", server: nobody}, "pic: try again in 1m30s\nOnly passwords and codes have to wait: sessions and API keys go on working.\n"},
		{"the last owner", &problem{Status: 422, Code: cloud.CodeLastOwner, Detail: "ada is the last owner", server: session}, "pic: ada is the last owner\npic users change NAME --role owner makes another one.\n"},
		{"a field that is refused", &problem{Status: 422, Code: cloud.CodeInvalid, Field: "slug", Detail: "is empty", server: there}, "pic: slug: is empty\n"},
		{"a refusal without a detail", &problem{Status: 502, server: there}, "pic: the server answered 502 Bad Gateway\n"},
		{"what would steer the terminal", errors.New("a\x1b[2Jb\u202e"), "pic: a\\u001b[2Jb\\u202e\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := testCLI(t, nil)
			c.printError(test.err)
			if got := fmt.Sprint(c.err); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}

	t.Run("programs get the problem document as it came", func(t *testing.T) {
		t.Parallel()
		c := testCLI(t, nil)
		c.output = "json"
		c.printError(readProblem(there, 409, []byte(`{"status":409,"code":"conflict","detail":"taken","extra":[1]}`)))
		if got, want := fmt.Sprint(c.err), "{\n  \"status\": 409,\n  \"code\": \"conflict\",\n  \"detail\": \"taken\",\n  \"extra\": [\n    1\n  ]\n}\n"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})

	t.Run("programs get a problem document for other failures", func(t *testing.T) {
		t.Parallel()
		c := testCLI(t, nil)
		c.output = "json"
		c.printError(&buildError{diagnostics: []cloud.Diagnostic{{File: "a.ts", Line: 1, Column: 2, Message: "no"}}})
		var got problem
		if err := json.Unmarshal([]byte(fmt.Sprint(c.err)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Code != cloud.CodeBuildFailed || got.Detail != "a.ts:1:2: no" || len(got.diagnostics()) != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestClient_Call(t *testing.T) {
	t.Parallel()
	answer := func(w http.ResponseWriter, status int, kind, body string) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
	const notFound = `{"status":404,"code":"not_found","detail":"nothing there"}`
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/apps", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, "application/json", `{"items":[{"slug":"default"},{"slug":"shop"}]}`)
	})
	mux.HandleFunc("GET /api/v1/apps/shop", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, "application/json", `{"slug":"shop"}`)
	})
	mux.HandleFunc("GET /api/v1/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusMovedPermanently)
	})
	mux.HandleFunc("GET /api/v1/page", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, "text/html", "<p>hello")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 404, "application/problem+json", notFound)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	cl := newClient(server{url: s.URL, token: "pic_x"})
	t.Cleanup(cl.close)

	t.Run("an app that does not exist: the ones that do", func(t *testing.T) {
		t.Parallel()
		_, err := cl.call(t.Context(), "GET", api("apps", "shp", "scripts"), nil)
		if got, want := hint(err), "There is no app shp. Apps here: default, shop."; got != want {
			t.Errorf("hint = %q, want %q", got, want)
		}
	})
	t.Run("something in an app that exists: nothing about apps", func(t *testing.T) {
		t.Parallel()
		_, err := cl.call(t.Context(), "GET", api("apps", "shop", "scripts", "x"), nil)
		if got := hint(err); err == nil || got != "" {
			t.Errorf("hint = %q of %v, want none", got, err)
		}
	})
	t.Run("a redirect is not followed with the key", func(t *testing.T) {
		t.Parallel()
		_, err := cl.call(t.Context(), "GET", api("moved"), nil)
		if err == nil || !strings.Contains(err.Error(), "redirects to https://elsewhere.example/") {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("a server that is not PiCloud", func(t *testing.T) {
		t.Parallel()
		_, err := cl.call(t.Context(), "GET", api("page"), nil)
		if err == nil || !strings.Contains(err.Error(), "is --url right?") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestAPI(t *testing.T) {
	t.Parallel()
	for want, segments := range map[string][]string{
		"/api/v1/apps/a%2Fb":               {"apps", "a/b"},
		"/api/v1/apps/shop/kv/c/%2E%2E":    {"apps", "shop", "kv", "c", ".."},
		"/api/v1/apps/shop/kv/c/%3F%23%25": {"apps", "shop", "kv", "c", "?#%"},
	} {
		if got := api(segments...); got != want {
			t.Errorf("api(%q) = %s, want %s", segments, got, want)
		}
	}
}
