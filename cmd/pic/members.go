package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) members() *cobra.Command {
	return group(&cobra.Command{
		Use:   "members",
		Short: "Say who may do what in the app",
		Long: `The members of an app have a role in it. A viewer reads scripts, data and logs, an
editor changes them, an app_admin also looks after members and the app itself.
Admins of the instance edit every app, owners are app_admin everywhere, without
being listed.`,
	}, c.membersList(), c.membersSet(), c.membersRemove())
}

func (c *cli) completeMembers(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
	return names(cmd, c, api("apps", c.app, "members"), start, func(m member) string { return m.Name })
}

func (c *cli) membersList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the app's members",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			return presentList(cmd.Context(), c, cl, api("apps", c.app, "members"), []string{"NAME", "ROLE", "SINCE"}, func(m member) []string {
				return []string{m.Name, m.Role, when(m.CreatedAt)}
			})
		}),
	}
}

func (c *cli) membersSet() *cobra.Command {
	return &cobra.Command{
		Use:     "set USER ROLE",
		Short:   "Give a user a role in the app: viewer, editor or app_admin",
		Example: "  pic members set ada editor --app shop",
		Args:    args(2, 2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return c.completeUsers(cmd, args, start)
			case 1:
				return []string{string(cloud.Viewer), string(cloud.Editor), string(cloud.AppAdminRole)}, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			in := struct {
				Role string `json:"role"`
			}{args[1]}
			return present(cmd.Context(), c, cl, "PUT", api("apps", c.app, "members", args[0]), in, func(w io.Writer, m member) {
				fmt.Fprintf(w, "%s is %s of the app %s.\n", plain(m.Name), plain(m.Role), plain(c.app))
			})
		}),
	}
}

func (c *cli) membersRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "rm USER...",
		Short:             "Take users' roles in the app away",
		Args:              args(1, -1),
		ValidArgsFunction: c.completeMembers,
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, users []string) error {
			return c.removeAll(cmd.Context(), cl, users, "%s is no member of the app any more.", "apps", c.app, "members")
		}),
	}
}
