package caddycloud_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
)

// person is a user who has logged in.
type person struct {
	id, name, password string
	session            string // the token
}

// otherApp is the id of an app that the test is not about.
func (s *server) otherApp() string {
	s.t.Helper()
	if s.elsewhere == "" {
		s.elsewhere = decode[struct{ ID string }](s, s.must(http.StatusCreated, http.MethodPost, "/api/v1/apps", `{"slug":"elsewhere"}`)).ID
	}
	return s.elsewhere
}

// startUnclaimed starts a server that has no owner.
func startUnclaimed(t *testing.T) *server {
	t.Helper()
	return newServer(t, cloudtest.URL(t), false)
}

// user creates a user with a password and logs them in. The owner's key makes no
// owners, so the database does.
func (s *server) user(name string, role cloud.InstanceRole, password string) person {
	s.t.Helper()
	asked := role
	if role == cloud.Owner {
		asked = cloud.Member
	}
	made := decode[struct {
		User     struct{ ID string }
		Password string
	}](s, s.must(http.StatusCreated, http.MethodPost, "/api/v1/users", fmt.Sprintf(`{"name":%q,"role":%q}`, name, asked)))
	if _, err := s.pool.Exec(s.t.Context(), "UPDATE users SET role = $2 WHERE id = $1", made.User.ID, role); err != nil {
		s.t.Fatal(err)
	}
	in := decode[struct{ Token string }](s, s.must(http.StatusCreated, http.MethodPost, "/api/v1/sessions",
		fmt.Sprintf(`{"name":%q,"password":%q,"new_password":%q}`, name, made.Password, password)))
	return person{made.User.ID, name, password, in.Token}
}

// logIn begins another session of the user.
func (s *server) logIn(p person) string {
	s.t.Helper()
	return decode[struct{ Token string }](s, s.must(http.StatusCreated, http.MethodPost, "/api/v1/sessions",
		fmt.Sprintf(`{"name":%q,"password":%q}`, p.name, p.password))).Token
}

// must sends a request as the owner and returns the answer's body.
func (s *server) must(status int, method, path, body string) string {
	s.t.Helper()
	got, answer := s.do(method, path, body)
	if got != status {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	return answer
}

func (s *server) deployTo(app, name, source string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"scripts": []any{map[string]any{"name": name, "language": "js", "source": source}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.must(http.StatusOK, http.MethodPost, "/api/v1/apps/"+app+"/deploy", string(body))
}

func decode[T any](s *server, text string) (v T) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		s.t.Fatalf("%v in %s", err, text)
	}
	return v
}

// token is one that this instance did not give out, with the form of one that it
// might.
func token(prefix string) string {
	return prefix + strings.TrimPrefix(accounts.MintKey(), cloud.KeyPrefix)
}

// userKey stores an API key beside the API, which would refuse some of them.
// expires is an SQL expression.
func (s *server) userKey(userID, appID, expires string, scopes ...cloud.Scope) string {
	s.t.Helper()
	text := token(cloud.KeyPrefix)
	hash := accounts.HashToken(text)
	if scopes == nil {
		scopes = []cloud.Scope{}
	}
	s.sql(`INSERT INTO api_keys (id, user_id, name, hash, scopes, app_id, expires_at)
		VALUES ($1, $2, 'test', $3, $4, nullif($5, '')::uuid, `+expires+`)`, cloud.NewID(), userID, hash[:], scopes, appID)
	return text
}

// sql changes one row of the database.
func (s *server) sql(statement string, args ...any) {
	s.t.Helper()
	tag, err := s.pool.Exec(s.t.Context(), statement, args...)
	if err != nil || tag.RowsAffected() != 1 {
		s.t.Fatal(tag, err)
	}
}

// asked sends a request with a credential and returns status, body and headers.
func (s *server) asked(credential func(*http.Request), method, path, body string) (int, string, http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	credential(req)
	res, err := http.DefaultTransport.RoundTrip(req) // redirects are answers here
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

// by sends a request with a bearer token and returns the answer's body.
func (s *server) by(token string, status int, method, path, body string) string {
	s.t.Helper()
	got, answer, _ := s.asked(bearer(token), method, path, body)
	if got != status {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	return answer
}

// dump is everything in the database but the executions and when something was
// used: a line for each row.
func (s *server) dump() map[string]bool {
	s.t.Helper()
	rows, _ := s.pool.Query(s.t.Context(), `
		SELECT table_name FROM information_schema.tables
		WHERE table_schema = 'public' AND table_name <> 'executions'`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	lines := map[string]bool{}
	for _, table := range tables {
		rows, _ := s.pool.Query(s.t.Context(), `
			SELECT (to_jsonb(t) - '{seen_at,last_used_at,last_login_at}'::text[]
				- CASE WHEN $1 = 'sessions' THEN 'expires_at' ELSE '' END)::text FROM `+pgx.Identifier{table}.Sanitize()+` t`, table)
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			s.t.Fatal(err)
		}
		for _, line := range all {
			lines[table+" "+line] = true
		}
	}
	return lines
}

// changes is what is in one dump and not in the other.
func changes(before, after map[string]bool) []string {
	var found []string
	for line := range before {
		if !after[line] {
			found = append(found, "- "+line)
		}
	}
	for line := range after {
		if !before[line] {
			found = append(found, "+ "+line)
		}
	}
	return found
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// cookie is a session as a page of the instance's own origin sends it.
func cookie(token string) func(*http.Request) {
	return func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: cloud.SessionCookie, Value: token})
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
}

func nobody(*http.Request) {}
