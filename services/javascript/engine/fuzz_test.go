package engine

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/executor/wire"
)

// FuzzURL: a URL that parses serialises to one that parses to itself.
func FuzzURL(f *testing.F) {
	for _, s := range []string{"http://a/b?c#d", "HTTP://u:p@[::1]:80/../x", "file:///C|/", "mailto:x", "http://ex%41mple/%zz", "//", "https://münchen/ü?ü#ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := urls.Parse(s)
		if err != nil {
			return
		}
		href := u.Href(false)
		again, err := urls.Parse(href)
		if err != nil {
			t.Skip() // a known weakness of the standard itself for some opaque hosts
		}
		if origin(again) != origin(u) {
			t.Errorf("%q: origin %q became %q", s, origin(u), origin(again))
		}
	})
}

// FuzzQuery: what is serialised parses to the same pairs.
func FuzzQuery(f *testing.F) {
	f.Add("a=1&b=%20+x&&=&c")
	f.Add("%ff%zz=\xff")
	f.Fuzz(func(t *testing.T, s string) {
		q := query{pairs: parseQuery(s)}
		again := query{pairs: parseQuery(q.String())}
		if again.String() != q.String() || len(again.pairs) != len(q.pairs) {
			t.Errorf("%q: %q became %q", s, q.String(), again.String())
		}
	})
}

// FuzzHeaders: no header that a script can set breaks the head apart, and what
// came in goes out as the same bytes.
func FuzzHeaders(f *testing.F) {
	f.Add("x-a", "value")
	f.Add("a b", "x\r\ny: z")
	f.Add("é", "\xff")
	r := NewRuntime(&Program{})
	f.Fuzz(func(t *testing.T, name, value string) {
		if back := toLatin1(latin1(value)); back != value {
			t.Errorf("%q came back as %q", value, back)
		}
		h := &headers{}
		ex := r.vm.Try(func() {
			n := r.headerName(r.vm.ToValue(name))
			h.fields = append(h.fields, wire.Header{Name: n, Value: r.headerValue(n, r.vm.ToValue(value))})
		})
		if ex == nil && (strings.ContainsAny(h.fields[0].Name, " \r\n:") || strings.ContainsAny(toLatin1(h.fields[0].Value), "\r\n\x00")) {
			t.Errorf("%q: %q was taken", name, value)
		}
	})
}

// FuzzJSON compares the engine's JSON.parse with goja's.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0,1e3,"\ud83d\ude00\n"],"b":{"2":1,"1":2}}`, `[1,]`, `"\u12"`, `{"a":1,"a":2}`, ` [ ] `, `1.e1`, `"\ud800"`} {
		f.Add(s)
	}
	vm := goja.New()
	theirs, _ := goja.AssertFunction(vm.Get("JSON").(*goja.Object).Get("parse"))
	text, _ := goja.AssertFunction(vm.Get("JSON").(*goja.Object).Get("stringify"))
	r := NewRuntime(&Program{})
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || strings.Count(s, "[")+strings.Count(s, "{") > 1000 || strings.Contains(s, "__proto__") {
			return
		}
		var ours string
		ex := r.vm.Try(func() { ours = r.stringify(r.parseJSON(s)).String() })
		v, err := theirs(goja.Undefined(), vm.ToValue(s))
		if err != nil && strings.Contains(err.Error(), "cannot unmarshal number") {
			return // theirs refuses numbers beyond a double, which are Infinity
		}
		if (ex == nil) != (err == nil) {
			t.Fatalf("%q: ours %v, theirs %v", s, ex, err)
		}
		if ex != nil {
			return
		}
		want, err := text(goja.Undefined(), v)
		if strings.Contains(ours, `\ud`) {
			return // theirs loses lone surrogates
		}
		if err == nil && ours != want.String() {
			t.Errorf("%q: ours %s, theirs %s", s, ours, want)
		}
	})
}

// FuzzDecode: decoding in pieces is decoding at once.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("a\xe2\x82\xac\xf0\x9f\x98\x80\xff"), 2)
	f.Fuzz(func(t *testing.T, p []byte, at int) {
		if at < 0 || at > len(p) {
			return
		}
		for _, encoding := range []string{"utf-8", "utf-16le"} {
			whole, parts := textDecoder{encoding: encoding}, textDecoder{encoding: encoding}
			want, _ := whole.decode(p, false)
			a, _ := parts.decode(p[:at], true)
			b, _ := parts.decode(p[at:], false)
			if a+b != want {
				t.Errorf("%s %x at %d: %q + %q, want %q", encoding, p, at, a, b, want)
			}
		}
	})
}
