package build

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"
)

// edit replaces the bytes [offset, offset+removed) of the code by text. line and
// column are the 1-based place of offset. No edit holds or removes a line end.
type edit struct {
	offset       int
	line, column int
	removed      int
	text         string
}

func (e edit) grown() int { return len(e.text) - e.removed }

// maxMends bounds how often the code is parsed again.
const maxMends = 200

// mend changes what goja's parser refuses although it is JavaScript, and returns
// the code with its syntax tree and the edits by place. A *refusal says what
// cannot be mended.
//
// The parser itself finds the places, one at a time: what it says after its
// first error is guesswork.
func mend(ctx context.Context, code string) (string, *ast.Program, []edit, error) {
	var edits []edit
	for range maxMends {
		if err := ctx.Err(); err != nil {
			return "", nil, nil, err
		}
		mended := apply(code, edits)
		program, err := parser.ParseFile(nil, "", mended, 0, parser.WithDisableSourceMaps)
		if err == nil {
			return mended, program, edits, nil
		}
		var list parser.ErrorList
		if !errors.As(err, &list) || len(list) == 0 {
			return "", nil, nil, err
		}
		first := list[0]
		offset := offsetOf(mended, first.Position.Line, first.Position.Column)
		more := quoteFieldName(mended, offset)
		if more == nil {
			more = unnestPattern(mended, program, offset)
		}
		if more == nil {
			r := &refusal{message: first.Message}
			r.line, r.column = before(edits, first.Position.Line, first.Position.Column)
			return "", nil, nil, r
		}
		edits = merge(code, edits, more)
	}
	return "", nil, nil, &refusal{line: 1, column: 1, message: "too many class fields named get, set or async"}
}

// quoteFieldName puts the name of a class field get, set or async with an
// initialiser in quotes: the parser takes the name for a keyword, then complains
// about the token behind the equals sign.
func quoteFieldName(code string, offset int) []edit {
	s := trimSpace(code[:offset])
	s, ok := strings.CutSuffix(s, "=")
	if !ok {
		return nil
	}
	s = trimSpace(s)
	for _, name := range [...]string{"get", "set", "async"} {
		rest, ok := strings.CutSuffix(s, name)
		if ok && (rest == "" || !isNamePart(rest[len(rest)-1])) {
			return []edit{{offset: len(rest), text: `"`}, {offset: len(s), text: `"`}}
		}
	}
	return nil
}

// trimSpace removes white space and block comments from the end of s.
func trimSpace(s string) string {
	for {
		s = strings.TrimRight(s, " \t\n")
		if !strings.HasSuffix(s, "*/") {
			return s
		}
		i := strings.LastIndex(s[:len(s)-2], "/*")
		if i < 0 {
			return s
		}
		s = s[:i]
	}
}

func isNamePart(c byte) bool {
	return c == '_' || c == '$' || c == '.' || c == '#' || c == '\\' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func apply(code string, edits []edit) string {
	if len(edits) == 0 {
		return code
	}
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(code[at:e.offset])
		b.WriteString(e.text)
		at = e.offset + e.removed
	}
	b.WriteString(code[at:])
	return b.String()
}

// merge adds more, whose offsets are in the code after edits, to edits, whose
// offsets are in the code before. No edit of more reaches into an inserted text.
func merge(code string, edits, more []edit) []edit {
	merged := slices.Clone(edits)
	for _, m := range more {
		for _, e := range edits {
			if e.offset >= m.offset {
				break
			}
			m.offset -= e.grown()
		}
		head := code[:m.offset]
		m.line = strings.Count(head, "\n") + 1
		m.column = m.offset - strings.LastIndexByte(head, '\n')
		merged = append(merged, m)
	}
	slices.SortStableFunc(merged, func(a, b edit) int { return cmp.Compare(a.offset, b.offset) })
	return merged
}

// before is where a place in the edited code was before the edits.
func before(edits []edit, line, column int) (int, int) {
	moved := 0
	for _, e := range edits {
		if e.line == line && e.column+moved < column {
			moved += e.grown()
		}
	}
	return line, max(column-moved, 1)
}

// offsetOf is the byte offset of a 1-based line and column.
func offsetOf(code string, line, column int) int {
	offset := 0
	for range line - 1 {
		i := strings.IndexByte(code[offset:], '\n')
		if i < 0 {
			return len(code)
		}
		offset += i + 1
	}
	return min(offset+column-1, len(code))
}
