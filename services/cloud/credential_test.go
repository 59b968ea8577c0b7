package cloud

import (
	"crypto/tls"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestBearerToken(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "Bearer pic_a": "pic_a", "bearer  pic_a ": "pic_a", "Bearer": "", "Basic pic_a": "", "pic_a": "", "Bearerpic_a": "",
	} {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		if got := BearerToken(r); got != want {
			t.Errorf("%q holds %q, want %q", header, got, want)
		}
	}
}

// Whoever may set cookies for a parent domain, or for a path, sets one beside the
// browser's own: which of them is the session cannot be told.
func TestSessionToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cookies []string
		tls     bool
		want    string
	}{
		{nil, false, ""},
		{[]string{"picloud_session=pis_a"}, false, "pis_a"},
		{[]string{"__Host-picloud_session=pis_a"}, true, "pis_a"},
		{[]string{"a=1; picloud_session=pis_a; b=2"}, false, "pis_a"},
		{[]string{"picloud_session="}, false, ""},
		{[]string{"picloud_session=pis_a; picloud_session=pis_b"}, false, ""},
		{[]string{"picloud_session=pis_a; picloud_session=pis_a"}, false, ""},
		{[]string{"picloud_session=; picloud_session=pis_a"}, false, ""},
		{[]string{"picloud_session=pis_a", "picloud_session=pis_b"}, false, ""},
		{[]string{"__Host-picloud_session=pis_a; __Host-picloud_session=pis_b"}, true, ""},
		{[]string{"__Host-picloud_session=pis_a; picloud_session=pis_b"}, true, "pis_a"}, // none that counts here
	} {
		r := &http.Request{Method: http.MethodGet, Header: http.Header{"Cookie": test.cookies}}
		if test.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got, err := SessionToken(r); got != test.want || err != nil {
			t.Errorf("%q hold %q, %v, want %q", test.cookies, got, err, test.want)
		}
	}
}

func TestWithoutSession(t *testing.T) {
	t.Parallel()
	for cookies, want := range map[string]string{
		"":                                     "",
		"a=1":                                  "a=1",
		"picloud_session=pis_x":                "",
		"__Host-picloud_session=pis_x":         "",
		"a=1; picloud_session=pis_x; b=2":      "a=1; b=2",
		"picloud_session=pis_x; b=2":           "b=2",
		"a=1; picloud_session=pis_x":           "a=1",
		"a=1;picloud_session=pis_x;b=2":        "a=1;b=2",
		"a=1;\t picloud_session =pis_x ;b=2":   "a=1;b=2",
		"picloud_session":                      "",
		"picloud_session=a; picloud_session=b": "",
		`a="x; picloud_session=pis_x; y"`:      `a="x; y"`,
		"my_picloud_session=1; picloud_sessions=2; Picloud_Session=3": "my_picloud_session=1; picloud_sessions=2; Picloud_Session=3",
		"a= 1 ;  b=\"q\";;c; =; picloud_session=x":                    "a= 1 ;  b=\"q\";;c; =",
		"=picloud_session=x": "=picloud_session=x", // no server reads it as a session
	} {
		if got := withoutSession(cookies); got != want {
			t.Errorf("%q becomes %q, want %q", cookies, got, want)
		}
	}
}

// FuzzWithoutSession: the server finds no session in what is left, and all other
// cookies that it found before.
func FuzzWithoutSession(f *testing.F) {
	for _, s := range []string{"a=1; picloud_session=x; b=2", `a="x; picloud_session=y"`, "__Host-picloud_session = x", "; ;=;picloud_session"} {
		f.Add(s)
	}
	read := func(value string) (own int, others []string) {
		r := http.Request{Header: http.Header{"Cookie": {value}}}
		for _, c := range r.Cookies() {
			if IsSessionCookie(c.Name) {
				own++
			} else {
				others = append(others, c.String())
			}
		}
		return own, others
	}
	f.Fuzz(func(t *testing.T, value string) {
		_, before := read(value)
		left := withoutSession(value)
		own, after := read(left)
		if own != 0 || !reflect.DeepEqual(after, before) {
			t.Errorf("%q becomes %q with %d sessions; the others were %q, are %q", value, left, own, before, after)
		}
		if !strings.Contains(value, "picloud_session") && left != value {
			t.Errorf("%q becomes %q", value, left)
		}
	})
}

func TestOwnCredential(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"":                        false,
		"Bearer theirs":           false,
		"Bearer eyJh.pic_x.pis_y": false,
		"Basic cGljXzpwaXNf":      false,
		"Bearer pic_":             true,
		"bearer   pis_x":          true,
		"Bearer\tpic_x":           true,
		"Token token=\"pic_x\"":   true,
		"pic_x":                   true,
		"Bearer a,Bearer pic_x":   true,
	} {
		if got := ownCredential(value); got != want {
			t.Errorf("%q is PiCloud's own: %v", value, got)
		}
	}
}

func TestStripCredentials(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"Authorization":     {"Bearer pic_x", "Bearer theirs"},
		"Cookie":            {"a=1; picloud_session=pis_x", "__Host-picloud_session=pis_x"},
		"X-Picloud-App":     {"other"},
		"x-picloud-PRIVATE": {"1"},
		"cookie":            {"picloud_session=pis_x"},
		"Accept":            {"pic_x", "*/*"},
	}
	StripCredentials(h)
	want := http.Header{"Authorization": {"Bearer theirs"}, "Cookie": {"a=1"}, "Accept": {"pic_x", "*/*"}}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("left are %v, want %v", h, want)
	}
}
