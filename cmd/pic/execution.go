package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// printExecution shows one execution: a line of facts, its console lines, and
// the error it ended with.
func printExecution(w io.Writer, s styles, e execution) {
	path, byID := strings.CutPrefix(e.Path, api("execute")+"/")
	if byID {
		_, rest, _ := strings.Cut(path, "/")
		path = "/" + rest + " by id"
	}
	what := strings.TrimSpace(e.Method + " " + path)
	if e.Trigger != "http" {
		what = strings.TrimSpace(what + " " + e.Trigger)
	}
	status := "-"
	if e.Status != 0 {
		status = strconv.Itoa(e.Status)
	}
	if e.Code != "" {
		status += " " + string(e.Code)
	}
	if e.failed() {
		status = s.red(status)
	} else {
		status = s.green(status)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s  %s  %s\n",
		s.dim(when(e.StartedAt)), s.bold(fmt.Sprintf("%s v%d", plain(e.Script), e.Version)), plain(what), status, duration(e.DurationMS)+s.dim(repeated(e)))
	for _, line := range e.Lines {
		level := fmt.Sprintf("%-5s", line.Level)
		switch line.Level {
		case "error":
			level = s.red(level)
		case "warn":
			level = s.yellow(level)
		default:
			level = s.dim(level)
		}
		fmt.Fprintf(&b, "  %s  %s\n", level, indent(line.Text, "         "))
	}
	if e.Truncated {
		fmt.Fprintf(&b, "  %s\n", s.dim("… the rest was over the log limit"))
	}
	if e.Error != nil {
		b.WriteString(thrown(s, e.Error))
	}
	_, _ = io.WriteString(w, b.String())
}

// repeated says which attempt an execution is, and how many events led to it,
// where that is more than usual.
func repeated(e execution) string {
	text := ""
	if e.Attempt > 1 {
		text += fmt.Sprintf("  attempt %d", e.Attempt)
	}
	if e.Depth > 0 {
		text += fmt.Sprintf("  depth %d", e.Depth)
	}
	return text
}

// thrown is what a script threw and where.
func thrown(s styles, e *cloud.ScriptError) string {
	head := cmp.Or(e.Name, "Error")
	if e.Message != "" {
		head += ": " + e.Message
	}
	return "  " + s.red(indent(head, "  ")) + "\n" + frames(e)
}

// frames are the lines of the stack of what a script threw.
func frames(e *cloud.ScriptError) string {
	var b strings.Builder
	for frame := range strings.Lines(e.Stack) {
		if frame = strings.TrimSpace(plain(frame)); strings.HasPrefix(frame, "at ") {
			fmt.Fprintf(&b, "    %s\n", frame)
		}
	}
	return b.String()
}

// indent puts margin before the second and later lines of a text.
func indent(text, margin string) string {
	return strings.ReplaceAll(strings.TrimRight(plain(text), "\n"), "\n", "\n"+margin)
}

func duration(ms float64) string {
	switch d := time.Duration(ms * float64(time.Millisecond)); {
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
