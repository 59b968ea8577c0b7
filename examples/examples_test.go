package examples_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloudtest"
)

// site is a server with one example on it, deployed by pic.
type site struct {
	t *testing.T
	*cloudtest.Dev
}

func deploy(t *testing.T, args ...string) site {
	t.Helper()
	t.Parallel()
	s := site{t, cloudtest.StartDev(t)}
	if out := s.pic(append([]string{"deploy"}, args...)...); !strings.Contains(out, s.URL) {
		t.Fatal(out)
	}
	return s
}

// pic runs the command and returns what it prints.
func (s site) pic(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(cloudtest.Binaries(s.t), "pic"), args...)
	cmd.Env = append(os.Environ(), "PICLOUD_URL="+s.URL, "PICLOUD_TOKEN="+s.Token)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("pic %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// until asks until the answer is yes: what events cause comes after the answer.
func (s site) until(what string, yes func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if yes() {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	s.t.Fatalf("after a minute, still not: %s", what)
}

// call sends a request without any credentials, checks the status and decodes
// the body into a T if it is JSON.
func call[T any](s site, method, path, body string, status int) (answer T) {
	s.t.Helper()
	text := s.text(method, path, body, status)
	if text != "" {
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return answer
}

func (s site) text(method, path, body string, status int) string {
	s.t.Helper()
	res := s.send(method, path, body)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != status {
		s.t.Fatalf("%s %s: %s %s, want %d", method, path, res.Status, text, status)
	}
	return string(text)
}

func (s site) send(method, path, body string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultTransport.RoundTrip(req) // redirects are answers here
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

type object = map[string]any

func TestHello(t *testing.T) {
	s := deploy(t, "hello.ts")
	if got := call[object](s, "GET", "/hello", "", 200); got["message"] == "" {
		t.Errorf("got %v", got)
	}
}

func TestGuestbook(t *testing.T) {
	s := deploy(t, "guestbook.ts")
	if empty := call[struct{ Entries []object }](s, "GET", "/guestbook", "", 200); empty.Entries == nil || len(empty.Entries) > 0 {
		t.Errorf("got %v, want an empty array", empty)
	}
	call[object](s, "POST", "/guestbook", `{"name":"Ada","text":"first"}`, 201)
	call[object](s, "POST", "/guestbook", `{"name":"Grace","text":"second"}`, 201)
	call[object](s, "POST", "/guestbook", `{"name":"","text":"nameless"}`, 422)
	call[object](s, "POST", "/guestbook", `not JSON`, 400)
	call[object](s, "DELETE", "/guestbook", "", 405)
	book := call[struct{ Entries []struct{ Name string } }](s, "GET", "/guestbook", "", 200)
	if len(book.Entries) != 2 {
		t.Errorf("got %v", book)
	}
	page := call[struct {
		Entries []object
		Next    string
	}](s, "GET", "/guestbook?limit=1", "", 200)
	if len(page.Entries) != 1 || page.Next == "" {
		t.Errorf("got %v", page)
	}
}

func TestShortener(t *testing.T) {
	s := deploy(t, "shortener.ts")
	link := call[struct{ Slug, Short string }](s, "POST", "/shortener", `{"url":"https://example.com/long"}`, 201)
	if want := s.URL + "/shortener/" + link.Slug; link.Short != want {
		t.Errorf("got %s, want %s", link.Short, want)
	}
	res := s.send("GET", "/shortener/"+link.Slug, "")
	_ = res.Body.Close()
	if res.StatusCode != 302 || res.Header.Get("Location") != "https://example.com/long" {
		t.Errorf("got %s to %q", res.Status, res.Header.Get("Location"))
	}
	call[object](s, "POST", "/shortener", `{"url":"javascript:alert(1)"}`, 422)
	call[object](s, "GET", "/shortener/nothing", "", 404)
}

func TestAPI(t *testing.T) {
	s := deploy(t, "--route", "ANY:/items", "--route", "ANY:/items/:id", "api.ts")
	milk := call[struct{ ID string }](s, "POST", "/items", `{"title":"Milk"}`, 201)
	changed := call[object](s, "PATCH", "/items/"+milk.ID, `{"done":true}`, 200)
	if changed["done"] != true || changed["title"] != "Milk" {
		t.Errorf("got %v", changed)
	}
	if all := call[struct{ Items []object }](s, "GET", "/items", "", 200); len(all.Items) != 1 {
		t.Errorf("got %v", all)
	}
	if refused := call[object](s, "POST", "/items", `{"title":"Tea","price":3}`, 422); !strings.Contains(refused["error"].(string), "price") {
		t.Errorf("got %v", refused)
	}
	s.text("DELETE", "/items/"+milk.ID, "", 204)
	call[object](s, "GET", "/items/"+milk.ID, "", 404)
}

// TestWebhook signs as a sender would, in Go.
func TestWebhook(t *testing.T) {
	s := deploy(t, "webhook.ts")
	const secret, message = "it's a secret ✓", `{"action":"opened"}`
	signature := func(secret, body string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(body))
		return "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	deliver := func(body, signature, id string) (status int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/webhook", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Hub-Signature-256", signature)
		req.Header.Set("X-GitHub-Delivery", id)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if got := deliver(message, signature(secret, message), "1"); got != 503 {
		t.Errorf("without a secret: %d", got)
	}
	value, err := json.Marshal(object{"value": secret})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := s.Do("PUT", "/api/v1/apps/default/secrets/WEBHOOK_SECRET", string(value)); status != 204 {
		t.Fatalf("%d %s", status, answer)
	}
	for _, tt := range []struct {
		what, body, signature string
		status                int
	}{
		{"a message signed with the secret", message, signature(secret, message), 201},
		{"the same delivery again", message, signature(secret, message), 200},
		{"in capitals", message, "sha256=" + strings.ToUpper(signature(secret, message)[len("sha256="):]), 200},
		{"another secret", message, signature("another", message), 401},
		{"another body", message + " ", signature(secret, message), 401},
		{"half a signature", message, signature(secret, message)[:40], 401},
		{"another algorithm", message, "sha1=" + signature(secret, message)[7:], 401},
		{"no signature", message, "", 401},
		{"no JSON", "{", signature(secret, "{"), 400},
	} {
		if got := deliver(tt.body, tt.signature, "1"); got != tt.status {
			t.Errorf("%s: %d, want %d", tt.what, got, tt.status)
		}
	}
	if got := call[struct{ Deliveries []object }](s, "GET", "/webhook", "", 200); len(got.Deliveries) != 1 || got.Deliveries[0]["action"] != "opened" {
		t.Errorf("got %v", got)
	}
}

func TestReport(t *testing.T) {
	s := deploy(t, "report.ts")
	call[object](s, "GET", "/report", "", 200)
	s.pic("triggers", "add", "--script", "report", "--kind", "cron", "--schedule", "@every 1s")
	s.until("there are two reports", func() bool {
		got := call[struct {
			Reports []struct {
				At     time.Time
				Visits int
			}
		}](s, "GET", "/report", "", 200).Reports
		return len(got) >= 2 && got[0].Visits > 0 && got[1].At.After(got[0].At)
	})
}

func TestLoyalty(t *testing.T) {
	s := deploy(t, "loyalty.ts")
	s.pic("triggers", "add", "--script", "loyalty", "--kind", "kv", "--collection", "loyalty-orders", "--op", "set")
	call[object](s, "POST", "/loyalty", `{"customer":"ada","total":25.9}`, 201)
	call[object](s, "POST", "/loyalty", `{"customer":"ada","total":10}`, 201)
	call[object](s, "POST", "/loyalty", `{"customer":"grace","total":3}`, 201)
	call[object](s, "POST", "/loyalty", `{"customer":"not a name","total":3}`, 422)
	call[object](s, "POST", "/loyalty", `{"customer":"ada","total":"3"}`, 422)
	s.until("the points are there", func() bool {
		return call[object](s, "GET", "/loyalty?customer=ada", "", 200)["points"] == 35.0 &&
			call[object](s, "GET", "/loyalty?customer=grace", "", 200)["points"] == 3.0
	})
}

// accepted is the answer of an async route.
type accepted struct {
	ID string `json:"execution_id"`
}

func TestJobs(t *testing.T) {
	s := deploy(t, "--mode", "async", "--route", "POST:/jobs", "jobs.ts")
	s.pic("routes", "add", "--script", "jobs", "GET:/jobs")
	s.pic("triggers", "add", "--script", "jobs", "--kind", "dead_letter")
	good := call[accepted](s, "POST", "/jobs", `{"words":"to be or not to be"}`, 202).ID
	bad := call[accepted](s, "POST", "/jobs", `no JSON`, 202).ID
	s.until("both have ended", func() bool {
		got := call[struct {
			Done   map[string]map[string]int
			Failed map[string]struct {
				Why      string
				Attempts int
			}
		}](s, "GET", "/jobs", "", 200)
		return got.Done[good]["be"] == 2 && got.Failed[bad].Attempts == 5 && got.Failed[bad].Why != ""
	})
	if out := s.pic("dead-letters", "ls", "--all"); !strings.Contains(out, "handled_by_script") {
		t.Errorf("got %s", out)
	}
}

// TestStream reads the first line before the last was made: the example makes
// the next only when it is asked to, and 1000 lines with pauses outlast its time.
func TestStream(t *testing.T) {
	s := deploy(t, "stream.ts")
	if got := s.text("GET", "/stream?lines=3&delay=1", "", 200); got != "line 1 of 3\nline 2 of 3\nline 3 of 3\n" {
		t.Errorf("got %q", got)
	}
	res := s.send("GET", "/stream?lines=1000&delay=2000", "")
	defer res.Body.Close()
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "line 1 of 1000\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestHono(t *testing.T) {
	s := deploy(t, "--name", "notes", "hono/index.ts")
	note := call[struct {
		ID   string
		Tags []string
	}](s, "POST", "/notes", `{"title":" Tea ","tags":["küche"]}`, 201)
	if len(note.Tags) != 1 {
		t.Errorf("got %v", note)
	}
	if got := call[object](s, "GET", "/notes/"+note.ID, "", 200); got["title"] != "Tea" {
		t.Errorf("got %v", got)
	}
	refused := call[struct{ Issues []struct{ Field string } }](s, "POST", "/notes", `{"title":"","tags":["no spaces"]}`, 422)
	if len(refused.Issues) != 2 || refused.Issues[0].Field != "title" || refused.Issues[1].Field != "tags.0" {
		t.Errorf("got %v", refused)
	}
	res := s.send("GET", "/notes", "")
	_ = res.Body.Close()
	if !strings.HasPrefix(res.Header.Get("Server-Timing"), "app;dur=") {
		t.Errorf("the middleware did not run: %v", res.Header)
	}
	s.text("DELETE", "/notes/"+note.ID, "", 204)
	call[object](s, "GET", "/notes/"+note.ID, "", 404)
}

func TestItty(t *testing.T) {
	s := deploy(t, "--name", "todos", "itty/index.ts")
	todo := call[struct{ ID int }](s, "POST", "/todos", `{"title":"Water the plants"}`, 201)
	if todo.ID != 1 {
		t.Errorf("got %v", todo)
	}
	if done := call[object](s, "POST", "/todos/1/done", "", 200); done["done"] != true {
		t.Errorf("got %v", done)
	}
	if all := call[[]object](s, "GET", "/todos", "", 200); len(all) != 1 {
		t.Errorf("got %v", all)
	}
	call[object](s, "GET", "/todos/7", "", 404)
	call[object](s, "POST", "/todos", `{}`, 422)
	s.text("DELETE", "/todos/1", "", 204)
}

// TestEventsPage types what docs/events.md shows first, and looks for what it says
// comes of it.
func TestEventsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```ts\n// (\\w+\\.ts)\n(.*?)```\n\n```\n(.*?)\n```").FindSubmatch(page)
	if found == nil {
		t.Fatal("docs/events.md does not begin with a script and a session")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, string(found[1])), found[2], 0o600); err != nil {
		t.Fatal(err)
	}
	s := site{t, cloudtest.StartDev(t)}
	type step struct{ command, answer string }
	var steps []step
	for line := range strings.Lines(string(found[3])) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			steps = append(steps, step{command: command})
		} else {
			steps[len(steps)-1].answer += line
		}
	}
	for _, step := range steps {
		s.until(step.command+" answers as the page says", func() bool {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", step.command)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+cloudtest.Binaries(t)+":"+os.Getenv("PATH"), "PICLOUD_URL="+s.URL, "PICLOUD_TOKEN="+s.Token)
			out, err := cmd.CombinedOutput()
			if step.answer == "" && err != nil {
				t.Fatalf("%s: %v\n%s", step.command, err, out)
			}
			return step.answer == "" || strings.TrimSpace(string(out)) == strings.TrimSpace(step.answer)
		})
	}
}
