package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

// TestDocs keeps docs/cli.md equal to the commands' help:
//
//	go test ./cmd/pic -run TestDocs -update
func TestDocs(t *testing.T) {
	t.Parallel()
	const file = "../../docs/cli.md"
	var b strings.Builder
	b.WriteString("# pic\n\n<!-- Written by `go test ./cmd/pic -run TestDocs -update`. Edit the commands instead. -->\n")
	document(&b, testCLI(t, nil).root())
	b.WriteString(`
## Exit codes

0: done. 1: it failed; standard error says why, with ` + "`--output json`" + ` as a problem document
(RFC 9457). 2: the command line makes no sense.

## Files

The credentials file is ` + "`picloud/credentials.json`" + ` in the user's configuration folder
(Linux ` + "`~/.config`" + `, macOS ` + "`~/Library/Application Support`" + `, Windows ` + "`%AppData%`" + `),
readable by its owner alone. It holds the sessions and API keys that pic login got, never
a password. The key of a local development server is sent to
` + "`localhost`" + ` and loopback addresses only.
`)
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Error("docs/cli.md is not what the commands say; write it anew by go test ./cmd/pic -run TestDocs -update")
	}
}

func document(b *strings.Builder, cmd *cobra.Command) {
	if cmd.HasParent() {
		fmt.Fprintf(b, "\n## %s\n\n%s.\n", cmd.CommandPath(), cmd.Short)
	} else {
		fmt.Fprintf(b, "\n%s.\n", cmd.Short)
	}
	if cmd.Name() != "completion" && cmd.Long != "" {
		fmt.Fprintf(b, "\n%s\n", cmd.Long)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(b, "- [%s](#%s): %s\n", sub.CommandPath(), strings.ReplaceAll(sub.CommandPath(), " ", "-"), sub.Short)
			}
		}
	} else {
		fmt.Fprintf(b, "\n    %s\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		b.WriteString("\nExamples:\n\n")
		for line := range strings.Lines(cmd.Example) {
			b.WriteString("  " + line)
		}
		b.WriteString("\n")
	}
	flags := cmd.LocalFlags()
	if !cmd.HasParent() {
		flags = cmd.PersistentFlags()
	}
	rows := ""
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		rows += fmt.Sprintf("| `%s` | %s |\n", name, strings.ReplaceAll(usage, "|", "\\|"))
	})
	if rows != "" {
		title := "Flag"
		if !cmd.HasParent() {
			title = "Flag of every command"
		}
		fmt.Fprintf(b, "\n| %s | |\n| --- | --- |\n%s", title, rows)
	}
	if cmd.Name() == "completion" {
		return // its shells are told by its help
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			document(b, sub)
		}
	}
}
