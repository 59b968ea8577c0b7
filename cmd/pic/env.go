package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) vars() *cobra.Command {
	return group(&cobra.Command{
		Use:   "vars",
		Short: "Set, list and delete the app's variables",
		Long: `Variables are what the app's scripts read from env and everybody who may read the
scripts may see. What nobody may see is a secret: pic secrets.`,
	}, c.varsList(), c.envSet(variables), c.envRemove(variables))
}

func (c *cli) secrets() *cobra.Command {
	return group(&cobra.Command{
		Use:   "secrets",
		Short: "Set, list and delete the app's secrets",
		Long: `Secrets are what the app's scripts read from env, like variables, and nobody else
sees: the server keeps them encrypted, masks them in logs, and hands no value out.`,
	}, c.secretsList(), c.envSet(secrets), c.envRemove(secrets))
}

// envKind is one of the two parts of an app's env.
type envKind struct {
	collection string // in the API's paths
	noun       string
	hidden     bool // values are not shown, not even while they are typed
}

var (
	variables = envKind{collection: "variables", noun: "variable"}
	secrets   = envKind{collection: "secrets", noun: "secret", hidden: true}
)

func (c *cli) completeEnv(kind envKind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return names(cmd, c, api("apps", c.app, kind.collection), start, func(e envEntry) string { return e.Name })
	}
}

func (c *cli) varsList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the app's variables with their values",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			return presentList(cmd.Context(), c, cl, api("apps", c.app, variables.collection), []string{"NAME", "VALUE", "UPDATED"}, func(e envEntry) []string {
				return []string{e.Name, e.Value, when(e.UpdatedAt)}
			})
		}),
	}
}

func (c *cli) secretsList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the names of the app's secrets",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			return presentList(cmd.Context(), c, cl, api("apps", c.app, secrets.collection), []string{"NAME", "UPDATED"}, func(e envEntry) []string {
				return []string{e.Name, when(e.UpdatedAt)}
			})
		}),
	}
}

func (c *cli) envSet(kind envKind) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "set NAME [VALUE]",
		Short: "Set a variable, or those of a file",
		Long: `set stores VALUE under NAME; scripts have it as env.NAME from their next execution
on. Without VALUE, or for -, it is asked for or read from standard input, without
the line break at its end.

` + envFileHelp,
		Example: `  pic vars set GREETING 'Good morning'
  pic vars set TERMS < terms.txt
  pic vars set --file .env`,
		ValidArgsFunction: first(c.completeEnv(kind)),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if file != "" {
				if len(args) > 0 {
					return usagef("--file holds the names and values: leave %s out", args[0])
				}
				return c.setFile(cmd.Context(), cl, kind, file)
			}
			if len(args) == 0 {
				return usagef("an argument is missing: %s", cmd.UseLine())
			}
			if err := cloud.CheckEnvName(args[0]); err != nil {
				return usagef("the name %s", publicMessage(err))
			}
			if len(args) == 2 && args[1] != "-" {
				return c.setEnv(cmd.Context(), cl, kind, args[0], args[1])
			}
			value, err := c.readValue(cmd.Context(), kind, args[0])
			if err != nil {
				return err
			}
			return c.setEnv(cmd.Context(), cl, kind, args[0], value)
		}),
	}
	cmd.Args = args(0, 2)
	if kind.hidden {
		cmd.Use = "set NAME"
		cmd.Short = "Set a secret, or those of a file"
		cmd.Long = `set stores a secret under NAME; scripts have it as env.NAME from their next
execution on. The value is asked for without echo, or read from standard input,
without the line break at its end. It is no argument: those show in the process
list and the shell's history.

` + envFileHelp
		cmd.Example = `  pic secrets set STRIPE_KEY
  pic secrets set STRIPE_KEY < key.txt
  pic secrets set --file .env`
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if len(given) > 1 {
				return usagef("the value of a secret is no argument, which others can see: leave it out and be asked, or pass it on standard input")
			}
			return nil
		}
	}
	cmd.Flags().StringVar(&file, "file", "", "set what `FILE` holds, in lines NAME=VALUE; - for standard input")
	return cmd
}

const envFileHelp = `A file has lines NAME=VALUE, as in .env files. Empty ones do not count, nor what
follows a # at the beginning of a line or behind a blank; export before the name
is allowed. A value in '…' is taken as it is; in "…", \n, \t, \r, \", \\ and \$
have their usual meaning. Nothing is expanded.`

// readValue is the whole of standard input without one line break at its end, or
// the line that a person types.
func (c *cli) readValue(ctx context.Context, kind envKind, name string) (string, error) {
	prompt := fmt.Sprintf("Value of the %s %s: ", kind.noun, name)
	switch _, typing := c.terminal(); {
	case typing && kind.hidden:
		return c.askHidden(ctx, prompt)
	case typing:
		return c.ask(ctx, prompt)
	}
	b, err := c.readInput("-", "the value")
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

func (c *cli) setEnv(ctx context.Context, cl *client, kind envKind, name, value string) error {
	in := struct {
		Value string `json:"value"`
	}{value}
	if _, err := cl.call(ctx, "PUT", api("apps", c.app, kind.collection, name), in); err != nil {
		if p, ok := errors.AsType[*problem](err); ok && p.Code == cloud.CodeConflict {
			p.hint = fmt.Sprintf("A name is a variable's or a secret's: pic vars rm %s or pic secrets rm %s makes room.", name, name)
		}
		return err
	}
	c.done("Set %s %s.", kind.noun, name)
	return nil
}

func (c *cli) setFile(ctx context.Context, cl *client, kind envKind, file string) error {
	b, err := c.readInput(file, "the values")
	if err != nil {
		return err
	}
	entries, err := parseEnvFile(string(b))
	if err != nil {
		return fmt.Errorf("%s:%w", file, err)
	}
	for _, e := range entries {
		if err := c.setEnv(ctx, cl, kind, e.Name, e.Value); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) envRemove(kind envKind) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME...",
		Short:             "Delete " + kind.noun + "s",
		Args:              args(1, -1),
		ValidArgsFunction: c.completeEnv(kind),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, names []string) error {
			return c.removeAll(cmd.Context(), cl, names, "Deleted "+kind.noun+" %s.", "apps", c.app, kind.collection)
		}),
	}
}
