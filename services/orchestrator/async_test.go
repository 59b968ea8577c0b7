package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

const eventID = "018f0000-0000-7000-8000-00000000000e"

var acceptedAt = time.Date(2026, 11, 23, 13, 0, 0, 0, time.FixedZone("CET", 3600))

// inbox keeps what was accepted.
type inbox struct {
	plan    *cloud.Plan
	request cloud.StoredRequest
	fails   error
	count   int
}

func (i *inbox) accept(_ context.Context, plan *cloud.Plan, request cloud.StoredRequest) (string, time.Time, error) {
	i.count++
	i.plan, i.request = plan, request
	return eventID, acceptedAt, i.fails
}

// later sends r to a dispatcher that accepts into in.
func later(t *testing.T, in *inbox, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	d := newDispatcher(t)
	if in != nil {
		d.Accept = in.accept
	}
	w := httptest.NewRecorder()
	err := d.ServeHTTP(w, r, func(http.ResponseWriter, *http.Request) error {
		t.Error("the request was handed on")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestDispatcher_async(t *testing.T) {
	t.Parallel()
	in := &inbox{}
	r := httptest.NewRequest("POST", "http://localhost:8080/jobs/a%2Fb?x=1&y", strings.NewReader("the body"))
	r.Header = http.Header{
		"Authorization":       {"Bearer pic_ada"},
		"Content-Type":        {"text/plain"},
		"Cookie":              {cloud.SessionCookie + "=pis_ada; theme=dark"},
		"X-Picloud-Principal": {"root"},
		"X-Signature":         {"a", "b"},
	}
	w := later(t, in, r)
	if got, want := w.Body.String(), `{"execution_id":"`+eventID+`","accepted_at":"2026-11-23T12:00:00Z"}`+"\n"; w.Code != 202 || got != want {
		t.Errorf("got %d %s, want 202 %s", w.Code, got, want)
	}
	wantHeader := http.Header{
		"Location": {"/api/v1/executions/" + eventID}, "Content-Type": {"application/json"}, "Content-Length": {"93"},
		"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	}
	if !reflect.DeepEqual(w.Header(), wantHeader) {
		t.Errorf("header %v, want %v", w.Header(), wantHeader)
	}
	want := cloud.StoredRequest{
		Method: "POST", URL: "http://localhost:8080/jobs/a%2Fb?x=1&y", Body: []byte("the body"), Params: map[string]string{"kind": "a/b"},
		Header: http.Header{"Content-Type": {"text/plain"}, "Cookie": {"theme=dark"}, "X-Signature": {"a", "b"}},
	}
	if !reflect.DeepEqual(in.request, want) {
		t.Errorf("stored %+v, want %+v", in.request, want)
	}
	if p := in.plan; p.App.Slug != "default" || p.Script.ID != scriptID+"default" || p.RouteID != "POST /jobs/:kind" || p.Principal == nil || p.Principal.Name != "ada" {
		t.Errorf("the plan is %+v", in.plan)
	}
	if len(r.Header["Authorization"]) != 1 {
		t.Error("the request itself was changed")
	}
}

// An app's own hosts have no API.
func TestDispatcher_asyncOnAnAppsHost(t *testing.T) {
	t.Parallel()
	in := &inbox{}
	w := later(t, in, httptest.NewRequest("GET", "https://shop.local/later", nil))
	if got := w.Header().Values("Location"); w.Code != 202 || got != nil {
		t.Errorf("got %d, Location %v", w.Code, got)
	}
	want := cloud.StoredRequest{Method: "GET", URL: "https://shop.local/later", Header: http.Header{}}
	if !reflect.DeepEqual(in.request, want) || in.plan.Principal != nil {
		t.Errorf("stored %+v for %+v, want %+v for nobody", in.request, in.plan.Principal, want)
	}
}

func TestDispatcher_asyncBodies(t *testing.T) {
	t.Parallel()
	unannounced := func(r io.Reader) io.Reader { return io.MultiReader(r) }
	full, over := strings.Repeat("x", cloud.MaxEventPayload), strings.Repeat("x", cloud.MaxEventPayload+1)
	for name, tt := range map[string]struct {
		body   io.Reader
		status int
		code   cloud.Code
		stored int
	}{
		"none":                            {http.NoBody, 202, "", 0},
		"as large as it may be":           {strings.NewReader(full), 202, "", len(full)},
		"as large, of a length not known": {unannounced(strings.NewReader(full)), 202, "", len(full)},
		"too large":                       {strings.NewReader(over), 413, cloud.CodeTooLarge, 0},
		"too large, of a length not known": {
			unannounced(strings.NewReader(over)), 413, cloud.CodeTooLarge, 0,
		},
		"endless":     {unannounced(endless{}), 413, cloud.CodeTooLarge, 0},
		"broken off":  {unannounced(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(errors.New("gone")))), 422, cloud.CodeInvalid, 0},
		"a byte each": {iotest.OneByteReader(strings.NewReader("slowly")), 202, "", 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &inbox{}
			w := later(t, in, httptest.NewRequest("POST", "http://localhost/jobs/a", tt.body))
			var problem struct{ Code cloud.Code }
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Code != tt.status || problem.Code != tt.code {
				t.Errorf("got %d %s (%v), want %d %s", w.Code, w.Body, err, tt.status, tt.code)
			}
			if wanted := tt.status == 202; in.count != 1 && wanted || in.count != 0 && !wanted || len(in.request.Body) != tt.stored {
				t.Errorf("%d were accepted, with %d bytes", in.count, len(in.request.Body))
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestDispatcher_asyncRefusals(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in         *inbox
		method     string
		status     int
		code       cloud.Code
		retryAfter string
	}{
		"the database is away":  {&inbox{fails: cloud.Errorf(cloud.CodeUnavailable, "away")}, "POST", 503, cloud.CodeUnavailable, "1"},
		"the head is too large": {&inbox{fails: cloud.Errorf(cloud.CodeTooLarge, "too much")}, "POST", 413, cloud.CodeTooLarge, ""},
		"nobody accepts":        {nil, "POST", 503, cloud.CodeUnavailable, "1"},
		"the method is another": {&inbox{}, "GET", 405, cloud.CodeMethodNotAllowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := later(t, tt.in, httptest.NewRequest(tt.method, "http://localhost/jobs/a", nil))
			var problem struct{ Code cloud.Code }
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Code != tt.status || problem.Code != tt.code {
				t.Errorf("got %d %s (%v), want %d %s", w.Code, w.Body, err, tt.status, tt.code)
			}
			if got := w.Header().Get("Retry-After"); got != tt.retryAfter {
				t.Errorf("Retry-After is %q, want %q", got, tt.retryAfter)
			}
			if w.Header().Get("Location") != "" {
				t.Error("a refusal has a Location")
			}
		})
	}
}

// The way by a script's id waits, whatever its routes do.
func TestDispatcher_byIDIsSync(t *testing.T) {
	t.Parallel()
	plan, w := dispatch(t, newDispatcher(t), "POST", "http://localhost"+ExecutePrefix+scriptID+"default/jobs/a", "pic_ada")
	if plan == nil {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

func TestCatalog_PlanScript(t *testing.T) {
	t.Parallel()
	c := newDispatcher(t).Catalog
	plan, err := c.PlanScript("shop", scriptID+"shop")
	want := &cloud.Plan{App: cloud.App{ID: "shop", Slug: "shop"}, Script: cloud.Runnable{ID: scriptID + "shop", Name: "s", AppID: "shop"}, Env: cloud.NewEnv(map[string]string{"APP": "shop"}, nil)}
	if err != nil || !reflect.DeepEqual(plan, want) {
		t.Errorf("got %+v, %v, want %+v", plan, err, want)
	}
	for name, ids := range map[string][2]string{
		"another app's": {"default", scriptID + "shop"}, "of an app that is gone": {"gone", scriptID + "shop"}, "gone": {"shop", scriptID},
	} {
		if plan, err := c.PlanScript(ids[0], ids[1]); cloud.CodeOf(err) != cloud.CodeNotFound || plan != nil {
			t.Errorf("a script that is %s: %+v, %v", name, plan, err)
		}
	}
	if plan, err := newCatalog(&fakeSource{}, nil).PlanScript("shop", scriptID); cloud.CodeOf(err) != cloud.CodeUnavailable || plan != nil {
		t.Errorf("before the first load: %+v, %v", plan, err)
	}
}

// FuzzDispatcher_asyncURL shows that what is stored of any request leads back to
// the same path and query.
func FuzzDispatcher_asyncURL(f *testing.F) {
	f.Add("/jobs/a%2Fb?x=1")
	f.Add("/jobs/%20%C3%A4?%zz")
	f.Add("/jobs/a:b@c;d")
	f.Fuzz(func(t *testing.T, target string) {
		r := httptest.NewRequest("POST", "/", nil)
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.Contains(u.RawQuery, "#") {
			return // nothing that a client would send or a route matches
		}
		r.URL, r.Host = u, "localhost"
		stored := requestURL(r, r.URL.EscapedPath())
		back, err := url.Parse(stored)
		if err != nil || back.Host != "localhost" || back.EscapedPath() != u.EscapedPath() || back.RawQuery != u.RawQuery {
			t.Errorf("%q is stored as %q (%v)", target, stored, err)
		}
	})
}
