package build

import (
	"errors"
	"regexp"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/diagnostic"
	"github.com/picloud/picloud/services/javascript/specifier"
)

// diagnostics are esbuild's errors in terms of the user's files.
func (s *sources) diagnostics(messages []api.Message) []cloud.Diagnostic {
	ds := make([]cloud.Diagnostic, 0, len(messages))
	seen := map[cloud.Diagnostic]bool{}
	for _, m := range messages {
		d := diagnostic.FromMessage(m, s.entry)
		d.File = userFile(d.File)
		d.Message = s.rephrase(d.Message)
		d = s.unbundled(d)
		if !seen[d] {
			seen[d] = true
			ds = append(ds, d)
		}
	}
	return ds
}

var (
	noExport        = regexp.MustCompile(`^No matching export in "([^"]*)" for import "([^"]*)"`)
	undefinedExport = regexp.MustCompile(`^Import "([^"]*)" will always be undefined because there is no matching export in "([^"]*)"`)
)

// rephrase puts esbuild's words about a missing export into the user's terms.
// A message that it does not recognise stays as it is.
func (s *sources) rephrase(text string) string {
	var file, name string
	if m := noExport.FindStringSubmatch(text); m != nil {
		file, name = m[1], m[2]
	} else if m := undefinedExport.FindStringSubmatch(text); m != nil {
		name, file = m[1], m[2]
	} else {
		return text
	}
	if file = userFile(file); file == platformFile {
		return specifier.Missing(name)
	}
	return `"` + file + `" has no export "` + name + `"`
}

// unbundled leads a diagnostic about a bundle of the CLI back to the file that
// went into it.
func (s *sources) unbundled(d cloud.Diagnostic) cloud.Diagnostic {
	src, ok := s.byFile(d.File)
	if !ok {
		return d
	}
	m := inlineMap(src.Text)
	if m == nil {
		return d
	}
	at := position{d.Line, d.Column}
	p, ok := m.find([]position{at})[at]
	if !ok {
		return d
	}
	d.File, d.Line, d.Column = p.file, p.line, p.column
	if text, ok := m.content(p.file); ok {
		d.SourceLine = nthLine(text, p.line)
	}
	return d
}

// cloudMessage is the public message of err without its position.
func cloudMessage(err error) string {
	var e *cloud.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if ds, ok := e.Details.([]cloud.Diagnostic); ok {
		return ds[0].Message
	}
	return e.Message
}
