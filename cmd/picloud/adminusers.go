package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/caddycloud"
	"github.com/picloud/picloud/services/cloud"
)

func (a *admin) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the users",
		Long: `list shows all users: their role, how they come in (a password; a one_time
password that waits to be replaced; an invitation; none: by API keys alone),
whether a second factor is asked of them, and when they last logged in.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, o *caddycloud.Operator) error {
				users, err := o.Users(ctx)
				if err != nil {
					return err
				}
				return printUsers(cmd.OutOrStdout(), users)
			})
		},
	}
}

func printUsers(out io.Writer, users []cloud.User) error {
	if len(users) == 0 {
		_, err := fmt.Fprintln(out, "nobody yet: the instance waits to be claimed (pic login --claim, or picloud admin create-owner NAME)")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tROLE\tACTIVE\tACCESS\tSECOND FACTOR\tLAST LOG-IN")
	for _, u := range users {
		last := "never"
		if !u.LastLoginAt.IsZero() {
			last = u.LastLoginAt.Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, u.Role, yesNo(u.Active), u.Access, yesNo(u.SecondFactor), last)
	}
	return w.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (a *admin) resetPassword() *cobra.Command {
	return &cobra.Command{
		Use:   "reset-password USER",
		Short: "Give a user a one-time password",
		Long: `reset-password replaces a user's password by a one-time password, which it
prints: the user logs in with it once and chooses another. Their sessions end,
and a second factor is taken away. API keys go on working; "pic keys" and the API
revoke them.

When log-ins are held up because too many failed, that passes by itself, and a
restart of the server forgets it: it counts in its memory, by account and by
address, and an address from which the user came in lately is not held up by what
others try.`,
		Example: "  picloud admin reset-password ada",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, o *caddycloud.Operator) error {
				user, handover, err := o.ResetPassword(ctx, args[0])
				if err != nil {
					return err
				}
				printHandover(cmd.OutOrStdout(), user, handover)
				if !user.Active {
					_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s is deactivated and cannot log in; an admin activates them: pic users activate %[1]s\n", user.Name)
				}
				return err
			})
		},
	}
}

func (a *admin) createOwner() *cobra.Command {
	return &cobra.Command{
		Use:   "create-owner NAME",
		Short: "Make a new owner, with a one-time password",
		Long: `create-owner makes another user with the role owner, or the first one of an
instance that nobody has claimed, and prints a one-time password: the user logs in
with it once and chooses another.`,
		Example: "  picloud admin create-owner grace",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, o *caddycloud.Operator) error {
				user, handover, err := o.CreateOwner(ctx, args[0])
				if cloud.CodeOf(err) == cloud.CodeConflict {
					return fmt.Errorf("there is a user %s already; picloud admin reset-password %[1]s lets them in again", args[0])
				}
				if err != nil {
					return err
				}
				printHandover(cmd.OutOrStdout(), user, handover)
				return nil
			})
		},
	}
}

// printHandover shows the secret on a line of its own, for people and programs.
func printHandover(out io.Writer, user cloud.User, h cloud.Handover) {
	_, _ = fmt.Fprintf(out, "one-time password of %s (%s), good until %s:\n%s\n", user.Name, user.Role, h.ExpiresAt.Format(time.RFC3339), h.Password)
}
