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
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.close()
			scripts, raw, err := fetch[list[script]](cmd.Context(), cl, "GET", api("apps", c.app, "scripts"), nil)
			if err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) {
				rows := [][]string{{"NAME", "KIND", "LANGUAGE", "VERSION", "UPDATED"}}
				for _, s := range scripts.Items {
					rows = append(rows, []string{s.Name, string(s.Kind), string(s.Language), strconv.Itoa(s.Version), when(s.UpdatedAt)})
				}
				c.table(w, rows)
			})
			return nil
		},
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
		RunE: func(cmd *cobra.Command, args []string) error {
			if versions && cmd.Flags().Changed("version") {
				return usagef("--version and --versions exclude each other")
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.close()
			path := []string{"apps", c.app, "scripts", args[0]}
			switch {
			case versions:
				kept, raw, err := fetch[list[scriptVersion]](cmd.Context(), cl, "GET", api(append(path, "versions")...), nil)
				if err != nil {
					return err
				}
				c.show(raw, func(w io.Writer) {
					rows := [][]string{{"VERSION", "KIND", "LANGUAGE", "SAVED", "BY"}}
					for _, v := range kept.Items {
						rows = append(rows, []string{strconv.Itoa(v.Version), string(v.Kind), string(v.Language), when(v.CreatedAt), v.CreatedBy})
					}
					c.table(w, rows)
				})
				return nil
			case cmd.Flags().Changed("version"):
				path = append(path, "versions", strconv.Itoa(version))
			}
			s, raw, err := fetch[struct {
				Source string `json:"source"`
			}](cmd.Context(), cl, "GET", api(path...), nil)
			if err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) { printText(w, s.Source) })
			return nil
		},
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
		RunE: func(cmd *cobra.Command, args []string) error {
			version := 0
			if len(args) == 2 {
				v, err := strconv.Atoi(strings.TrimPrefix(args[1], "v"))
				if err != nil || v < 1 {
					return usagef("the version %q is not a number from 1", args[1])
				}
				version = v
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.close()
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
		},
	}
}

func (c *cli) scriptsRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "rm SCRIPT...",
		Short:             "Delete scripts with their versions and routes",
		Args:              args(1, -1),
		ValidArgsFunction: c.completeScripts,
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.close()
			for _, name := range args {
				if _, err := cl.call(cmd.Context(), "DELETE", api("apps", c.app, "scripts", name), nil); err != nil {
					return err
				}
				c.done("Deleted script %s.", name)
			}
			return nil
		},
	}
}
