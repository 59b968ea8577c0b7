package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
)

// show prints an answer of the API: as it is for programs, by table for people.
func (c *cli) show(raw json.RawMessage, table func(w io.Writer)) {
	if c.output == "json" {
		c.writeJSON(c.out, raw)
		return
	}
	table(c.out)
}

// writeJSON prints a JSON text indented, or nothing if there is none.
func (c *cli) writeJSON(w io.Writer, raw json.RawMessage) {
	if len(raw) > 0 {
		_, _ = io.WriteString(w, indented(raw)+"\n")
	}
}

// indented is a JSON text spread over lines; what is no JSON stays as it is.
func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, bytes.TrimSpace(raw), "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// done tells people what was changed; programs read the exit code.
func (c *cli) done(format string, args ...any) {
	if c.output != "json" {
		fmt.Fprintf(c.out, format+"\n", args...)
	}
}

// note tells people something beside the answer.
func (c *cli) note(format string, args ...any) {
	if c.output != "json" {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// table prints rows in columns; the first row is the head.
func (c *cli) table(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				_, _ = io.WriteString(tw, "\t")
			}
			_, _ = io.WriteString(tw, strings.NewReplacer("\t", " ", "\n", " ").Replace(plain(cell)))
		}
		_, _ = io.WriteString(tw, "\n")
	}
	_ = tw.Flush()
}

// plain is s without what would steer a terminal: logs and stored values hold
// whatever strangers sent. Line breaks and tabs stay.
func plain(s string) string {
	clean := func(r rune) bool { return r == '\n' || r == '\t' || !unicode.IsControl(r) && !isBidi(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if clean(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// isBidi tells the characters that reorder text around them (CVE-2021-42574).
func isBidi(r rune) bool { return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 }

// when is a time for people; "-" for none.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// whenever is a time for people that may never come; "-" for none.
func whenever(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return when(*t)
}

// styles colours text, or does not.
type styles struct{ on bool }

// styles of w: colours on a terminal, unless NO_COLOR forbids them.
func (c *cli) styles(w io.Writer) styles {
	if serial, ok := w.(*serialWriter); ok {
		w = serial.w
	}
	f, ok := w.(*os.File)
	return styles{on: ok && c.env("NO_COLOR") == "" && c.env("TERM") != "dumb" &&
		term.IsTerminal(int(f.Fd())) && enableColours(f)}
}

func (s styles) red(text string) string    { return s.paint("31", text) }
func (s styles) green(text string) string  { return s.paint("32", text) }
func (s styles) yellow(text string) string { return s.paint("33", text) }
func (s styles) bold(text string) string   { return s.paint("1", text) }
func (s styles) dim(text string) string    { return s.paint("2", text) }

func (s styles) paint(code, text string) string {
	if !s.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
