// Package diagnostic turns esbuild's messages into build errors.
package diagnostic

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/picloud/picloud/services/cloud"
)

// Max is how many diagnostics one error carries.
const Max = 20

const maxLine = 240 // characters of a source line; more of a minified one tells nobody anything

// FromMessage converts one message. Its column becomes 1-based UTF-16; without
// a location the diagnostic is about the first character of file.
func FromMessage(m api.Message, file string) cloud.Diagnostic {
	text := m.Text
	if i := slices.IndexFunc(m.Notes, func(n api.Note) bool { return n.Location == nil && n.Text != "" }); i >= 0 {
		text += " (" + strings.TrimSuffix(m.Notes[i].Text, ".") + ")"
	}
	d := cloud.Diagnostic{File: file, Line: 1, Column: 1, Message: text}
	if l := m.Location; l != nil {
		d.File = l.File
		d.Line = max(l.Line, 1)
		d.Column = Column(l.LineText, l.Column)
		d.SourceLine = l.LineText
	}
	return d
}

// Column is the 1-based UTF-16 column of the byte offset in line.
func Column(line string, offset int) int {
	col := 1
	for _, r := range line[:min(max(offset, 0), len(line))] {
		col += utf16.RuneLen(r)
	}
	return col
}

// Failed is the CodeBuildFailed error that carries the first Max of ds, which
// is not empty. Its message is the first diagnostic in one line.
func Failed(ds []cloud.Diagnostic) *cloud.Error {
	ds = ds[:min(len(ds), Max)]
	for i := range ds {
		ds[i].SourceLine = clip(ds[i].SourceLine)
	}
	d := ds[0]
	e := cloud.Errorf(cloud.CodeBuildFailed, "%s:%d:%d: %s", d.File, d.Line, d.Column, d.Message)
	e.Details = ds
	return e
}

// Whole is the error about a file as a whole.
func Whole(file, format string, args ...any) *cloud.Error {
	return Failed([]cloud.Diagnostic{{File: file, Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}})
}

func clip(line string) string {
	line = strings.TrimRight(strings.ToValidUTF8(line, "\uFFFD"), "\r\n")
	n := 0
	for i := range line {
		if n++; n > maxLine {
			return line[:i] + "…"
		}
	}
	return line
}
