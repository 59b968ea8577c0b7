package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) scripts() *cobra.Command {
	return group(&cobra.Command{
		Use:   "scripts",
		Short: "List, show, roll back and delete scripts",
	}, c.scriptsList(), c.scriptsShow(), c.scriptsRollback(), c.scriptsRemove())
}

func (c *cli) scriptsList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the app's scripts",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			return presentList(cmd.Context(), c, cl, api("apps", c.app, "scripts"), []string{"NAME", "KIND", "LANGUAGE", "VERSION", "UPDATED"}, func(s script) []string {
				return []string{s.Name, string(s.Kind), string(s.Language), strconv.Itoa(s.Version), when(s.UpdatedAt)}
			})
		}),
	}
}

func (c *cli) scriptsShow() *cobra.Command {
	var version int
	var versions bool
	cmd := &cobra.Command{
		Use:               "show SCRIPT",
		Short:             "Print a script's source",
		Example:           "  pic scripts show guestbook --version 3\n  pic scripts show guestbook --versions",
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeScripts),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if versions && cmd.Flags().Changed("version") {
				return usagef("--version and --versions exclude each other")
			}
			path := []string{"apps", c.app, "scripts", args[0]}
			switch {
			case versions:
				return presentList(cmd.Context(), c, cl, api(append(path, "versions")...), []string{"VERSION", "KIND", "LANGUAGE", "SAVED", "BY"}, func(v scriptVersion) []string {
					return []string{strconv.Itoa(v.Version), string(v.Kind), string(v.Language), when(v.CreatedAt), v.CreatedBy}
				})
			case cmd.Flags().Changed("version"):
				path = append(path, "versions", strconv.Itoa(version))
			}
			return present(cmd.Context(), c, cl, "GET", api(path...), nil, func(w io.Writer, s script) { printText(w, s.Source) })
		}),
	}
	cmd.Flags().IntVar(&version, "version", 0, "show version `N`")
	cmd.Flags().BoolVar(&versions, "versions", false, "list the versions that are kept instead")
	return cmd
}

// printText prints a text that ends its last line.
func printText(w io.Writer, text string) {
	text = plain(strings.ReplaceAll(text, "\r\n", "\n"))
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, _ = io.WriteString(w, text)
}

func (c *cli) scriptsRollback() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback SCRIPT [VERSION]",
		Short: "Bring back an earlier version's source, as a new version",
		Long:  "rollback saves the source of VERSION again; without VERSION that of the version before the running one.",
		Args:  args(1, 2),

		ValidArgsFunction: first(c.completeScripts),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			version := 0
			if len(args) == 2 {
				v, err := strconv.Atoi(strings.TrimPrefix(args[1], "v"))
				if err != nil || v < 1 {
					return usagef("the version %q is not a number from 1", args[1])
				}
				version = v
			}
			path := []string{"apps", c.app, "scripts", args[0]}
			if version == 0 {
				kept, _, err := fetch[list[scriptVersion]](cmd.Context(), cl, "GET", api(append(path, "versions")...), nil)
				if err != nil {
					return err
				}
				if len(kept.Items) < 2 {
					return fmt.Errorf("%s has no version before the running one", args[0])
				}
				version = kept.Items[1].Version
			}
			in := struct {
				Version int `json:"version"`
			}{version}
			s, raw, err := fetch[script](cmd.Context(), cl, "POST", api(append(path, "rollback")...), in)
			if err != nil {
				return explainBuild(err, nil)
			}
			c.show(raw, func(w io.Writer) {
				fmt.Fprintf(w, "%s runs the source of version %d again, as version %d.\n", plain(s.Name), version, s.Version)
			})
			return nil
		}),
	}
}

func (c *cli) scriptsRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "rm SCRIPT...",
		Short:             "Delete scripts with their versions, routes and triggers",
		Args:              args(1, -1),
		ValidArgsFunction: c.completeScripts,
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			return c.removeAll(cmd.Context(), cl, args, "Deleted script %s.", "apps", c.app, "scripts")
		}),
	}
}
