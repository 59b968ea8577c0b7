package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) deadLetters() *cobra.Command {
	return group(&cobra.Command{
		Use:   "dead-letters",
		Short: "Look through what was given up, and deliver it again",
		Long: `An event whose last attempt failed is kept for 30 days as a dead letter, with what
it carried and how it failed. It waits until it is replayed or resolved, here or
by a script that a trigger of the kind dead_letter runs.`,
	}, c.deadLettersList(), c.deadLettersShow(), c.deadLettersReplay(), c.deadLettersResolve())
}

// deadLetterFilter selects dead letters; what is empty selects all.
type deadLetterFilter struct {
	Kind    string `json:"kind,omitempty"`
	Trigger string `json:"trigger,omitempty"`
	Script  string `json:"script,omitempty"`
}

func (f *deadLetterFilter) register(c *cli, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Kind, "kind", "", "only events of this `KIND`: kv, cron or http (async routes)")
	cmd.Flags().StringVar(&f.Trigger, "trigger", "", "only events of the trigger with this `ID`")
	cmd.Flags().StringVar(&f.Script, "script", "", "only events for the script `NAME`")
	completeOneOf(cmd, "kind", cloud.EventKV, cloud.EventCron, cloud.EventHTTP)
	complete(cmd, "trigger", c.completeTriggers)
	complete(cmd, "script", c.completeScripts)
}

// query is f as the API's list takes it, of at most limit dead letters.
func (f deadLetterFilter) query(waiting bool, limit int) string {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	for name, value := range map[string]string{"kind": f.Kind, "trigger": f.Trigger, "script": f.Script} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if waiting {
		query.Set("waiting", "true")
	}
	return "?" + query.Encode()
}

func (c *cli) completeDeadLetters(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
	path := api("apps", c.app, "dead-letters") + deadLetterFilter{}.query(true, 100)
	return names(cmd, c, path, start, func(d deadLetter) string {
		return d.ID + "\t" + plain(fmt.Sprintf("%s: %s %s", d.Script, d.event(), d.Reason))
	})
}

// event is what a dead letter was about.
func (d deadLetter) event() string { return strings.TrimSpace(string(d.Kind) + " " + d.Op) }

// settled is what became of a dead letter.
func (d deadLetter) settled() string { return cmp.Or(string(d.Resolution), "waits") }

func (c *cli) deadLettersList() *cobra.Command {
	var filter deadLetterFilter
	var all bool
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the app's dead letters that wait or whose handler failed, newest first",
		Example: `  pic dead-letters ls --script thumbnails
  pic dead-letters ls --kind http --all`,
		Args: args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d is not between 1 and 1000", limit)
			}
			head := []string{"ID", "GIVEN UP", "SCRIPT", "EVENT", "REASON", "ATTEMPTS", "STATE"}
			return presentList(cmd.Context(), c, cl, api("apps", c.app, "dead-letters")+filter.query(!all, limit), head, func(d deadLetter) []string {
				return []string{d.ID, when(d.DiedAt), d.Script, d.event(), string(d.Reason), strconv.Itoa(d.Attempts), d.settled()}
			})
		}),
	}
	filter.register(c, cmd)
	cmd.Flags().BoolVar(&all, "all", false, "with those that are settled")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most the last `N` dead letters")
	return cmd
}

func (c *cli) deadLettersShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show ID",
		Short:             "Show a dead letter: what it carried and how it failed",
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeDeadLetters),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			return present(cmd.Context(), c, cl, "GET", api("apps", c.app, "dead-letters", args[0]), nil, c.printDeadLetter)
		}),
	}
}

func (c *cli) printDeadLetter(w io.Writer, d deadLetter) {
	rows := [][]string{
		{"Id", d.ID},
		{"Event", d.EventID},
		{"Kind", d.event()},
		{"Script", d.Script},
		{"Trigger", cmp.Or(d.TriggerID, "-")},
		{"Happened", when(d.At)},
		{"Given up", when(d.DiedAt)},
		{"Attempts", strconv.Itoa(d.Attempts)},
		{"Depth", strconv.Itoa(d.Depth)},
		{"State", d.settled()},
	}
	if d.ResolvedAt != nil {
		rows = append(rows, []string{"Since", when(*d.ResolvedAt)}, []string{"By", cmp.Or(d.ResolvedBy, "-")})
	}
	if d.Note != "" {
		rows = append(rows, []string{"Note", d.Note})
	}
	rows = append(rows, []string{"Reason", string(d.Reason)})
	c.table(w, rows)
	if d.LastError != nil {
		_, _ = io.WriteString(w, thrown(c.styles(w), d.LastError))
	}
	if len(d.Payload) > 0 {
		fmt.Fprintln(w, "Payload")
		printText(w, indented(d.Payload))
	}
}

func (c *cli) deadLettersReplay() *cobra.Command {
	var filter deadLetterFilter
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "replay ID...|--all",
		Short: "Deliver dead letters again, with all their attempts",
		Long: `replay puts the events back into the queue, for the same script as it is now. With
--all these are all that wait or whose handler failed, or those that the other flags select.`,
		Example: `  pic dead-letters replay 01a20a2c-1083-79a4-a6cb-7e0cd0015ee6
  pic dead-letters replay --all --script thumbnails`,
		ValidArgsFunction: c.completeDeadLetters,
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, ids []string) error {
			switch {
			case all && len(ids) > 0:
				return usagef("--all means more than %s: leave one of them out", ids[0])
			case !all && len(ids) == 0:
				return usagef("an argument is missing: %s", cmd.UseLine())
			case !all && filter != deadLetterFilter{}:
				return usagef("--kind, --trigger and --script select among --all")
			case !all:
				return c.eachDeadLetter(cmd, cl, ids, "replay", nil, "Dead letter %s is delivered again.")
			}
			if !yes {
				fmt.Fprintf(c.err, "This delivers again all dead letters of the app %s that wait or whose handler failed, and that the flags select.\n", plain(c.app))
				if err := c.confirm(cmd.Context(), "slug", c.app); err != nil {
					return err
				}
			}
			type replayed struct {
				Replayed int `json:"replayed"`
			}
			return present(cmd.Context(), c, cl, "POST", api("apps", c.app, "dead-letters:replay"), filter, func(w io.Writer, r replayed) {
				fmt.Fprintf(w, "Dead letters that are delivered again: %d.\n", r.Replayed)
			})
		}),
	}
	filter.register(c, cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all that wait or whose handler failed, and that the other flags select")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before --all")
	return cmd
}

func (c *cli) deadLettersResolve() *cobra.Command {
	var in struct {
		Resolution string `json:"resolution"`
		Note       string `json:"note,omitempty"`
	}
	cmd := &cobra.Command{
		Use:     "resolve ID...",
		Short:   "Settle dead letters without delivering them again",
		Example: "  pic dead-letters resolve 01a20a2c-1083-79a4-a6cb-7e0cd0015ee6 --note 'ordered by phone'",
		Args:    args(1, -1),

		ValidArgsFunction: c.completeDeadLetters,
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, ids []string) error {
			return c.eachDeadLetter(cmd, cl, ids, "resolve", in, "Dead letter %s is resolved.")
		}),
	}
	cmd.Flags().StringVar(&in.Resolution, "as", string(cloud.Ignored), "how: `RESOLUTION` ignored or handled_by_script")
	cmd.Flags().StringVar(&in.Note, "note", "", "`TEXT` that tells others why")
	completeOneOf(cmd, "as", cloud.Ignored, cloud.HandledByScript)
	return cmd
}

// eachDeadLetter does the same to dead letters one after the other, and says so
// of each by done, a format for its id.
func (c *cli) eachDeadLetter(cmd *cobra.Command, cl *client, ids []string, action string, in any, done string) error {
	for _, id := range ids {
		if _, err := cl.call(cmd.Context(), "POST", api("apps", c.app, "dead-letters", id, action), in); err != nil {
			return err
		}
		c.done(done, plain(id))
	}
	return nil
}
