package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/diagnostic"
)

// request and reply are what passes between a Builder and its process.
type request struct {
	Entry   cloud.Source
	Modules map[string]cloud.Source
}

type reply struct {
	Build   cloud.Build
	Code    cloud.Code // of the error; "" if there is none
	Message string
	Details []cloud.Diagnostic
}

// Bounds of a build's process.
const (
	processStack = 256 << 20 // bytes of one goroutine's stack, then the process ends
	processData  = 1 << 30   // bytes of memory
)

// exhausted are the signs of a process that hit its bounds.
var exhausted = []string{"stack overflow", "out of memory", "cannot allocate memory", "failed to allocate"}

// Serve carries out the one build that it reads from r and writes the outcome to
// w. It is for the program that Config.Command names, which does nothing else:
// Serve bounds the memory of the whole process. The error is one of r or w.
func Serve(ctx context.Context, r io.Reader, w io.Writer) error {
	var q request
	if err := json.NewDecoder(r).Decode(&q); err != nil {
		return fmt.Errorf("read the build's request: %w", err)
	}
	debug.SetMaxStack(processStack)
	limitMemory(processData)
	var a reply
	var err error
	if a.Build, err = New(Config{}).Build(ctx, q.Entry, q.Modules); err != nil {
		a.Code, a.Message = cloud.CodeOf(err), err.Error()
		var e *cloud.Error
		if errors.As(err, &e) && e.Code != cloud.CodeInternal {
			a.Message = e.Message
			a.Details, _ = e.Details.([]cloud.Diagnostic)
		}
	}
	if err := json.NewEncoder(w).Encode(a); err != nil {
		return fmt.Errorf("write the build's outcome: %w", err)
	}
	return nil
}

// delegate has a process of its own build.
func (b *Builder) delegate(ctx context.Context, entry cloud.Source, modules map[string]cloud.Source) (cloud.Build, error) {
	in, err := json.Marshal(request{entry, modules})
	if err != nil {
		return cloud.Build{}, fmt.Errorf("encode the build's request: %w", err)
	}
	var out bytes.Buffer
	complaint := &head{room: 4 << 10}
	cmd := exec.CommandContext(ctx, b.command[0], b.command[1:]...)
	cmd.Env = []string{} // the server's environment holds secrets
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, complaint
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return cloud.Build{}, stopped(ctx)
	}
	if err != nil {
		text := complaint.String()
		if slices.ContainsFunc(exhausted, func(sign string) bool { return strings.Contains(text, sign) }) {
			return cloud.Build{}, diagnostic.Whole(fileName(entry), "the source is nested too deeply, or too large, to be built")
		}
		return cloud.Build{}, cloud.Errorf(cloud.CodeInternal, "the build of %s broke down", entry.Name).Because(fmt.Errorf("%w: %s", err, text))
	}
	var a reply
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return cloud.Build{}, fmt.Errorf("read the build's outcome: %w", err)
	}
	switch a.Code {
	case "":
		return a.Build, nil
	case cloud.CodeInternal:
		return cloud.Build{}, cloud.Errorf(a.Code, "the build of %s broke down", entry.Name).Because(errors.New(a.Message))
	}
	e := cloud.Errorf(a.Code, "%s", a.Message)
	if a.Details != nil {
		e.Details = a.Details
	}
	return cloud.Build{}, e
}

// head keeps the beginning of what is written to it.
type head struct {
	strings.Builder
	room int
}

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.room)
	h.room -= n
	h.Builder.Write(p[:n])
	return len(p), nil
}
