package regexpclass_test

import (
	"strings"
	"testing"

	"github.com/dop251/goja"

	"github.com/picloud/picloud/services/javascript/regexpclass"
)

// matches tells whether goja finds the expanded pattern in text.
func matches(t *testing.T, pattern, flags, text string) bool {
	t.Helper()
	expanded, err := regexpclass.Expand(pattern, flags)
	if err != nil {
		t.Fatalf("Expand(%q, %q): %v", pattern, flags, err)
	}
	vm := goja.New()
	_ = vm.Set("p", expanded)
	_ = vm.Set("f", strings.ReplaceAll(flags, "v", "u"))
	_ = vm.Set("s", text)
	v, err := vm.RunString("new RegExp(p, f).test(s)")
	if err != nil {
		t.Fatalf("/%s/%s as %q: %v", pattern, flags, expanded[:min(200, len(expanded))], err)
	}
	return v.ToBoolean()
}

func TestExpand_Matches(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, flags string
		yes, no        string // words that match, and that do not
	}{
		{`^\p{L}+$`, "u", "abc Ünï ж 日本 𐐀", "a1 1 🦔 _"},
		{`^\P{L}+$`, "u", "123 🦔", "a ж"},
		{`^[\p{L}\p{N}_-]+$`, "u", "a1_- жЖ٣", "a! 🦔"},
		{`^[^\p{L}]$`, "u", "1 🦔", "a 𐐀"},
		{`^[\P{L}a]$`, "u", "1 a", "b"},
		{`^[-\p{Lu}]$`, "u", "- A", "a"},
		{`^[a-b-\p{Lu}]$`, "u", "- a b A", "c"},
		{`^\p{Lu}$`, "iu", "a A", "1"},
		{`^\p{Letter}\p{General_Category=Decimal_Number}\p{gc=Lu}$`, "u", "a1B ж٣Ж", "a1b"},
		{`^\p{Script=Greek}+$`, "u", "αβγ", "abc"},
		{`^\p{sc=Cyrl}\p{scx=Latin}$`, "u", "жa", "aж"},
		{`^\p{Alphabetic}\p{Lower}\p{Uppercase}$`, "u", "aaA ⓐaA", "1aA"},
		{`^\p{White_Space}x$`, "u", "\u00a0x", "xx"},
		{`^(\p{Extended_Pictographic}|\p{Emoji_Component})+$`, "u", "😀 👨‍👩‍👧 ✈️", "a"},
		{`^\p{Emoji}$`, "u", "🦔 1", "x"},
		{`^\p{ASCII}$`, "u", "a", "ä"},
		{`^\p{Any}$`, "u", "a 🦔", "ab"},
		{`^\P{Any}$`, "u", "", "a"},
		{`^[\P{Any}x]$`, "u", "x", "a"},
		{`^\p{Cn}$`, "u", "\u0378", "a"},
		{`^\p{Assigned}$`, "u", "a", "\u0378"},
		{`^\p{ID_Start}\p{XID_Continue}*$`, "u", "abc é1", "1a"},
		{`^\p{LC}\p{Math}\p{Hex}$`, "u", "a+f", "1+f"},
		{`^\p\{L\}$`, "", "p{L}", "a"},

		{`^\p{L}$`, "v", "a", "1"},
		{`^[\p{L}--[a-z]]$`, "v", "A é", "a z 1"},
		{`^[\p{L}&&\p{ASCII}]$`, "v", "a Z", "é 1"},
		{`^[[a-z]--[aeiou]&&x]$`, "v", "x", "a b"},
		{`^[^\p{L}[0-5]]$`, "v", "6 !", "a 3"},
		{`^[\q{abc|d|}x]$`, "v", "abc d x", "ab"},
		{`^[\q{abc|d}--\q{abc}]$`, "v", "d", "abc"},
		{`^[\w--_]$`, "v", "a 1", "_ !"},
		{`^[\u{1F600}-\u{1F64F}\uD83E\uDD94\x41\cJ\-]$`, "v", "😀 🦔 A -", "B"},
		{`^\d[a]\S$`, "v", "1ab", "aab"},
		{`^[]$`, "v", "", "a"},
		{`^[^]$`, "v", "a", "ab"},
	} {
		for word := range strings.FieldsFuncSeq(tc.yes, func(r rune) bool { return r == ' ' }) {
			if !matches(t, tc.pattern, tc.flags, word) {
				t.Errorf("/%s/%s does not match %q", tc.pattern, tc.flags, word)
			}
		}
		for word := range strings.FieldsFuncSeq(tc.no, func(r rune) bool { return r == ' ' }) {
			if matches(t, tc.pattern, tc.flags, word) {
				t.Errorf("/%s/%s matches %q", tc.pattern, tc.flags, word)
			}
		}
	}
}

func TestExpand_LeavesOtherPatterns(t *testing.T) {
	t.Parallel()
	for _, tc := range [][2]string{
		{`\p{L}`, ""}, {`\p{L}`, "gi"}, {`a[b\]]c\d`, "u"}, {``, "u"}, {`[`, "u"}, {`\`, "u"}, {`(`, "u"},
	} {
		if got, err := regexpclass.Expand(tc[0], tc[1]); err != nil || got != tc[0] {
			t.Errorf("Expand(%q, %q) = %q, %v; want it unchanged", tc[0], tc[1], got, err)
		}
	}
}

func TestExpand_Refuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ pattern, flags, want string }{
		{`\p{Klingon}`, "u", `invalid property name "Klingon"`},
		{`\p{Script=Klingon}`, "u", `invalid property name "Script=Klingon"`},
		{`\p{Block=Greek}`, "u", `invalid property name "Block=Greek"`},
		{`\pL`, "u", "invalid property name"},
		{`\p{L`, "u", "invalid property name"},
		{`[a-\p{L}]`, "u", "cannot be the end of a range"},
		{`[\p{L}-z]`, "u", "cannot be the end of a range"},
		{`[a`, "v", "unterminated character class"},
		{`[z-a]`, "v", "range out of order"},
		{`[^\q{ab}]`, "v", "may contain strings"},
		{`[a(]`, "v", "invalid character"},
		{`[\y]`, "v", "invalid escape"},
		{`[\u{110000}]`, "v", "invalid Unicode escape"},
		{strings.Repeat("[", 1000), "v", "nested too deeply"},
	} {
		got, err := regexpclass.Expand(tc.pattern, tc.flags)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Expand(%.40q, %q) = %q, %v; want an error with %q", tc.pattern, tc.flags, got, err, tc.want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{`[\p{L}--[a-z]]`, `\P{Script=Greek}`, `[^\q{a|bc}\u{1F600}]`, `[a-\p{L}]`, `\`, `[\`, `[\c`, `[\ud83e\udd94]`} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, pattern string, v bool) {
		flags := "u"
		if v {
			flags = "v"
		}
		expanded, err := regexpclass.Expand(pattern, flags)
		if err != nil {
			return
		}
		if again, err := regexpclass.Expand(expanded, "u"); err != nil || again != expanded {
			t.Errorf("%q (%s) became %q, which still has something to expand: %q, %v", pattern, flags, expanded, again, err)
		}
	})
}
