// Package regexpclass writes regular expressions so that goja understands them:
// property escapes and the set notation of the v flag become plain ranges.
package regexpclass

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Expand returns pattern with every \p{…} and \P{…} written as ranges of code
// points, from Go's Unicode tables; Script_Extensions count as Script. A pattern
// without the flag u or v comes back as it is, since there \p is just a p.
//
// With the flag v, nested classes, -- and &&, \q{…} are resolved too: the result
// is a pattern for the flag u, which the caller must put in v's place.
//
// The error is what a SyntaxError should say. Whatever else is wrong with the
// pattern is left for the engine to find.
func Expand(pattern, flags string) (string, error) {
	sets := strings.ContainsRune(flags, 'v')
	if !sets && (!strings.ContainsRune(flags, 'u') || !strings.Contains(pattern, `\p`) && !strings.Contains(pattern, `\P`)) {
		return pattern, nil
	}
	e := expander{rest: pattern, sets: sets}
	if err := e.pattern(); err != nil {
		return "", err
	}
	return e.out.String(), nil
}

type expander struct {
	rest string
	out  strings.Builder
	sets bool // v
}

func (e *expander) pattern() error {
	for e.rest != "" {
		switch {
		case e.rest[0] == '[' && e.sets:
			e.rest = e.rest[1:]
			class, err := e.class(0)
			if err != nil {
				return err
			}
			class.write(&e.out)
		case e.rest[0] == '[':
			if err := e.plainClass(); err != nil {
				return err
			}
		case isPropertyEscape(e.rest):
			s, err := e.propertyEscape()
			if err != nil {
				return err
			}
			operand{chars: s}.write(&e.out)
		case e.rest[0] == '\\':
			e.copyEscape()
		default:
			e.copy(1)
		}
	}
	return nil
}

func (e *expander) copy(n int) {
	e.out.WriteString(e.rest[:n])
	e.rest = e.rest[n:]
}

// copyEscape copies a backslash and what it escapes as far as it matters here.
func (e *expander) copyEscape() {
	_, size := utf8.DecodeRuneInString(e.rest[1:])
	e.copy(1 + size)
}

// plainClass copies a class of the flag u with its property escapes expanded.
func (e *expander) plainClass() error {
	e.copy(1)
	if strings.HasPrefix(e.rest, "^") {
		e.copy(1)
	}
	// A dash behind a single character begins a range, which the next ends.
	single, dashed := false, false
	for e.rest != "" && e.rest[0] != ']' {
		if isPropertyEscape(e.rest) {
			s, err := e.propertyEscape()
			if err != nil {
				return err
			}
			if dashed || len(e.rest) > 1 && e.rest[0] == '-' && e.rest[1] != ']' {
				return errRange
			}
			s.write(&e.out)
			single = false
			continue
		}
		single, dashed = !dashed && (!single || e.rest[0] != '-'), single && e.rest[0] == '-'
		if e.rest[0] == '\\' {
			e.copyEscape()
		} else {
			_, size := utf8.DecodeRuneInString(e.rest)
			e.copy(size)
		}
	}
	if e.rest != "" {
		e.copy(1)
	}
	return nil
}

var errRange = errors.New("invalid character class: a property escape cannot be the end of a range")

func isPropertyEscape(s string) bool {
	return strings.HasPrefix(s, `\p`) || strings.HasPrefix(s, `\P`)
}

// propertyEscape reads \p{…} or \P{…}.
func (e *expander) propertyEscape() (set, error) {
	negated := e.rest[1] == 'P'
	body, ok := strings.CutPrefix(e.rest[2:], "{")
	end := strings.IndexByte(body, '}')
	if !ok || end < 0 {
		return nil, errors.New("invalid property name in a regular expression")
	}
	s, err := property(body[:end])
	if err != nil {
		return nil, err
	}
	e.rest = body[end+1:]
	if negated {
		s = s.complement()
	}
	return s, nil
}

// operand is what a class of the flag v, or a part of it, matches: single code
// points, and strings of none or several.
type operand struct {
	chars   set
	strings []string
}

// write appends a pattern for the flag u.
func (o operand) write(b *strings.Builder) {
	if len(o.strings) > 0 {
		b.WriteString("(?:")
		longest := slices.Clone(o.strings)
		slices.SortStableFunc(longest, func(x, y string) int { return len(y) - len(x) })
		for _, s := range longest {
			if s == "" {
				continue
			}
			for _, r := range s {
				writeRune(b, r)
			}
			b.WriteByte('|')
		}
		defer b.WriteByte(')')
		if slices.Contains(o.strings, "") {
			defer b.WriteByte('|')
		}
	}
	b.WriteByte('[')
	o.chars.write(b)
	b.WriteByte(']')
}

func (o operand) union(p operand) operand {
	return operand{union(o.chars, p.chars), append(slices.Clone(o.strings), p.strings...)}
}

func (o operand) intersect(p operand) operand {
	return operand{o.chars.intersect(p.chars), slices.DeleteFunc(slices.Clone(o.strings), func(s string) bool { return !slices.Contains(p.strings, s) })}
}

func (o operand) subtract(p operand) operand {
	return operand{o.chars.subtract(p.chars), slices.DeleteFunc(slices.Clone(o.strings), func(s string) bool { return slices.Contains(p.strings, s) })}
}

const maxClassDepth = 100

// class reads a class of the flag v behind its opening bracket.
func (e *expander) class(depth int) (operand, error) {
	if depth > maxClassDepth {
		return operand{}, errors.New("invalid character class: it is nested too deeply")
	}
	negated := false
	if rest, ok := strings.CutPrefix(e.rest, "^"); ok {
		negated, e.rest = true, rest
	}
	var result operand
	var combine func(operand, operand) operand
	for first := true; ; first = false {
		switch {
		case e.rest == "":
			return operand{}, errors.New("unterminated character class")
		case e.rest[0] == ']':
			e.rest = e.rest[1:]
			if !negated {
				return result, nil
			}
			if len(result.strings) > 0 {
				return operand{}, errors.New("negated character class may contain strings")
			}
			return operand{chars: result.chars.complement()}, nil
		case !first && strings.HasPrefix(e.rest, "--"):
			e.rest, combine = e.rest[2:], operand.subtract
		case !first && strings.HasPrefix(e.rest, "&&"):
			e.rest, combine = e.rest[2:], operand.intersect
		default:
			combine = operand.union
		}
		next, err := e.classOperand(depth)
		if err != nil {
			return operand{}, err
		}
		result = combine(result, next)
	}
}

// classOperand reads a nested class, an escape, a character or a range.
func (e *expander) classOperand(depth int) (operand, error) {
	if rest, ok := strings.CutPrefix(e.rest, "["); ok {
		e.rest = rest
		return e.class(depth + 1)
	}
	if isPropertyEscape(e.rest) {
		s, err := e.propertyEscape()
		return operand{chars: s}, err
	}
	if len(e.rest) > 1 && e.rest[0] == '\\' {
		if body, ok := strings.CutPrefix(e.rest[1:], "q{"); ok {
			return e.quoted(body)
		}
		if s, ok := classEscapes[e.rest[1]]; ok {
			e.rest = e.rest[2:]
			return operand{chars: s}, nil
		}
	}
	low, err := e.character()
	if err != nil {
		return operand{}, err
	}
	if !strings.HasPrefix(e.rest, "-") || strings.HasPrefix(e.rest, "--") {
		return operand{chars: set{{low, low}}}, nil
	}
	e.rest = e.rest[1:]
	high, err := e.character()
	if err != nil {
		return operand{}, err
	}
	if high < low {
		return operand{}, errors.New("range out of order in character class")
	}
	return operand{chars: set{{low, high}}}, nil
}

// quoted reads the alternatives of \q{…}.
func (e *expander) quoted(body string) (operand, error) {
	e.rest = body
	var o operand
	var word []rune
	end := func() {
		if len(word) == 1 {
			o.chars = union(o.chars, set{{word[0], word[0]}})
		} else if s := string(word); !slices.Contains(o.strings, s) {
			o.strings = append(o.strings, s)
		}
		word = nil
	}
	for e.rest != "" {
		switch e.rest[0] {
		case '}':
			end()
			e.rest = e.rest[1:]
			return o, nil
		case '|':
			end()
			e.rest = e.rest[1:]
		default:
			r, err := e.character()
			if err != nil {
				return operand{}, err
			}
			word = append(word, r)
		}
	}
	return operand{}, errors.New("invalid escape: \\q{ without its }")
}

var classEscapes = map[byte]set{}

func init() {
	classEscapes['d'] = set{{'0', '9'}}
	classEscapes['w'] = set{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}
	classEscapes['s'] = union(set{{'\t', '\r'}, {' ', ' '}, {0xa0, 0xa0}, {0x1680, 0x1680}, {0x2000, 0x200a},
		{0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}})
	for _, c := range []byte("dws") {
		classEscapes[c-'a'+'A'] = classEscapes[c].complement()
	}
}

// character reads one character of a class of the flag v, escaped or not.
func (e *expander) character() (rune, error) {
	if e.rest == "" {
		return 0, errors.New("unterminated character class")
	}
	if e.rest[0] != '\\' {
		r, size := utf8.DecodeRuneInString(e.rest)
		if strings.ContainsRune("()[]{}/-|", r) {
			return 0, fmt.Errorf("invalid character %q in a character class", r)
		}
		e.rest = e.rest[size:]
		return r, nil
	}
	if len(e.rest) == 1 {
		return 0, errors.New(`\ at the end of a pattern`)
	}
	c, size := utf8.DecodeRuneInString(e.rest[1:])
	e.rest = e.rest[1+size:]
	switch c {
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'v':
		return '\v', nil
	case '0':
		return 0, nil
	case 'c':
		if e.rest != "" && (e.rest[0]|0x20) >= 'a' && (e.rest[0]|0x20) <= 'z' {
			r := rune(e.rest[0] & 0x1f)
			e.rest = e.rest[1:]
			return r, nil
		}
	case 'x':
		if r, ok := e.hex(2); ok {
			return r, nil
		}
	case 'u':
		return e.unicodeEscape()
	default:
		if strings.ContainsRune(`^$\.*+?()[]{}|/&-!#%,:;<=>@`+"`~", c) {
			return c, nil
		}
	}
	return 0, fmt.Errorf("invalid escape \\%c in a character class", c)
}

func (e *expander) unicodeEscape() (rune, error) {
	if body, ok := strings.CutPrefix(e.rest, "{"); ok {
		if end := strings.IndexByte(body, '}'); end > 0 {
			if n, err := strconv.ParseUint(body[:end], 16, 32); err == nil && n <= utf8.MaxRune {
				e.rest = body[end+1:]
				return rune(n), nil
			}
		}
		return 0, errors.New("invalid Unicode escape")
	}
	r, ok := e.hex(4)
	if !ok {
		return 0, errors.New("invalid Unicode escape")
	}
	if r >= 0xd800 && r < 0xdc00 {
		before := e.rest
		if rest, ok := strings.CutPrefix(e.rest, `\u`); ok {
			e.rest = rest
			if low, ok := e.hex(4); ok && low >= 0xdc00 && low < 0xe000 {
				return 0x10000 + (r-0xd800)<<10 + (low - 0xdc00), nil
			}
		}
		e.rest = before
	}
	return r, nil
}

func (e *expander) hex(digits int) (rune, bool) {
	if len(e.rest) < digits {
		return 0, false
	}
	n, err := strconv.ParseUint(e.rest[:digits], 16, 32)
	if err != nil {
		return 0, false
	}
	e.rest = e.rest[digits:]
	return rune(n), true
}
