package build

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/diagnostic"
)

// sources are the texts of one build by file name.
type sources struct {
	entry     string // file name of the entry
	entryName string
	modules   map[string]cloud.Source // by script name

	mu     sync.Mutex
	loaded map[string]bool // names of modules that esbuild asked for
}

func newSources(entry cloud.Source, modules map[string]cloud.Source) *sources {
	all := make(map[string]cloud.Source, len(modules)+1)
	for name, m := range modules {
		m.Name = name
		all[name] = m
	}
	all[entry.Name] = entry
	return &sources{entry: fileName(entry), entryName: entry.Name, modules: all, loaded: map[string]bool{}}
}

// fileName is how diagnostics and stacks name a script.
func fileName(s cloud.Source) string {
	language := s.Language
	if language == "" {
		language = cloud.JavaScript
	}
	return s.Name + "." + string(language)
}

// check refuses what no parser should see.
func (s *sources) check(src cloud.Source) error {
	if err := cloud.CheckScriptName(src.Name); err != nil {
		return err
	}
	switch src.Language {
	case "", cloud.JavaScript, cloud.TypeScript, cloud.JSX, cloud.TSX:
	default:
		return cloud.Invalid("language", "%q is not one of js, ts, jsx, tsx", src.Language)
	}
	file := fileName(src)
	if len(src.Text) > cloud.MaxSource {
		return diagnostic.Whole(file, "the source has %d bytes; at most %d are allowed", len(src.Text), cloud.MaxSource)
	}
	if !utf8.ValidString(src.Text) {
		return diagnostic.Whole(file, "the source is not valid UTF-8")
	}
	return nil
}

// load notes that the build contains the module, and returns it.
func (s *sources) load(name string) (cloud.Source, bool) {
	src, ok := s.modules[name]
	if ok && name != s.entryName {
		s.mu.Lock()
		s.loaded[name] = true
		s.mu.Unlock()
	}
	return src, ok
}

func (s *sources) imported() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sortedKeys(s.loaded)
}

// names are the modules that a script may import, sorted.
func (s *sources) names() []string {
	names := sortedKeys(s.modules)
	for i, n := range names {
		if n == s.entryName {
			return append(names[:i], names[i+1:]...)
		}
	}
	return names
}

// byFile finds a source by its file name.
func (s *sources) byFile(file string) (cloud.Source, bool) {
	name := file
	if i := strings.LastIndexByte(file, '.'); i >= 0 {
		name = file[:i]
	}
	src, ok := s.modules[name]
	return src, ok && fileName(src) == file
}

// line is the 1-based line of a user's file, also of one inside a bundle whose
// source map carries it; "" if there is none.
func (s *sources) line(file string, line int) string {
	if src, ok := s.byFile(file); ok {
		return nthLine(src.Text, line)
	}
	for _, src := range s.modules {
		if m := inlineMap(src.Text); m != nil {
			if text, ok := m.content(file); ok {
				return nthLine(text, line)
			}
		}
	}
	return ""
}

func nthLine(text string, n int) string {
	i := 0
	for l := range strings.Lines(text) {
		if i++; i == n {
			return strings.TrimRight(l, "\r\n")
		}
	}
	return ""
}
