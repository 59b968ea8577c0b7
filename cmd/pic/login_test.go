package main

import (
	"strings"
	"testing"
)

// The answers of a server to someone who logs in.
var (
	noCredentials = problemText(401, "unauthorized", "credentials are missing")
	unclaimed     = problemText(403, "unclaimed", "nobody owns this yet")
	begun         = `201 {"token":"pis_new","user":{"name":"ada"}}`
	isAda         = `200 {"name":"ada","role":"owner","key":null,"session_id":"s1","second_factor":false,"access":"password"}`
)

func TestLogin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule    string
		answers map[string][]string
		input   string
		args    []string
		asked   []string
		out     string // a part of standard output
		token   string // what is kept
	}{
		{
			rule:    "a password becomes a session",
			answers: map[string][]string{"GET /me": {noCredentials, isAda}, "POST /sessions": {begun}},
			input:   " correct horse \n", args: []string{"--user", "ada"},
			asked: []string{"GET /me", `POST /sessions {"name":"ada","password":" correct horse "}`, "GET /me as pis_new"},
			out:   " as ada (owner).", token: "pis_new",
		},
		{
			rule:    "the code can be given at once",
			answers: map[string][]string{"GET /me": {noCredentials, isAda}, "POST /sessions": {begun}},
			input:   "correct horse", args: []string{"--user", "ada", "--code", "123456"},
			asked: []string{"GET /me", `POST /sessions {"name":"ada","password":"correct horse","code":"123456"}`, "GET /me as pis_new"},
			out:   " as ada", token: "pis_new",
		},
		{
			rule: "the code is asked for until it is right",
			answers: map[string][]string{"GET /me": {noCredentials, isAda}, "POST /sessions": {
				problemText(401, "second_factor_required", "the code is missing"),
				problemText(401, "second_factor_required", "the code is wrong"),
				begun,
			}},
			input: "correct horse\n1\n 2 \n", args: []string{"--user", "ada"},
			asked: []string{
				"GET /me",
				`POST /sessions {"name":"ada","password":"correct horse"}`,
				`POST /sessions {"name":"ada","password":"correct horse","code":"1"}`,
				`POST /sessions {"name":"ada","password":"correct horse","code":"2"}`,
				"GET /me as pis_new",
			},
			out: " as ada", token: "pis_new",
		},
		{
			rule: "a one-time password is replaced",
			answers: map[string][]string{"GET /me": {noCredentials, isAda}, "POST /sessions": {
				problemText(403, "password_change_required", "replace it"), begun,
			}},
			input: "one time\r\ncorrect horse\r\n", args: []string{"--user", "ada"},
			asked: []string{
				"GET /me",
				`POST /sessions {"name":"ada","password":"one time"}`,
				`POST /sessions {"name":"ada","password":"one time","new_password":"correct horse"}`,
				"GET /me as pis_new",
			},
			out: " as ada", token: "pis_new",
		},
		{
			rule:    "a server that nobody owns is claimed",
			answers: map[string][]string{"GET /me": {unclaimed, isAda}, "POST /claim": {begun}},
			input:   "correct horse\n", args: []string{"--claim", "--user", "ada"},
			asked: []string{"GET /me", `POST /claim {"name":"ada","password":"correct horse"}`, "GET /me as pis_new"},
			out:   " as ada (owner).", token: "pis_new",
		},
		{
			rule:    "an invitation is followed by its token",
			answers: map[string][]string{"GET /me": {noCredentials, isAda}, "POST /invitations:accept": {begun}},
			input:   "correct horse\n", args: []string{"--invitation", "pin_abc"},
			asked: []string{"GET /me", `POST /invitations:accept {"token":"pin_abc","password":"correct horse"}`, "GET /me as pis_new"},
			out:   " as ada", token: "pis_new",
		},
		{
			rule:    "a key is kept once the server took it",
			answers: map[string][]string{"GET /me": {noCredentials, isAda}},
			input:   "pic_key\n",
			asked:   []string{"GET /me", "GET /me as pic_key"},
			out:     " as ada", token: "pic_key",
		},
		{
			rule:    "programs learn who they are, and no token",
			answers: map[string][]string{"GET /me": {noCredentials, isAda}, "POST /sessions": {begun}},
			input:   "correct horse", args: []string{"--user", "ada", "-o", "json"},
			asked: []string{"GET /me", `POST /sessions {"name":"ada","password":"correct horse"}`, "GET /me as pis_new"},
			out:   `"session_id": "s1"`, token: "pis_new",
		},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, test.answers)
			c := testCLI(t, nil)
			keep(t, c, f.url, "pis_old") // which must not get in the way
			code, out, errs := pic(t, c, test.input, append([]string{"login", "--url", f.url}, test.args...)...)
			if code != exitOK {
				t.Fatalf("pic login failed: %s", errs)
			}
			f.wasAsked(t, test.asked...)
			has(t, "standard output", out, test.out)
			if strings.Contains(out, "pis_new") {
				t.Errorf("standard output tells the token: %s", out)
			}
			if got := kept(t, c, f.url); got != test.token {
				t.Errorf("kept %q, want %q", got, test.token)
			}
		})
	}
}

func TestLogin_Refused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule    string
		answers map[string][]string
		input   string
		args    []string
		code    int
		want    []string // parts of standard error
	}{
		{
			rule:    "a wrong password",
			answers: map[string][]string{"GET /me": {noCredentials}, "POST /sessions": {problemText(401, "unauthorized", "wrong name or password")}},
			input:   "wrong horse", args: []string{"--user", "ada"}, code: exitFailure,
			want: []string{"pic: wrong name or password\n", "pic users reset ada", "picloud admin reset-password ada"},
		},
		{
			rule:    "no code where one is needed",
			answers: map[string][]string{"GET /me": {noCredentials}, "POST /sessions": {problemText(401, "second_factor_required", "the code is missing")}},
			input:   "correct horse\n", args: []string{"--user", "ada"}, code: exitFailure,
			want: []string{"pic: the code is missing\nPass it with --code, or type it when asked.\n"},
		},
		{
			rule:    "no new password where one is needed",
			answers: map[string][]string{"GET /me": {noCredentials}, "POST /sessions": {problemText(403, "password_change_required", "replace it")}},
			input:   "one time\n", args: []string{"--user", "ada"}, code: exitFailure,
			want: []string{"Your one-time password is right. Choose a password of your own.\n", "pic: no new password was given\n"},
		},
		{
			rule:    "no password",
			answers: map[string][]string{"GET /me": {noCredentials}},
			args:    []string{"--user", "ada"}, code: exitUsage,
			want: []string{"pic: no password was given"},
		},
		{
			rule:    "a server that nobody owns",
			answers: map[string][]string{"GET /me": {unclaimed}},
			input:   "correct horse", args: []string{"--user", "ada"}, code: exitFailure,
			want: []string{"pic: nobody owns this yet\npic login --claim --url http://127.0.0.1:", " makes you its owner.\n"},
		},
		{
			rule:    "a claim of what is owned",
			answers: map[string][]string{"GET /me": {noCredentials}},
			input:   "correct horse", args: []string{"--claim", "--user", "eve"}, code: exitFailure,
			want: []string{" has an owner already: log in with pic login --url "},
		},
		{
			rule:    "a claim without a name",
			answers: map[string][]string{"GET /me": {unclaimed}},
			input:   "correct horse", args: []string{"--claim"}, code: exitUsage,
			want: []string{"pic: --claim needs the owner's name: pass --user"},
		},
		{
			rule:    "an invitation that was used",
			answers: map[string][]string{"GET /me": {noCredentials}, "POST /invitations:accept": {problemText(401, "unauthorized", "no such invitation")}},
			input:   "correct horse", args: []string{"--invitation", "pin_abc"}, code: exitFailure,
			want: []string{"pic: no such invitation\nAn invitation works once, and for a week."},
		},
		{
			rule:    "something that is no invitation",
			answers: map[string][]string{"GET /me": {noCredentials}},
			args:    []string{"--invitation", "pic_key"}, code: exitUsage,
			want: []string{`--invitation "pic_key" holds no invitation, which begins with pin_`},
		},
		{
			rule:    "a server in trouble is told before a password is asked for",
			answers: map[string][]string{"GET /me": {problemText(503, "unavailable", "the database is away")}},
			args:    []string{"--user", "ada"}, code: exitFailure,
			want: []string{"pic: the database is away\nThat passes: try again in a moment.\n"},
		},
		{rule: "two ways at once", args: []string{"--claim", "--token", "x"}, code: exitUsage, want: []string{"exclude each other"}},
		{rule: "a user with a key", args: []string{"--user", "ada", "--token", "x"}, code: exitUsage, want: []string{"--user is for a password"}},
		{rule: "a code without a password", args: []string{"--code", "1", "--claim"}, code: exitUsage, want: []string{"--code goes with a name and a password"}},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, test.answers)
			c := testCLI(t, nil)
			code, out, errs := pic(t, c, test.input, append([]string{"login", "--url", f.url}, test.args...)...)
			if code != test.code || out != "" {
				t.Errorf("pic login ended with %d and printed %q, want %d and nothing", code, out, test.code)
			}
			has(t, "standard error", errs, test.want...)
			if got := kept(t, c, f.url); got != "" {
				t.Errorf("kept %q of a log-in that failed", got)
			}
		})
	}
}

func TestLogin_InvitationLink(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, map[string][]string{"GET /me": {noCredentials, isAda}, "POST /invitations:accept": {begun}})
	c := testCLI(t, map[string]string{"PICLOUD_URL": "http://elsewhere.invalid", "PICLOUD_TOKEN": "pic_env"})
	code, _, errs := pic(t, c, "correct horse", "login", "--invitation", f.url+"/admin/invitation#pin_abc")
	if code != exitOK {
		t.Fatal(errs)
	}
	f.wasAsked(t, "GET /me", `POST /invitations:accept {"token":"pin_abc","password":"correct horse"}`, "GET /me as pis_new")
	if got := kept(t, c, f.url); got != "pis_new" {
		t.Errorf("kept %q for the server of the link, want the session", got)
	}
	has(t, "standard error", errs, "PICLOUD_TOKEN is set and comes before this log-in")
}

func TestLogout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule, token, answer string
		asked               []string
		out, errs           string
	}{
		{"a session ends on the server too", "pis_x", "204", []string{"DELETE /sessions/current as pis_x"}, "Logged out of ", ""},
		{"a session may have ended before", "pis_x", noCredentials, []string{"DELETE /sessions/current as pis_x"}, "Logged out of ", ""},
		{"a session is forgotten even if the server cannot end it", "pis_x", problemText(503, "unavailable", "the database is away"), []string{"DELETE /sessions/current as pis_x"}, "Logged out of ", "the database is away\nThe session is forgotten here; on the server it ends a day after its last use.\n"},
		{"a key is only forgotten", "pic_x", "", nil, "the API key is forgotten here, and still valid.", ""},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, map[string][]string{"DELETE /sessions/current": {test.answer}})
			c := testCLI(t, nil)
			keep(t, c, f.url, test.token)
			code, out, errs := pic(t, c, "", "logout")
			if code != exitOK || errs != test.errs {
				t.Errorf("pic logout ended with %d and %q, want 0 and %q", code, errs, test.errs)
			}
			has(t, "standard output", out, test.out)
			f.wasAsked(t, test.asked...)
			if got := kept(t, c, f.url); got != "" {
				t.Errorf("%q is still kept", got)
			}
		})
	}

	t.Run("without the network the session is forgotten", func(t *testing.T) {
		t.Parallel()
		c := testCLI(t, nil)
		keep(t, c, "http://127.0.0.1:1", "pis_x")
		code, _, errs := pic(t, c, "", "logout")
		if code != exitOK || kept(t, c, "http://127.0.0.1:1") != "" {
			t.Errorf("pic logout ended with %d: %s", code, errs)
		}
		has(t, "standard error", errs, "cannot reach http://127.0.0.1:1", "The session is forgotten here")
	})
}

func TestWhoami(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule, answer string
		want         []string
	}{
		{
			"a session", `200 {"name":"ada","role":"owner","key":null,"second_factor":true}`,
			[]string{"User           ada\n", "Logged in      by a session\n", "Second factor  on\n"},
		},
		{
			"a key", `200 {"name":"ada","role":"owner","key":{"id":"k1","name":"ci","scopes":["script:read","log:read"],"app_id":"a1","expires_at":null}}`,
			[]string{"Logged in      by the API key ci\n", "Scopes         script:read log:read\n", "Only app       a1\n", "Second factor  off\n"},
		},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, map[string][]string{"GET /me": {test.answer}})
			code, out, errs := pic(t, testCLI(t, nil), "", "whoami", "--url", f.url)
			if code != exitOK {
				t.Fatal(errs)
			}
			has(t, "standard output", out, test.want...)
		})
	}
}
