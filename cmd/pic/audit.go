package main

import (
	"cmp"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

func (c *cli) audit() *cobra.Command {
	var user, action string
	var limit int
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what, when and from where",
		Long: `audit shows the changes of the instance and its apps, newest first. It is for
admins of the instance. With --app it shows one app; PICLOUD_APP does not matter.`,
		Example: `  pic audit --user ada
  pic audit --app shop --action delete-script --limit 10`,
		Args: args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d is not between 1 and 1000", limit)
			}
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			if user != "" {
				query.Set("user", user)
			}
			if action != "" {
				query.Set("action", action)
			}
			if cmd.Flags().Changed("app") {
				query.Set("app", c.app)
			}
			head := []string{"WHEN", "WHO", "BY", "FROM", "ACTION", "APP", "WHAT"}
			return presentList(cmd.Context(), c, cl, api("audit")+"?"+query.Encode(), head, func(e auditEntry) []string {
				return []string{when(e.At), cmp.Or(e.User, "-"), e.Via, cmp.Or(e.Address, "-"), e.Action, cmp.Or(e.App, "-"), cmp.Or(e.Target, "-")}
			})
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "only what the user `NAME` did")
	cmd.Flags().StringVar(&action, "action", "", "only this `ACTION`, such as delete-app")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most the last `N` changes")
	complete(cmd, "user", c.completeUsers)
	return cmd
}
