package manager_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/picloud/picloud/services/cloud"
)

// logIn logs in over HTTP and returns the session's token.
func (s *server) logIn(name, password string) string {
	s.t.Helper()
	return s.as("", "POST", "/api/v1/sessions", map[string]any{"name": name, "password": password}).decode(201)["token"].(string)
}

// user makes a user over HTTP who has replaced the one-time password, and
// returns the token of their session.
func (s *server) user(name string, role cloud.InstanceRole) (token string) {
	s.t.Helper()
	once := s.must("POST", "/users", map[string]any{"name": name, "role": role})["password"].(string)
	return s.as("", "POST", "/api/v1/sessions", map[string]any{"name": name, "password": once, "new_password": passwordOf(name)}).decode(201)["token"].(string)
}

func passwordOf(name string) string { return "the secret of " + name }

func TestAPI_logIn(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	token := s.logIn("olga", ownerPassword)
	if !strings.HasPrefix(token, cloud.SessionPrefix) {
		t.Errorf("token = %q", token)
	}
	s.as(token, "GET", "/api/v1/me", nil).decode(200)
	s.cookie(token, "GET", "/me", "").decode(200)

	wrong := s.as("", "POST", "/api/v1/sessions", `{"name":"olga","password":"a horse of yours"}`)
	wrong.fails(401, cloud.CodeUnauthorized, "", "wrong name or password")
	if got := wrong.header.Get("WWW-Authenticate"); got != `Bearer realm="picloud"` {
		t.Errorf("WWW-Authenticate = %q", got)
	}
	if nobody := s.as("", "POST", "/api/v1/sessions", `{"name":"nobody","password":"a horse of yours"}`); string(nobody.body) != string(wrong.body) {
		t.Errorf("an unknown user: %s, a wrong password: %s", nobody.body, wrong.body)
	}
	s.as("", "POST", "/api/v1/sessions", `{"name":"olga"}`).fails(422, cloud.CodeInvalid, "password", "password: is missing")
	s.as("", "POST", "/api/v1/sessions", `{"name":"olga","password":"`+strings.Repeat("x", 20<<10)+`"}`).fails(413, cloud.CodeTooLarge, "", "the body is over the limit of 16384 bytes")
	s.cookie("", "POST", "/sessions", `{"name":"olga","password":"a horse of mine"}`, "Sec-Fetch-Site", "cross-site").fails(403, cloud.CodeCrossSite, "", "…")
}

func TestAPI_logInOfABrowser(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	a := s.as("", "POST", "/api/v1/sessions", map[string]any{"name": "olga", "password": ownerPassword, "cookie": true})
	a.is(201, `{"session_id":"*","expires_at":"*",
		"user":{"id":"*","name":"olga","role":"owner","active":true,"access":"password","second_factor":false,"created_at":"*","last_login_at":"*"}}`)
	cookies := (&http.Response{Header: a.header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies = %v", cookies)
	}
	c := cookies[0]
	if want := "picloud_session=" + c.Value + "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"; a.header.Get("Set-Cookie") != want {
		t.Errorf("Set-Cookie = %q, want %q", a.header.Get("Set-Cookie"), want)
	}
	s.cookie(c.Value, "GET", "/me", "").decode(200)

	out := s.cookie(c.Value, "DELETE", "/sessions/current", "", "Origin", "http://localhost:8080")
	out.empty()
	want := []string{"picloud_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax", "__Host-picloud_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"}
	if got := out.header.Values("Set-Cookie"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("Set-Cookie = %q, want %q", got, want)
	}
	s.cookie(c.Value, "GET", "/me", "").fails(401, cloud.CodeUnauthorized, "", "…")
	s.as(c.Value, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
}

func TestAPI_logInOverTLS(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	ask := func(method, path, body, cookie string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "https://localhost"+path, strings.NewReader(body))
		r.TLS = &tls.ConnectionState{}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "https://localhost")
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		w := httptest.NewRecorder()
		s.manager.ServeHTTP(w, r)
		return w
	}
	in := ask("POST", "/api/v1/sessions", `{"name":"olga","password":"a horse of mine","cookie":true}`, "")
	header := in.Result().Header.Get("Set-Cookie")
	pair, attributes, _ := strings.Cut(header, "; ")
	if want := "Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax"; !strings.HasPrefix(pair, "__Host-picloud_session=pis_") || attributes != want {
		t.Errorf("Set-Cookie = %q", header)
	}
	if got := ask("GET", "/api/v1/me", "", pair); got.Code != 200 {
		t.Errorf("with the cookie: %d %s", got.Code, got.Body)
	}
	if got := ask("GET", "/api/v1/me", "", strings.TrimPrefix(pair, "__Host-")); got.Code != 401 {
		t.Errorf("with the cookie that anybody could set: %d %s", got.Code, got.Body)
	}
}

func TestAPI_logOutTakesASession(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	key := s.must("POST", "/me/keys", `{"name":"ci","scopes":["instance:admin"]}`)["token"].(string)
	s.as(key, "DELETE", "/api/v1/sessions/current", nil).fails(403, cloud.CodeForbidden, "", "an API key may not do this, whatever its scopes: log in with name and password")
	s.as(s.session, "DELETE", "/api/v1/sessions/current", nil).empty()
	s.as(s.session, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
	s.as(key, "GET", "/api/v1/me", nil).decode(200)
}

func TestAPI_sessionsExpire(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	token := s.logIn("olga", ownerPassword)
	s.clock.Store(int64(cloud.SessionLife/time.Second) + 1)
	s.as(token, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
}

func TestAPI_logInIsLimited(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for range 50 {
		a := s.as("", "POST", "/api/v1/sessions", `{"name":"olga","password":"a horse of yours"}`)
		if a.status == 401 {
			continue
		}
		p := a.fails(429, cloud.CodeRateLimited, "", "…")
		details, _ := p.Details.(map[string]any)
		after, _ := details["retry_after_seconds"].(float64)
		if got := a.header.Get("Retry-After"); after < 1 || got != text(t, after) {
			t.Errorf("Retry-After = %q, details %v", got, details)
		}
		s.clock.Add(int64(after) + 1)
		s.logIn("olga", ownerPassword)
		return
	}
	t.Error("50 failures were not too many")
}

func TestAPI_oneTimePassword(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	once := s.must("POST", "/users", `{"name":"mia"}`)["password"].(string)
	s.as("", "POST", "/api/v1/sessions", map[string]any{"name": "mia", "password": once}).fails(403, cloud.CodePasswordChange, "", "…")
	s.as("", "POST", "/api/v1/sessions", map[string]any{"name": "mia", "password": once, "new_password": "mias own words"}).decode(201)
	s.as("", "POST", "/api/v1/sessions", map[string]any{"name": "mia", "password": once}).fails(401, cloud.CodeUnauthorized, "", "…")
	s.logIn("mia", "mias own words")
}

func TestAPI_invitation(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	made := s.must("POST", "/users", `{"name":"mia","role":"admin","invite":true}`)
	invitation := made["invitation"].(map[string]any)
	token := invitation["token"].(string)
	if want := "http://localhost:8080/admin/invitation#" + token; invitation["url"] != want || !strings.HasPrefix(token, cloud.InvitationPrefix) || made["password"] != nil {
		t.Errorf("made = %v, want the link %s", made, want)
	}
	s.as("", "POST", "/api/v1/invitations:accept", map[string]any{"token": token, "password": "short"}).fails(422, cloud.CodeInvalid, "password", "…")
	s.as("", "POST", "/api/v1/invitations:accept", map[string]any{"token": token, "password": passwordOf("mia"), "cookie": true}).is(201,
		`{"session_id":"*","expires_at":"*","user":{"id":"*","name":"mia","role":"admin","active":true,"access":"password","second_factor":false,"created_at":"*","last_login_at":"*"}}`)
	s.as("", "POST", "/api/v1/invitations:accept", map[string]any{"token": token, "password": passwordOf("mia")}).fails(401, cloud.CodeUnauthorized, "", "…")
	s.as(token, "GET", "/api/v1/me", nil).fails(401, cloud.CodeUnauthorized, "", "…")
	s.logIn("mia", passwordOf("mia"))
}

func TestAPI_secondFactor(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	code := func(secret string) string {
		t.Helper()
		c, err := totp.GenerateCode(secret, now.Add(time.Duration(s.clock.Load())*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s.owner("POST", "/me/totp", `{"password":"a horse of yours"}`).fails(403, cloud.CodeForbidden, "", "…")
	password := map[string]any{"password": ownerPassword}
	setup := s.must("POST", "/me/totp", password)
	secret := setup["secret"].(string)
	if !strings.HasPrefix(setup["uri"].(string), "otpauth://totp/") {
		t.Errorf("uri = %v", setup["uri"])
	}
	s.owner("POST", "/me/totp:confirm", `{"code":"abc"}`).fails(422, cloud.CodeInvalid, "code", "…")
	recovery := s.must("POST", "/me/totp:confirm", map[string]any{"code": code(secret)})["recovery_codes"].([]any)
	s.owner("POST", "/me/totp", password).fails(409, cloud.CodeConflict, "", "…")
	s.owner("GET", "/me", nil).is(200, `{"user_id":"*","name":"olga","role":"owner","access":"password","second_factor":true,"session_id":"*","key":null}`)

	s.clock.Add(60)
	in := map[string]any{"name": "olga", "password": ownerPassword}
	missing := s.as("", "POST", "/api/v1/sessions", in)
	missing.fails(401, cloud.CodeSecondFactor, "", "…")
	in["code"] = code(secret)
	s.as("", "POST", "/api/v1/sessions", in).decode(201)
	s.as("", "POST", "/api/v1/sessions", in).fails(401, cloud.CodeSecondFactor, "", "…")
	in["code"] = recovery[0]
	s.as("", "POST", "/api/v1/sessions", in).decode(201)

	s.owner("POST", "/me/totp:disable", `{"password":"a horse of yours"}`).fails(403, cloud.CodeForbidden, "", "…")
	s.owner("POST", "/me/totp:disable", password).empty()
	s.logIn("olga", ownerPassword)
}
