package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (c *cli) sessions() *cobra.Command {
	return group(&cobra.Command{
		Use:   "sessions",
		Short: "List and end sessions",
		Long:  "A session is a log-in by password, in a browser or by pic. It ends when it was not used for a day.",
	}, c.sessionsList(), c.sessionsEnd(), c.sessionsEndOthers())
}

// ofUser is the path to what belongs to a user: the caller if name is "".
func ofUser(name string, rest ...string) []string {
	if name == "" {
		return append([]string{"me"}, rest...)
	}
	return append([]string{"users", name}, rest...)
}

// userFlag lets an admin name another user.
func (c *cli) userFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "user", "", "those of the user `NAME`, for admins (default: your own)")
	complete(cmd, "user", c.completeUsers)
}

func (c *cli) sessionsList() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the sessions, last used first",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			head := []string{"ID", "BEGUN", "LAST USED", "ENDS", "ADDRESS", "WITH"}
			return presentList(cmd.Context(), c, cl, api(ofUser(user, "sessions")...), head, func(s session) []string {
				seen := when(s.SeenAt)
				if s.Current {
					seen = "this one"
				}
				return []string{s.ID, when(s.CreatedAt), seen, when(s.ExpiresAt), s.Address, s.UserAgent}
			})
		}),
	}
	c.userFlag(cmd, &user)
	return cmd
}

func (c *cli) sessionsEnd() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "end ID...",
		Short: "End sessions at once",
		Args:  args(1, -1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, ids []string) error {
			return c.removeAll(cmd.Context(), cl, ids, "Ended session %s.", ofUser(user, "sessions")...)
		}),
	}
	c.userFlag(cmd, &user)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return names(cmd, c, api(ofUser(user, "sessions")...), start, func(s session) string { return s.ID })
	}
	return cmd
}

func (c *cli) sessionsEndOthers() *cobra.Command {
	return &cobra.Command{
		Use:   "end-others",
		Short: "End all your sessions but this one",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			type ended struct {
				Ended int `json:"ended"`
			}
			return present(cmd.Context(), c, cl, "POST", api("me", "sessions:end-others"), nil, func(w io.Writer, e ended) {
				fmt.Fprintf(w, "Ended %d other sessions.\n", e.Ended)
			})
		}),
	}
}
