package main

import (
	"strings"
	"testing"
)

// TestAccounts_Commands says which requests a command makes and what it prints.
func TestAccounts_Commands(t *testing.T) {
	t.Parallel()
	const (
		key   = `{"id":"k1","name":"ci","scopes":["script:write"],"app_id":"","app":"","expires_at":null,"created_at":"2026-01-01T00:00:00Z"}`
		keys  = `200 {"items":[` + key + `,{"id":"k2","name":"twin"},{"id":"k3","name":"twin"}]}`
		grace = `{"id":"u2","name":"grace","role":"member","active":true,"access":"one_time"}`
	)
	for _, test := range []struct {
		rule    string
		answers map[string][]string
		env     map[string]string
		input   string
		args    string // split at blanks
		code    int
		asked   []string
		out     string   // all of standard output, if there is any
		outHas  []string // or parts of it
		errsHas []string
	}{
		{
			rule:    "passwd asks for the password there is",
			answers: map[string][]string{"GET /me": {isAda}, "PUT /me/password": {"204"}},
			input:   "old one\nnew one\n", args: "passwd",
			asked: []string{"GET /me as pis_x", `PUT /me/password {"current":"old one","new_password":"new one"} as pis_x`},
			out:   "Your password is changed, and your other sessions have ended.\n",
		},
		{
			rule:    "passwd asks for no password where there is none",
			answers: map[string][]string{"GET /me": {`200 {"name":"ada","access":"none"}`}, "PUT /me/password": {"204"}},
			input:   "new one\n", args: "passwd -o json",
			asked: []string{"GET /me as pis_x", `PUT /me/password {"new_password":"new one"} as pis_x`},
		},
		{
			rule: "totp on asks for the code until it is right",
			answers: map[string][]string{
				"POST /me/totp":         {`200 {"secret":"ABC","uri":"otpauth://totp/ada"}`},
				"POST /me/totp:confirm": {`422 {"code":"invalid","field":"code","detail":"is wrong"}`, `200 {"recovery_codes":["one","two"]}`},
			},
			input: "1\n2\n", args: "totp on",
			asked:   []string{"POST /me/totp as pis_x", `POST /me/totp:confirm {"code":"1"} as pis_x`, `POST /me/totp:confirm {"code":"2"} as pis_x`},
			outHas:  []string{"\n  otpauth://totp/ada\n", "type its secret there: ABC\n", "each is good once:\n\n  one\n  two\n"},
			errsHas: []string{"code: is wrong\n"},
		},
		{
			rule:    "totp on without a code stays off",
			answers: map[string][]string{"POST /me/totp": {`200 {"secret":"ABC","uri":"otpauth://totp/ada"}`}},
			args:    "totp on", code: exitFailure,
			asked:   []string{"POST /me/totp as pis_x"},
			outHas:  []string{"ABC"},
			errsHas: []string{"pic: no code was given: the second factor stays off\n"},
		},
		{
			rule:    "totp off takes the password",
			answers: map[string][]string{"POST /me/totp:disable": {"204"}},
			input:   "old one\n", args: "totp off",
			asked: []string{`POST /me/totp:disable {"password":"old one"} as pis_x`},
			out:   "Your second factor is off; the recovery codes are worth nothing now.\n",
		},
		{
			rule:    "sessions ls marks the one it was asked with",
			answers: map[string][]string{"GET /me/sessions": {`200 {"items":[{"id":"s1","address":"10.0.0.2","user_agent":"pic","current":true}]}`}},
			args:    "sessions ls",
			asked:   []string{"GET /me/sessions as pis_x"},
			outHas:  []string{"ID  BEGUN  LAST USED  ENDS  ADDRESS   WITH\n", "s1  -      this one   -     10.0.0.2  pic\n"},
		},
		{
			rule:    "sessions end ends those of another user",
			answers: map[string][]string{"DELETE /users/grace/sessions/s1": {"204"}, "DELETE /users/grace/sessions/s2": {"204"}},
			args:    "sessions end --user grace s1 s2",
			asked:   []string{"DELETE /users/grace/sessions/s1 as pis_x", "DELETE /users/grace/sessions/s2 as pis_x"},
			out:     "Ended session s1.\nEnded session s2.\n",
		},
		{
			rule:    "sessions end-others says how many there were",
			answers: map[string][]string{"POST /me/sessions:end-others": {`200 {"ended":3}`}},
			args:    "sessions end-others",
			asked:   []string{"POST /me/sessions:end-others as pis_x"},
			out:     "Ended 3 other sessions.\n",
		},
		{
			rule:    "keys create prints the key alone, and PICLOUD_APP does not bind it",
			answers: map[string][]string{"POST /me/keys": {`201 {"key":` + key + `,"token":"pic_made"}`}},
			env:     map[string]string{"PICLOUD_APP": "shop"},
			args:    "keys create ci --scope script:write,route:write --scope log:read",
			asked:   []string{`POST /me/keys {"name":"ci","scopes":["script:write","route:write","log:read"]} as pis_x`},
			out:     "pic_made\n",
			errsHas: []string{"Key ci for all apps, which never expires. Keep it: it is not shown again.\n"},
		},
		{
			rule:    "keys create binds to --app, and counts --expires from now",
			answers: map[string][]string{"POST /me/keys": {`201 {"key":{"name":"ci","app_id":"a1","app":"shop","expires_at":"2026-05-01T12:00:00Z"},"token":"pic_made"}`}},
			args:    "keys create ci --scope script:write --app shop --expires 90d",
			asked:   []string{`POST /me/keys {"name":"ci","scopes":["script:write"],"app":"shop","expires_at":"2026-05-01T12:00:00Z"} as pis_x`},
			out:     "pic_made\n",
			errsHas: []string{"Key ci for the app shop, until 2026-05-01"},
		},
		{
			rule: "keys create names the scopes there are",
			args: "keys create ci", code: exitUsage,
			errsHas: []string{"--scope is missing", "script:read, script:write, route:write, domain:manage, log:read, app:admin, instance:admin"},
		},
		{
			rule: "keys create knows times",
			args: "keys create ci --scope log:read --expires soon", code: exitUsage,
			errsHas: []string{`--expires "soon" is neither a time`},
		},
		{
			rule:    "keys ls says what a key is good for",
			answers: map[string][]string{"GET /me/keys": {`200 {"items":[` + key + `]}`}},
			args:    "keys ls",
			asked:   []string{"GET /me/keys as pis_x"},
			outHas:  []string{"NAME  SCOPES        APP  EXPIRES  LAST USED  CREATED", "ci    script:write  all  -        -          20"},
		},
		{
			rule:    "keys rm finds a key by its name, or its id",
			answers: map[string][]string{"GET /me/keys": {keys}, "DELETE /me/keys/k1": {"204"}, "DELETE /me/keys/k3": {"204"}},
			args:    "keys rm ci k3",
			asked:   []string{"GET /me/keys as pis_x", "DELETE /me/keys/k1 as pis_x", "DELETE /me/keys/k3 as pis_x"},
			out:     "Revoked key ci.\nRevoked key twin.\n",
		},
		{
			rule:    "keys rm revokes nothing if one of them is unclear",
			answers: map[string][]string{"GET /users/grace/keys": {keys}},
			args:    "keys rm --user grace ci twin", code: exitFailure,
			asked:   []string{"GET /users/grace/keys as pis_x"},
			errsHas: []string{"pic: several keys are named twin: give the id from pic keys ls\n"},
		},
		{
			rule:    "keys rm knows what there is not",
			answers: map[string][]string{"GET /me/keys": {keys}},
			args:    "keys rm nobody", code: exitFailure,
			asked:   []string{"GET /me/keys as pis_x"},
			errsHas: []string{"pic: there is no key nobody: see pic keys ls\n"},
		},
		{
			rule:    "users ls says how they come in",
			answers: map[string][]string{"GET /users": {`200 {"items":[` + grace + `,{"name":"ada","role":"owner","access":"password","second_factor":true,"last_login_at":"2026-01-01T00:00:00Z"}]}`}},
			args:    "users ls",
			asked:   []string{"GET /users as pis_x"},
			outHas:  []string{"grace  member  active    one-time password  off            -", "ada    owner   inactive  password           on             202"},
		},
		{
			rule:    "users create prints the one-time password alone",
			answers: map[string][]string{"POST /users": {`201 {"user":` + grace + `,"password":"once-only","expires_at":"2026-02-07T12:00:00Z"}`}},
			args:    "users create grace",
			asked:   []string{`POST /users {"name":"grace"} as pis_x`},
			out:     "once-only\n",
			errsHas: []string{"Created grace, member of this instance.\n", "Give grace this one-time password, to be replaced at the log-in. It works until 2026-02-07"},
		},
		{
			rule:    "users create --invite prints the link alone",
			answers: map[string][]string{"POST /users": {`201 {"user":` + grace + `,"invitation":{"token":"pin_x","url":"http://pi/admin/invitation#pin_x"},"expires_at":"2026-02-07T12:00:00Z"}`}},
			args:    "users create grace --role admin --invite",
			asked:   []string{`POST /users {"name":"grace","role":"admin","invite":true} as pis_x`},
			out:     "http://pi/admin/invitation#pin_x\n",
			errsHas: []string{"Give grace this link, by a way that nobody else reads. It works once, until 2026-02-07"},
		},
		{
			rule:    "users change sends what changes",
			answers: map[string][]string{"PATCH /users/grace": {`200 {"name":"hopper","role":"member"}`}},
			args:    "users change grace --rename hopper",
			asked:   []string{`PATCH /users/grace {"name":"hopper"} as pis_x`},
			out:     "hopper is member of this instance.\n",
		},
		{rule: "users change wants something to change", args: "users change grace", code: exitUsage, errsHas: []string{"nothing to change: pass --role or --rename"}},
		{
			rule:    "users deactivate",
			answers: map[string][]string{"PATCH /users/grace": {`200 ` + grace}},
			args:    "users deactivate grace",
			asked:   []string{`PATCH /users/grace {"active":false} as pis_x`},
			out:     "grace is deactivated: sessions have ended, keys do not work.\n",
		},
		{
			rule:    "users activate",
			answers: map[string][]string{"PATCH /users/grace": {`200 ` + grace}},
			args:    "users activate grace",
			asked:   []string{`PATCH /users/grace {"active":true} as pis_x`},
			out:     "grace may log in again.\n",
		},
		{
			rule:    "users reset prints the one-time password alone",
			answers: map[string][]string{"POST /users/grace/reset": {`200 {"password":"once-only","expires_at":"2026-02-07T12:00:00Z"}`}},
			args:    "users reset grace",
			asked:   []string{`POST /users/grace/reset {} as pis_x`},
			out:     "once-only\n",
			errsHas: []string{"Give grace this one-time password"},
		},
		{
			rule:    "users rm takes the name, typed again",
			answers: map[string][]string{"GET /users/GRACE": {`200 ` + grace}, "DELETE /users/u2": {"204"}},
			input:   "grace\n", args: "users rm GRACE",
			asked:   []string{"GET /users/GRACE as pis_x", "DELETE /users/u2 as pis_x"},
			out:     "Deleted user grace.\n",
			errsHas: []string{"This deletes the user grace with all keys, sessions and memberships", "Type its name to go on: "},
		},
		{
			rule:    "users rm deletes nobody else",
			answers: map[string][]string{"GET /users/grace": {`200 ` + grace}},
			input:   "ada\n", args: "users rm grace", code: exitFailure,
			asked:   []string{"GET /users/grace as pis_x"},
			errsHas: []string{"that was not grace: nothing was deleted"},
		},
		{
			rule:    "members set",
			answers: map[string][]string{"PUT /apps/shop/members/grace": {`200 {"name":"grace","role":"viewer"}`}},
			args:    "members set grace viewer --app shop",
			asked:   []string{`PUT /apps/shop/members/grace {"role":"viewer"} as pis_x`},
			out:     "grace is viewer of the app shop.\n",
		},
		{
			rule:    "members ls",
			answers: map[string][]string{"GET /apps/default/members": {`200 {"items":[{"name":"grace","role":"viewer","created_at":"2026-01-01T00:00:00Z"}]}`}},
			args:    "members ls",
			asked:   []string{"GET /apps/default/members as pis_x"},
			outHas:  []string{"NAME   ROLE    SINCE\n", "grace  viewer  20"},
		},
		{
			rule:    "members rm",
			answers: map[string][]string{"DELETE /apps/default/members/grace": {"204"}},
			args:    "members rm grace",
			asked:   []string{"DELETE /apps/default/members/grace as pis_x"},
			out:     "grace is no member of the app any more.\n",
		},
		{
			rule:    "audit filters, by the app that was given alone",
			answers: map[string][]string{"GET /audit?action=delete-app&app=shop&limit=5&user=ada": {`200 {"items":[{"at":"2026-01-01T00:00:00Z","user":"ada","via":"session","action":"delete-app","app":"shop"}]}`}},
			args:    "audit --user ada --app shop --action delete-app --limit 5",
			asked:   []string{"GET /audit?action=delete-app&app=shop&limit=5&user=ada as pis_x"},
			outHas:  []string{"ada  session  -     delete-app  shop  -\n"},
		},
		{
			rule:    "audit shows all apps, whatever PICLOUD_APP says",
			answers: map[string][]string{"GET /audit?limit=50": {`200 {"items":[]}`}},
			env:     map[string]string{"PICLOUD_APP": "shop"},
			args:    "audit",
			asked:   []string{"GET /audit?limit=50 as pis_x"},
			out:     "WHEN  WHO  BY  FROM  ACTION  APP  WHAT\n",
		},
		{rule: "audit has a bound", args: "audit --limit 1001", code: exitUsage, errsHas: []string{"--limit 1001 is not between 1 and 1000"}},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, test.answers)
			c := testCLI(t, test.env)
			keep(t, c, f.url, "pis_x")
			code, out, errs := pic(t, c, test.input, strings.Fields(test.args)...)
			if code != test.code {
				t.Errorf("pic %s ended with %d, want %d: %s", test.args, code, test.code, errs)
			}
			f.wasAsked(t, test.asked...)
			if test.outHas == nil && out != test.out {
				t.Errorf("standard output is\n%s\nwant\n%s", out, test.out)
			}
			has(t, "standard output", out, test.outHas...)
			has(t, "standard error", errs, test.errsHas...)
		})
	}
}
