package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) users() *cobra.Command {
	return group(&cobra.Command{
		Use:   "users",
		Short: "Create, change and delete users",
		Long: `Users have a role on the instance. A member does in an app what the app's member
list says, an admin edits every app and looks after the users, an owner may do
everything and is the only one who makes owners.`,
	}, c.usersList(), c.usersCreate(), c.usersChange(), c.usersActive("deactivate", false), c.usersActive("activate", true), c.usersReset(), c.usersRemove())
}

var instanceRoles = []cloud.InstanceRole{cloud.Member, cloud.Admin, cloud.Owner}

func (c *cli) completeUsers(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
	return names(cmd, c, api("users"), start, func(u user) string { return u.Name })
}

func (c *cli) usersList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the users",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			head := []string{"NAME", "ROLE", "STATE", "LOGS IN BY", "SECOND FACTOR", "LAST LOG-IN", "CREATED"}
			return presentList(cmd.Context(), c, cl, api("users"), head, func(u user) []string {
				state := "active"
				if !u.Active {
					state = "inactive"
				}
				return []string{u.Name, u.Role, state, accessText(u.Access), onOff(u.SecondFactor), whenever(u.LastLoginAt), when(u.CreatedAt)}
			})
		}),
	}
}

func accessText(a cloud.Access) string {
	switch a {
	case cloud.AccessOneTime:
		return "one-time password"
	case cloud.AccessInvited:
		return "invitation"
	case cloud.AccessNone:
		return "keys only"
	}
	return string(a)
}

// printHandover prints the secret alone, so that it can be piped, and beside it
// what to do with it.
func (c *cli) printHandover(w io.Writer, name string, h handover) {
	if h.Invitation != nil {
		c.note("Give %s this link, by a way that nobody else reads. It works once, until %s.", plain(name), when(h.ExpiresAt))
		fmt.Fprintln(w, plain(h.Invitation.URL))
		return
	}
	c.note("Give %s this one-time password, to be replaced at the log-in. It works until %s.", plain(name), when(h.ExpiresAt))
	fmt.Fprintln(w, plain(h.Password))
}

const inviteUsage = "print a link to choose a password by, instead of a one-time password"

func (c *cli) usersCreate() *cobra.Command {
	var in struct {
		Name   string `json:"name"`
		Role   string `json:"role,omitempty"`
		Invite bool   `json:"invite,omitempty"`
	}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a user and print the one-time password or invitation",
		Long: `create prints what the new user comes in by alone on standard output: a one-time
password, which must be replaced at the first log-in, or the link of an invitation.`,
		Example: `  pic users create ada
  pic users create grace --role admin --invite`,
		Args: args(1, 1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			in.Name = args[0]
			type created struct {
				User user `json:"user"`
				handover
			}
			return present(cmd.Context(), c, cl, "POST", api("users"), in, func(w io.Writer, made created) {
				c.note("Created %s, %s of this instance.", plain(made.User.Name), plain(made.User.Role))
				c.printHandover(w, made.User.Name, made.handover)
			})
		}),
	}
	cmd.Flags().StringVar(&in.Role, "role", "", "`ROLE` on the instance: member, admin or owner (default: member)")
	cmd.Flags().BoolVar(&in.Invite, "invite", false, inviteUsage)
	completeOneOf(cmd, "role", instanceRoles...)
	return cmd
}

func (c *cli) usersChange() *cobra.Command {
	var in struct {
		Name string `json:"name,omitempty"`
		Role string `json:"role,omitempty"`
	}
	cmd := &cobra.Command{
		Use:               "change NAME",
		Short:             "Rename a user, or give another role",
		Example:           "  pic users change ada --role admin\n  pic users change ada --rename ada.lovelace",
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeUsers),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if in.Name == "" && in.Role == "" {
				return usagef("nothing to change: pass --role or --rename")
			}
			return present(cmd.Context(), c, cl, "PATCH", api("users", args[0]), in, func(w io.Writer, u user) {
				fmt.Fprintf(w, "%s is %s of this instance.\n", plain(u.Name), plain(u.Role))
			})
		}),
	}
	cmd.Flags().StringVar(&in.Role, "role", "", "new `ROLE`: member, admin or owner")
	cmd.Flags().StringVar(&in.Name, "rename", "", "new `NAME`")
	completeOneOf(cmd, "role", instanceRoles...)
	return cmd
}

func (c *cli) usersActive(name string, active bool) *cobra.Command {
	short, done := "Let a deactivated user in again", "%s may log in again.\n"
	if !active {
		short, done = "End a user's sessions and keys for as long as it lasts", "%s is deactivated: sessions have ended, keys do not work.\n"
	}
	return &cobra.Command{
		Use:               name + " NAME",
		Short:             short,
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeUsers),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			in := struct {
				Active bool `json:"active"`
			}{active}
			return present(cmd.Context(), c, cl, "PATCH", api("users", args[0]), in, func(w io.Writer, u user) { fmt.Fprintf(w, done, plain(u.Name)) })
		}),
	}
}

func (c *cli) usersReset() *cobra.Command {
	var in struct {
		Invite bool `json:"invite,omitempty"`
	}
	cmd := &cobra.Command{
		Use:   "reset NAME",
		Short: "Let in a user who lost the password or the second factor",
		Long: `reset ends the user's sessions, takes the password and the second factor away, and
prints a one-time password, or with --invite a link, alone on standard output.`,
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeUsers),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			return present(cmd.Context(), c, cl, "POST", api("users", args[0], "reset"), in, func(w io.Writer, h handover) {
				c.printHandover(w, args[0], h)
			})
		}),
	}
	cmd.Flags().BoolVar(&in.Invite, "invite", false, inviteUsage)
	return cmd
}

func (c *cli) usersRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "rm NAME",
		Short:             "Delete a user with keys, sessions and memberships",
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeUsers),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			u, _, err := fetch[user](cmd.Context(), cl, "GET", api("users", args[0]), nil)
			if err != nil {
				return err
			}
			if !yes {
				fmt.Fprintf(c.err, "This deletes the user %s with all keys, sessions and memberships; pic users deactivate can be undone.\n", plain(u.Name))
				if err := c.confirm(cmd.Context(), "name", u.Name); err != nil {
					return err
				}
			}
			if _, err := cl.call(cmd.Context(), "DELETE", api("users", u.ID), nil); err != nil {
				return err
			}
			c.done("Deleted user %s.", plain(u.Name))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
