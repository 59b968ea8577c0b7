package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionTimeout is how long the shell's user waits for names at most.
const completionTimeout = 2 * time.Second

// first completes only the first argument by f.
func first(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, start)
	}
}

// completeOneOf completes the flag name, which exists, by values.
func completeOneOf[T ~string](cmd *cobra.Command, name string, values ...T) {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	complete(cmd, name, cobra.FixedCompletions(texts, cobra.ShellCompDirectiveNoFileComp))
}

func (c *cli) completeApps(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
	return names(cmd, c, api("apps"), start, func(a app) string { return a.Slug })
}

func (c *cli) completeScripts(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
	return names(cmd, c, api("apps", c.app, "scripts"), start, func(s script) string { return s.Name })
}

// names are those of the items that the API lists at path, if they begin with
// start; none if it cannot be asked, as completion has nowhere to complain.
func names[T any](cmd *cobra.Command, c *cli, path, start string, name func(T) string) ([]string, cobra.ShellCompDirective) {
	cl, err := c.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cl.close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	found, _, err := fetch[list[T]](ctx, cl, "GET", path, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, item := range found.Items {
		if strings.HasPrefix(name(item), start) {
			out = append(out, name(item))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
