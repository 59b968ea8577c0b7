package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) apps() *cobra.Command {
	return group(&cobra.Command{
		Use:   "apps",
		Short: "List, create, show and delete apps",
		Long:  "An app holds scripts, routes, domains and data apart from every other app.",
	}, c.appsList(), c.appsCreate(), c.appsShow(), c.appsRemove())
}

func (c *cli) appsList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the apps",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.close()
			apps, raw, err := fetch[list[app]](cmd.Context(), cl, "GET", api("apps"), nil)
			if err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) {
				rows := [][]string{{"SLUG", "NAME", "URL", "CREATED"}}
				for _, a := range apps.Items {
					rows = append(rows, []string{a.Slug, a.Name, a.URL, when(a.CreatedAt)})
				}
				c.table(w, rows)
			})
			return nil
		},
	}
}

func (c *cli) appsCreate() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "create SLUG",
		Short:   "Create an app",
		Example: "  pic apps create shop --name 'The shop'",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.close()
			in := struct {
				Slug string `json:"slug"`
				Name string `json:"name,omitempty"`
			}{args[0], name}
			made, raw, err := fetch[app](cmd.Context(), cl, "POST", api("apps"), in)
			if err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) {
				fmt.Fprintf(w, "Created app %s, reached at %s\n", plain(made.Slug), plain(made.URL))
			})
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "`NAME` for people (default: the slug)")
	return cmd
}

func (c *cli) appsShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show [SLUG]",
		Short:             "Show an app and its domains",
		Args:              args(0, 1),
		ValidArgsFunction: first(c.completeApps),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				c.app = args[0]
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.close()
			a, raw, err := fetch[app](cmd.Context(), cl, "GET", api("apps", c.app), nil)
			if err != nil {
				return err
			}
			domains, _, err := fetch[list[domain]](cmd.Context(), cl, "GET", api("apps", c.app, "domains"), nil)
			if err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) {
				rows := [][]string{
					{"Slug", a.Slug},
					{"Name", a.Name},
					{"URL", a.URL},
					{"Id", a.ID},
					{"Created", when(a.CreatedAt)},
					{"Updated", when(a.UpdatedAt)},
				}
				for _, d := range domains.Items {
					rows = append(rows, []string{"Domain", d.Host})
				}
				c.table(w, rows)
			})
			return nil
		},
	}
}

func (c *cli) appsRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "rm SLUG",
		Short:             "Delete an app with all its scripts, routes and data",
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeApps),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.close()
			a, _, err := fetch[app](cmd.Context(), cl, "GET", api("apps", args[0]), nil)
			if err != nil {
				return err
			}
			if !yes {
				fmt.Fprintf(c.err, "This deletes the app %s with all its scripts, routes and data.\nType its slug to go on: ", plain(a.Slug))
				line, err := bufio.NewReader(c.in).ReadString('\n')
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if strings.TrimSpace(line) != a.Slug {
					return fmt.Errorf("that was not %s: nothing was deleted", a.Slug)
				}
			}
			if _, err := cl.call(cmd.Context(), "DELETE", api("apps", a.ID), nil); err != nil {
				return err
			}
			c.done("Deleted app %s.", a.Slug)
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
