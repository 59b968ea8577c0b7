package caddycloud_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/picloud/picloud/services/orchestrator"
)

// TestBrowser shows in a real browser that a page which another app serves can
// neither read nor use the session of the dashboard's origin, and what the app of
// that origin gets to see of it.
func TestBrowser(t *testing.T) {
	s := start(t)
	dashboard := strings.Replace(s.url, "127.0.0.1", "localhost", 1)
	stranger := strings.Replace(s.url, "127.0.0.1", "shop.localhost", 1)
	s.must(http.StatusCreated, http.MethodPost, "/api/v1/apps", `{"slug":"shop"}`)
	const page = `export default (request) => new Response(
	"<!doctype html><title>page</title><p id=seen>" + (request.headers.get("cookie") ?? "none") + "</p>",
	{ headers: { "content-type": "text/html" } });`
	s.deployTo("shop", "page", page)
	s.deploy("page", page)
	ada := s.user("ada", "owner", "correct horse battery")

	tab := newTab(t)
	tab.open(dashboard + "/page")
	tab.evaluate(`fetch("/api/v1/sessions", {
		method: "POST",
		headers: {"content-type": "application/json"},
		body: JSON.stringify({name: "ada", password: "`+ada.password+`", cookie: true}),
	}).then(r => r.status)`, "201")

	t.Run("the dashboard's origin uses the session", func(t *testing.T) {
		tab := tab.in(t)
		tab.open(dashboard + "/page")
		tab.evaluate(`fetch("/api/v1/me").then(r => r.json()).then(me => me.name)`, `"ada"`)
		tab.evaluate(post("/api/v1/apps", `{"slug":"mine"}`, ""), "201")
	})

	t.Run("no page reads it, and no script", func(t *testing.T) {
		tab := tab.in(t)
		for _, origin := range []string{dashboard, stranger} {
			tab.open(origin + "/page")
			tab.evaluate(`document.cookie`, `""`)
			tab.evaluate(`document.getElementById("seen").textContent`, `"none"`)
		}
		// A cookie of the app's own does reach its script, so that the above is no
		// accident; a page cannot put another session under PiCloud's.
		tab.open(stranger + "/page")
		tab.evaluate(`document.cookie = "own=1", 1`, "1")
		tab.open(stranger + "/page")
		tab.evaluate(`document.getElementById("seen").textContent`, `"own=1"`)
	})

	t.Run("the page of another app does not use it", func(t *testing.T) {
		tab := tab.in(t)
		tab.open(stranger + "/page")
		api := dashboard + "/api/v1"
		const caught = `.then(r => r.type + " " + r.status, e => e.name)`
		tab.evaluate(`fetch("`+api+`/me", {credentials: "include"})`+caught, `"TypeError"`)
		tab.evaluate(`fetch("`+api+`/me", {credentials: "include", mode: "no-cors"})`+caught, `"TypeError"`)
		tab.evaluate(
			`fetch("`+api+`/apps", {method: "POST", credentials: "include", headers: {"content-type": "application/json"}, body: '{"slug":"stolen"}'})`+caught, `"TypeError"`)
		// Without CORS a request does go out, and must not count; that its answer is
		// kept even from no-cors is due to Cross-Origin-Resource-Policy.
		tab.evaluate(`fetch("`+api+`/apps", {method: "POST", credentials: "include", mode: "no-cors", body: '{"slug":"stolen"}'})`+caught, `"TypeError"`)
		tab.evaluate(`fetch("`+api+`/me/sessions:end-others", {method: "POST", credentials: "include", mode: "no-cors"})`+caught, `"TypeError"`)

		// A form navigates, with all the cookies that the browser gives to a page
		// one goes to.
		tab.evaluate(`new Promise(done => {
			const f = document.createElement("iframe");
			f.onload = () => { try { done(f.contentDocument ? "readable " + f.contentDocument.body.textContent : "closed"); } catch (e) { done(e.name); } };
			f.src = "`+api+`/me";
			document.body.append(f);
		})`, `"closed"`)
		tab.open(stranger + "/page")
		if got := tab.submit(`const f = document.createElement("form");
			f.method = "POST"; f.enctype = "text/plain"; f.action = "` + api + `/apps";
			const i = document.createElement("input"); i.name = '{"slug":"stolen","name":"'; i.value = '"}'; f.append(i);
			document.body.append(f); f.submit();`); !strings.Contains(got, `"status":401`) && !strings.Contains(got, `"cross_site"`) {
			t.Errorf("a form was answered: %s", got)
		}

		// Running a script is a deed, which a link does not do.
		byID := dashboard + orchestrator.ExecutePrefix + s.script("page")
		tab.open(stranger + "/page")
		if got := tab.submit(`location = "` + byID + `"`); !strings.Contains(got, `"status":401`) {
			t.Errorf("a link ran a script: %s", got)
		}
		tab.open(dashboard + "/page")
		if got := tab.submit(`location = "` + byID + `"`); got != "none" {
			t.Errorf("the dashboard's link: %s", got)
		}

		tab.open(dashboard + "/page")
		tab.evaluate(`fetch("/api/v1/me").then(r => r.status)`, "200")
		tab.evaluate(`fetch("/api/v1/apps").then(r => r.json()).then(a => a.items.map(x => x.slug).sort().join(" "))`, `"default mine shop"`)
	})
}

func post(url, body, options string) string {
	return `fetch("` + url + `", {method: "POST", headers: {"content-type": "application/json"}, body: ` + strconv.Quote(body) + options + `}).then(r => r.status)`
}

// tab is a page of a headless Chromium with a profile of its own.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func newTab(t *testing.T) tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true), chromedp.UserDataDir(t.TempDir()))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which root cannot have
	}
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return tab{t, ctx}
}

// chromium is the path of a browser that chromedp can drive.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no chromium, chromium-browser or google-chrome on the PATH; scripts/install.sh chromium installs one")
	return ""
}

// in is the same tab for a subtest.
func (b tab) in(t *testing.T) tab { return tab{t, b.ctx} }

func (b tab) open(url string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("opening %s: %v", url, err)
	}
}

// evaluate runs JavaScript in the page, waits for a promise, and compares the
// value's JSON.
func (b tab) evaluate(script, want string) {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[any](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Errorf("%s: %v", script, err)
		return
	}
	if text, err := json.Marshal(got); err != nil || string(text) != want {
		b.t.Errorf("%s: got %s, %v, want %s", script, text, err, want)
	}
}

// submit runs JavaScript that leads to another page, and returns the text of that.
func (b tab) submit(script string) string {
	b.t.Helper()
	if _, err := chromedp.RunResponse(b.ctx, chromedp.Evaluate[chromedp.Void](script)); err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.textContent`))
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}
