package main

import (
	"cmp"
	"fmt"
	"io"

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
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			return presentList(cmd.Context(), c, cl, api("apps"), []string{"SLUG", "NAME", "URL", "CREATED"}, func(a app) []string {
				return []string{a.Slug, a.Name, a.URL, when(a.CreatedAt)}
			})
		}),
	}
}

func (c *cli) appsCreate() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "create SLUG",
		Short:   "Create an app",
		Example: "  pic apps create shop --name 'The shop'",
		Args:    args(1, 1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			in := struct {
				Slug string `json:"slug"`
				Name string `json:"name,omitempty"`
			}{args[0], name}
			return present(cmd.Context(), c, cl, "POST", api("apps"), in, func(w io.Writer, made app) {
				fmt.Fprintf(w, "Created app %s, reached at %s\n", plain(made.Slug), plain(made.URL))
			})
		}),
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
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if len(args) == 1 {
				c.app = args[0]
			}
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
					{"Your role", cmp.Or(a.MyRole, "-")},
					{"Created", when(a.CreatedAt)},
					{"Updated", when(a.UpdatedAt)},
				}
				for _, d := range domains.Items {
					rows = append(rows, []string{"Domain", d.Host})
				}
				c.table(w, rows)
			})
			return nil
		}),
	}
}

func (c *cli) appsRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "rm SLUG",
		Short:             "Delete an app with all its scripts, routes and data",
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeApps),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			a, _, err := fetch[app](cmd.Context(), cl, "GET", api("apps", args[0]), nil)
			if err != nil {
				return err
			}
			if !yes {
				fmt.Fprintf(c.err, "This deletes the app %s with all its scripts, routes and data.\n", plain(a.Slug))
				if err := c.confirm(cmd.Context(), "slug", a.Slug); err != nil {
					return err
				}
			}
			if _, err := cl.call(cmd.Context(), "DELETE", api("apps", a.ID), nil); err != nil {
				return err
			}
			c.done("Deleted app %s.", a.Slug)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
