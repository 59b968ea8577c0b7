package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// problem is a refusal of the API (RFC 9457).
type problem struct {
	Status  int             `json:"status"`
	Title   string          `json:"title"`
	Detail  string          `json:"detail"`
	Code    cloud.Code      `json:"code"`
	Field   string          `json:"field"`
	Details json.RawMessage `json:"details"`

	ExecutionID string             `json:"execution_id"`
	Thrown      *cloud.ScriptError `json:"error"`

	server server
	raw    json.RawMessage
	hint   string // what to do, where the command knows better than the code
}

func (p *problem) Error() string {
	switch {
	case p.Detail == "" && p.Title == "":
		return fmt.Sprintf("the server answered %d %s", p.Status, http.StatusText(p.Status))
	case p.Detail == "":
		return p.Title
	case p.Field != "" && !strings.HasPrefix(p.Detail, p.Field):
		return p.Field + ": " + p.Detail
	}
	return p.Detail
}

func readProblem(s server, status int, body []byte) *problem {
	p := &problem{}
	if json.Unmarshal(body, p) != nil {
		p = &problem{}
	}
	p.Status, p.server, p.raw = status, s, body
	return p
}

// diagnostics are the messages of a failed build; nil for another problem.
func (p *problem) diagnostics() []cloud.Diagnostic {
	var details struct {
		Diagnostics []cloud.Diagnostic `json:"diagnostics"`
	}
	if p.Code != cloud.CodeBuildFailed || json.Unmarshal(p.Details, &details) != nil {
		return nil
	}
	return details.Diagnostics
}

// buildError is a source that does not build; found here or by the server.
type buildError struct {
	diagnostics []cloud.Diagnostic // with Files as the user knows them
	cause       error              // the server's problem; nil if found here
}

func (e *buildError) Error() string {
	d := e.diagnostics[0]
	return fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Column, d.Message)
}

func (e *buildError) Unwrap() error { return e.cause }

// hint is the next step after err; "" if there is none to offer.
func hint(err error) string {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.next()
	}
	var away *unreachable
	if !errors.As(err, &away) {
		return ""
	}
	var name *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &name):
		return "Is the name right, and are you on the same network? Pass another server with --url."
	case errors.As(err, &dial) && dial.Op == "dial" && isLocal(away.server):
		return "Is PiCloud running? Start it with make run, or pass another server with --url."
	case errors.As(err, &dial) && dial.Op == "dial":
		return "Is PiCloud running there? Pass another server with --url."
	}
	return ""
}

func (p *problem) next() string {
	if p.hint != "" {
		return p.hint
	}
	switch p.Code {
	case cloud.CodeUnauthorized:
		return p.server.logInAgain()
	case cloud.CodeUnclaimed:
		return fmt.Sprintf("pic login --claim --url %s makes you its owner.", p.server.url)
	case cloud.CodeForbidden:
		if isSession(p.server.token) {
			return "pic whoami and pic apps show tell your roles. An app's admins give another by pic members set, the instance's by pic users change."
		}
		return "pic whoami shows what your key may do; pic login takes another, or your password."
	case cloud.CodeSecondFactor:
		return "Pass it with --code, or type it when asked."
	case cloud.CodeRateLimited:
		return "Only passwords and codes have to wait: sessions and API keys go on working."
	case cloud.CodeLastOwner:
		return "pic users change NAME --role owner makes another one."
	case cloud.CodeRouteConflict, cloud.CodeRouteUnknown:
		return "pic routes ls shows what answers where; pic routes rm takes a route away."
	case cloud.CodeUnavailable, cloud.CodeBusy:
		return "That passes: try again in a moment."
	case cloud.CodeInternal:
		return "That is a fault of PiCloud; its log holds the cause."
	}
	return ""
}

// logInAgain says how to get in where the server did not take the token, or
// wanted one.
func (s server) logInAgain() string {
	again := "pic login --url " + s.url
	switch {
	case s.token == "" && isLocal(s.url):
		return fmt.Sprintf("Log in with %s, or set PICLOUD_DATA to the server's data folder, where its owner-token lies.", again)
	case s.token == "":
		return fmt.Sprintf("Log in with %s, or set PICLOUD_TOKEN.", again)
	case s.from != "":
		return fmt.Sprintf("The API key of %s is wrong, expired or revoked. Put a good one there, or take it away and log in with %s.", s.from, again)
	case isSession(s.token):
		return fmt.Sprintf("Your session has ended. Log in again with %s.", again)
	}
	return fmt.Sprintf("The API key is wrong, expired or revoked. Log in again with %s.", again)
}

// printError tells what failed and what to do, to people or to programs.
func (c *cli) printError(err error) {
	if c.output == "json" {
		c.printProblem(err)
		return
	}
	s := c.styles(c.err)
	if build, ok := errors.AsType[*buildError](err); ok {
		for _, d := range build.diagnostics {
			_, _ = fmt.Fprint(c.err, diagnostic(s, d))
		}
		return
	}
	fmt.Fprintf(c.err, "%s %s\n", s.red("pic:"), plain(err.Error()))
	var p *problem
	if errors.As(err, &p) && p.Thrown != nil {
		if !strings.Contains(p.Detail, p.Thrown.Message) {
			_, _ = fmt.Fprint(c.err, thrown(s, p.Thrown))
		} else {
			_, _ = fmt.Fprint(c.err, frames(p.Thrown))
		}
	}
	if next := hint(err); next != "" {
		fmt.Fprintln(c.err, plain(next))
	}
}

func (c *cli) printProblem(err error) {
	var p *problem
	if errors.As(err, &p) && json.Valid(p.raw) {
		c.writeJSON(c.err, p.raw)
		return
	}
	doc := struct {
		Type    string `json:"type"`
		Title   string `json:"title"`
		Detail  string `json:"detail"`
		Code    string `json:"code"`
		Details any    `json:"details,omitempty"`
	}{Type: "about:blank", Title: "pic failed", Detail: err.Error(), Code: "client"}
	var usage *usageError
	var away *unreachable
	var build *buildError
	switch {
	case errors.As(err, &usage):
		doc.Title, doc.Code = "Wrong usage", "usage"
	case errors.As(err, &away):
		doc.Title, doc.Code = "Server unreachable", "unreachable"
	case errors.As(err, &build):
		doc.Title, doc.Code = "Build failed", string(cloud.CodeBuildFailed)
		doc.Details = map[string]any{"diagnostics": build.diagnostics}
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		panic(err) // strings and diagnostics always encode
	}
	c.writeJSON(c.err, raw)
}

// maxSourceLine is how many characters of a source line a diagnostic shows.
const maxSourceLine = 100

// diagnostic is one message of a build with its source line and a caret.
func diagnostic(s styles, d cloud.Diagnostic) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\n", s.bold(fmt.Sprintf("%s:%d:%d:", plain(d.File), d.Line, d.Column)), s.red("error:"), plain(d.Message))
	if strings.TrimSpace(d.SourceLine) == "" {
		return b.String()
	}
	line, at := excerpt(d.SourceLine, d.Column)
	margin := fmt.Sprintf("%5d | ", d.Line)
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string([]rune(line)[:at]))
	fmt.Fprintf(&b, "%s%s\n", s.dim(margin), plain(line))
	fmt.Fprintf(&b, "%s%s%s\n", s.dim("      | "), pad, s.red("^"))
	return b.String()
}

// excerpt is the part of a source line around a column, which counts UTF-16 code
// units from 1, and the column's place in that part in characters from 0.
func excerpt(line string, column int) (string, int) {
	runes := []rune(strings.TrimRight(line, "\r\n"))
	at, units := 0, 1
	for at < len(runes) && units < column {
		units++
		if runes[at] > 0xffff {
			units++
		}
		at++
	}
	if len(runes) <= maxSourceLine {
		return string(runes), at
	}
	from := max(0, min(at-maxSourceLine/2, len(runes)-maxSourceLine))
	to := from + maxSourceLine
	part := runes[from:to:to]
	at -= from
	if from > 0 {
		part = append([]rune("…"), part...)
		at++
	}
	if to < len(runes) {
		part = append(part, '…')
	}
	return string(part), at
}
