package postgres

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestFold(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "", "Ann.Lee_2@x-y": "ann.lee_2@x-y", "ÄRGER": "ärger", "\u212aelvin": "kelvin", "ſ": "s", "ΛΌΓΟΣ": "λόγοσ", "İpek": "ipek", "名前": "名前",
	} {
		if got := fold(name); got != want {
			t.Errorf("fold(%q) = %q, want %q", name, got, want)
		}
	}
	for r := range unicode.MaxRune {
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			if fold(string(r)) != fold(string(other)) {
				t.Errorf("%q and %q are equal without regard to case, but not folded", r, other)
			}
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("Ann", "aNN")
	f.Add("\x00\xff", "İ")
	f.Fuzz(func(t *testing.T, a, b string) {
		folded := fold(a)
		if !utf8.ValidString(folded) || strings.ContainsRune(folded, 0) {
			t.Errorf("fold(%q) = %q cannot be kept", a, folded)
		}
		if again := fold(folded); again != folded {
			t.Errorf("fold(%q) = %q, and again %q", a, folded, again)
		}
		if utf8.ValidString(a) && utf8.ValidString(b) && strings.EqualFold(a, b) && folded != fold(b) {
			t.Errorf("%q and %q are equal without regard to case, but not folded", a, b)
		}
	})
}
