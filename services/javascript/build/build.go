// Package build turns a script and the modules it imports into the one
// expression that a worker compiles: esbuild bundles and lowers what goja lacks,
// then what goja's own parser refuses is mended. Positions lead back to the
// user's source through one source map.
package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dop251/goja"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/diagnostic"
)

// Config sets up a Builder. The zero value is usable.
type Config struct {
	Timeout     time.Duration // of one build; 30 s if 0
	Concurrency int           // builds at once, others wait; 2 if 0. A build takes about 80 times its source's size in memory
	// Command is a program with its arguments that calls Serve; each build then
	// runs in a process of its own. Without it builds run in this process, where
	// a source that is nested a hundred thousand levels deep overflows the
	// parsers' stack, which no Go program survives.
	Command []string
}

// Builder builds scripts. It is safe for concurrent use.
type Builder struct {
	timeout time.Duration
	slots   chan struct{}
	command []string
}

// New returns a Builder.
func New(cfg Config) *Builder {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 2
	}
	return &Builder{timeout: cfg.Timeout, slots: make(chan struct{}, cfg.Concurrency), command: cfg.Command}
}

// Build builds entry. modules are the module scripts of the same app by name,
// which entry and they themselves import as "./name"; entry may be among them.
//
// What is wrong with the sources comes as a CodeBuildFailed error whose Details
// are a []cloud.Diagnostic with the user's files and positions; an impossible
// name or language is CodeInvalid. A build that takes too long is CodeLimit; a
// context that ends first, its own error.
func (b *Builder) Build(ctx context.Context, entry cloud.Source, modules map[string]cloud.Source) (cloud.Build, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.timeout, errTooLong)
	defer cancel()
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return cloud.Build{}, stopped(ctx)
	}

	if len(b.command) > 0 {
		defer func() { <-b.slots }()
		return b.delegate(ctx, entry, modules)
	}
	type outcome struct {
		build cloud.Build
		err   error
	}
	done := make(chan outcome, 1)
	// A parser cannot be interrupted. One that does not come back in time keeps
	// its slot until it does, so that such builds cannot pile up.
	go func() {
		defer func() { <-b.slots }()
		build, err := build(ctx, entry, modules)
		done <- outcome{build, err}
	}()
	select {
	case o := <-done:
		if ctx.Err() != nil && cloud.CodeOf(o.err) != cloud.CodeBuildFailed {
			return cloud.Build{}, stopped(ctx)
		}
		return o.build, o.err
	case <-ctx.Done():
		return cloud.Build{}, stopped(ctx)
	}
}

var errTooLong = cloud.Errorf(cloud.CodeLimit, "the build takes too long; make the script smaller")

func stopped(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTooLong) {
		return errTooLong
	}
	return ctx.Err()
}

func build(ctx context.Context, entry cloud.Source, modules map[string]cloud.Source) (_ cloud.Build, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = cloud.Errorf(cloud.CodeInternal, "the build of %s broke down", entry.Name).Because(fmt.Errorf("panic: %v", r))
		}
	}()
	s := newSources(entry, modules)
	if err := s.check(entry); err != nil {
		return cloud.Build{}, err
	}
	out, err := lower(ctx, s)
	if err != nil {
		return cloud.Build{}, err
	}
	code, program, edits, err := mend(ctx, out.code)
	if err != nil {
		return cloud.Build{}, s.refused(out, err)
	}
	if _, err := goja.CompileAST(program, false); err != nil {
		return cloud.Build{}, s.refused(out, compileError(err, edits))
	}
	sourceMap, err := out.sourceMap.shift(edits).encode()
	if err != nil {
		return cloud.Build{}, fmt.Errorf("encode source map: %w", err)
	}
	hash := sha256.Sum256([]byte(code))
	return cloud.Build{
		Code:      code,
		SourceMap: sourceMap,
		Hash:      hex.EncodeToString(hash[:]),
		Exports:   out.exports,
		Imports:   s.imported(),
	}, nil
}

// refusal is what goja has against the code that esbuild made.
type refusal struct {
	line, column int // 1-based, in esbuild's output
	message      string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d:%d: %s", r.line, r.column, r.message) }

// refused turns a refusal into a diagnostic about the user's source.
func (s *sources) refused(out *lowered, err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	d := cloud.Diagnostic{File: s.entry, Line: 1, Column: 1, Message: "PiCloud's engine cannot run this: " + r.message}
	if p, ok := out.sourceMap.find([]position{{r.line, r.column}})[position{r.line, r.column}]; ok {
		d.File, d.Line, d.Column = p.file, p.line, p.column
	}
	d.SourceLine = s.line(d.File, d.Line)
	return diagnostic.Failed([]cloud.Diagnostic{d})
}

func compileError(err error, edits []edit) error {
	var syntax *goja.CompilerSyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	r := &refusal{line: 1, column: 1, message: syntax.Message}
	if syntax.File != nil {
		p := syntax.File.Position(syntax.Offset)
		r.line, r.column = before(edits, p.Line, p.Column)
	}
	return r
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
