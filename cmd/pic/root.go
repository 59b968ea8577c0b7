package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// system is what pic touches of the machine it runs on.
type system struct {
	in        io.Reader
	out, err  io.Writer
	env       func(name string) string
	configDir func() (string, error)
	workDir   func() (string, error)
	now       func() time.Time
}

func newSystem() system {
	return system{
		in:        os.Stdin,
		out:       os.Stdout,
		err:       os.Stderr,
		env:       os.Getenv,
		configDir: os.UserConfigDir,
		workDir:   os.Getwd,
		now:       time.Now,
	}
}

// cli is one invocation: the machine and the global flags.
type cli struct {
	system
	url       string
	tokenFile string
	output    string
	app       string
	lines     *bufio.Reader // of standard input, once a line was read
}

// run executes pic with args, which do not contain the program's name, and
// returns its exit code. Errors have been printed.
func run(ctx context.Context, sys system, args []string) int {
	c := &cli{system: sys}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(sys.in)
	root.SetOut(sys.out)
	root.SetErr(sys.err)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitFailure
	}
	c.printError(err)
	if _, ok := errors.AsType[*usageError](err); ok {
		if c.output != "json" {
			fmt.Fprintf(c.err, "See %s --help.\n", cmd.CommandPath())
		}
		return exitUsage
	}
	return exitFailure
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pic",
		Short: "Deploy scripts to PiCloud and look after them",
		Long: `pic deploys JavaScript and TypeScript to a PiCloud server and shows what runs there.

The server is the one of --url or PICLOUD_URL, else the one you logged in to,
else http://localhost:8080. The API key is the one of --token-file or
PICLOUD_TOKEN, else what you logged in with, by pic login; a local development
server's own key is found by itself in .picloud/owner-token, here or in a folder
above (another data folder: PICLOUD_DATA).`,
		Example: `  pic login --url http://picloud.local
  pic deploy guestbook.ts
  pic logs -f guestbook`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if c.output != "table" && c.output != "json" {
				return usagef("--output %q is neither table nor json", c.output)
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	app := c.env("PICLOUD_APP")
	if app == "" {
		app = defaultApp
	}
	flags := root.PersistentFlags()
	flags.StringVar(&c.url, "url", "", "`URL` of the server, such as http://picloud.local (PICLOUD_URL)")
	flags.StringVar(&c.tokenFile, "token-file", "", "`FILE` that holds the API key (PICLOUD_TOKEN holds the key itself)")
	flags.StringVarP(&c.output, "output", "o", "table", "`FORMAT`: table for people, json for programs")
	flags.StringVar(&c.app, "app", app, "`SLUG` of the app to work in (PICLOUD_APP)")
	flags.Lookup("app").DefValue = defaultApp
	completeOneOf(root, "output", "table", "json")
	complete(root, "app", c.completeApps)

	root.AddCommand(
		c.login(), c.logout(), c.whoami(),
		c.passwd(), c.totp(), c.sessions(), c.keys(),
		c.users(), c.members(), c.audit(),
		c.apps(), c.deploy(), c.dev(),
		c.scripts(), c.routes(), c.invoke(), c.logs(), c.executions(), c.kv(),
		c.triggers(), c.deadLetters(), c.vars(), c.secrets(),
		c.types(), c.version(),
	)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	group(root)
	return root
}

// group makes cmd, which only holds other commands, show its help when called
// alone and refuse the name of a command that it does not have.
func group(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(commands...)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := fmt.Errorf("%s has no command %q", cmd.CommandPath(), args[0])
		if cmd.SuggestionsMinimumDistance <= 0 {
			cmd.SuggestionsMinimumDistance = 2
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
		}
		return &usageError{err}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// args demands between least and most arguments; most < 0 means any number.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("an argument is missing: %s", cmd.UseLine())
		case most >= 0 && len(args) > most:
			return usagef("%q is one argument too many: %s", args[most], cmd.UseLine())
		}
		return nil
	}
}

// complete registers f for the flag name, which exists.
func complete(cmd *cobra.Command, name string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, f); err != nil {
		panic(err)
	}
}

// usageError is a command line that makes no sense; pic exits with 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}
