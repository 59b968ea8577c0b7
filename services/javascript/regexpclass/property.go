package regexpclass

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

//go:generate node tables.mjs

// property is the set of a property expression: what stands in \p{…}.
func property(expression string) (set, error) {
	if cached, ok := properties.Load(expression); ok {
		return cached.(set), nil
	}
	s, err := lookUp(expression)
	if err != nil {
		return nil, err
	}
	properties.Store(expression, s)
	return s, nil
}

// properties caches sets by expression. Only names that exist get in, so it
// cannot grow without bound.
var properties sync.Map

func lookUp(expression string) (set, error) {
	name, value, valued := strings.Cut(expression, "=")
	if valued {
		switch name {
		case "General_Category", "gc":
			if s, ok := category(value); ok {
				return s, nil
			}
		case "Script", "sc", "Script_Extensions", "scx":
			if long, ok := scriptAliases[value]; ok {
				value = long
			}
			if t, ok := unicode.Scripts[value]; ok {
				return fromTable(t), nil
			}
		}
		return nil, unknown(expression)
	}
	if s, ok := category(name); ok {
		return s, nil
	}
	if long, ok := tableAliases[name]; ok {
		name = long
	} else if long, ok := binaryAliases[name]; ok {
		name = long
	}
	if table, ok := tables[name]; ok {
		return decode(table), nil
	}
	switch name {
	case "Any":
		return set{{0, unicode.MaxRune}}, nil
	case "ASCII":
		return set{{0, unicode.MaxASCII}}, nil
	case "Assigned":
		s, _ := category("Cn")
		return s.complement(), nil
	case "Alphabetic":
		return tablesOf(unicode.L, unicode.Nl, unicode.Other_Alphabetic), nil
	case "Lowercase":
		return tablesOf(unicode.Ll, unicode.Other_Lowercase), nil
	case "Uppercase":
		return tablesOf(unicode.Lu, unicode.Other_Uppercase), nil
	case "Math":
		return tablesOf(unicode.Sm, unicode.Other_Math), nil
	}
	if !ecmaScript[name] {
		return nil, unknown(expression)
	}
	return fromTable(unicode.Properties[name]), nil
}

func unknown(expression string) error {
	return fmt.Errorf("invalid property name %q in a regular expression", expression)
}

// category is the set of a General_Category value under its short or long name.
func category(name string) (set, bool) {
	if short, ok := unicode.CategoryAliases[name]; ok {
		name = short
	}
	switch name {
	case "Cn", "C":
		var assigned []set
		for n, t := range unicode.Categories {
			if n != "C" && n != "Cn" {
				assigned = append(assigned, fromTable(t))
			}
		}
		s := union(assigned...).complement()
		if name == "C" {
			s = union(s, tablesOf(unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs))
		}
		return s, true
	case "LC":
		return tablesOf(unicode.Lu, unicode.Ll, unicode.Lt), true
	}
	t, ok := unicode.Categories[name]
	if !ok {
		return nil, false
	}
	return fromTable(t), true
}

func tablesOf(ts ...*unicode.RangeTable) set {
	sets := make([]set, len(ts))
	for i, t := range ts {
		sets[i] = fromTable(t)
	}
	return union(sets...)
}

func decode(table string) set {
	var out set
	at, start := rune(0), rune(-1)
	for field := range strings.FieldsSeq(table) {
		n, _ := strconv.ParseInt(field, 36, 32)
		at += rune(n)
		if start < 0 {
			start = at
			continue
		}
		out = append(out, span{start, at - 1})
		start = -1
	}
	return out
}

// ecmaScript are the properties of Go's package unicode that ECMAScript has too
// (ECMA-262, table "Binary Unicode property aliases").
var ecmaScript = func() map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(`ASCII_Hex_Digit Bidi_Control Dash Deprecated Diacritic Extender Hex_Digit
		IDS_Binary_Operator IDS_Trinary_Operator Ideographic Join_Control Logical_Order_Exception Noncharacter_Code_Point
		Pattern_Syntax Pattern_White_Space Quotation_Mark Radical Regional_Indicator Sentence_Terminal Soft_Dotted
		Terminal_Punctuation Unified_Ideograph Variation_Selector White_Space`) {
		m[name] = unicode.Properties[name] != nil
	}
	return m
}()

var binaryAliases = map[string]string{
	"Alpha": "Alphabetic", "Lower": "Lowercase", "Upper": "Uppercase", "AHex": "ASCII_Hex_Digit", "Bidi_C": "Bidi_Control",
	"Dep": "Deprecated", "Dia": "Diacritic", "Ext": "Extender", "Hex": "Hex_Digit", "IDSB": "IDS_Binary_Operator",
	"IDST": "IDS_Trinary_Operator", "Ideo": "Ideographic", "Join_C": "Join_Control", "LOE": "Logical_Order_Exception",
	"NChar": "Noncharacter_Code_Point", "Pat_Syn": "Pattern_Syntax", "Pat_WS": "Pattern_White_Space", "QMark": "Quotation_Mark",
	"RI": "Regional_Indicator", "STerm": "Sentence_Terminal", "SD": "Soft_Dotted", "Term": "Terminal_Punctuation",
	"UIdeo": "Unified_Ideograph", "VS": "Variation_Selector", "space": "White_Space",
}

// scriptAliases are the ISO 15924 codes of the scripts in everyday use.
var scriptAliases = map[string]string{
	"Arab": "Arabic", "Armn": "Armenian", "Beng": "Bengali", "Bopo": "Bopomofo", "Brai": "Braille",
	"Cans": "Canadian_Aboriginal", "Cher": "Cherokee", "Copt": "Coptic", "Qaac": "Coptic", "Cyrl": "Cyrillic", "Deva": "Devanagari",
	"Ethi": "Ethiopic", "Geor": "Georgian", "Goth": "Gothic", "Grek": "Greek", "Gujr": "Gujarati", "Guru": "Gurmukhi",
	"Hang": "Hangul", "Hani": "Han", "Hebr": "Hebrew", "Hira": "Hiragana", "Kana": "Katakana", "Khmr": "Khmer",
	"Knda": "Kannada", "Laoo": "Lao", "Latn": "Latin", "Mlym": "Malayalam", "Mong": "Mongolian", "Mymr": "Myanmar",
	"Ogam": "Ogham", "Orya": "Oriya", "Runr": "Runic", "Sinh": "Sinhala", "Syrc": "Syriac", "Taml": "Tamil",
	"Telu": "Telugu", "Tglg": "Tagalog", "Thaa": "Thaana", "Tibt": "Tibetan", "Yiii": "Yi", "Zinh": "Inherited",
	"Qaai": "Inherited", "Zyyy": "Common",
}
