package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) triggers() *cobra.Command {
	return group(&cobra.Command{
		Use:   "triggers",
		Short: "Run scripts on changes, schedules and failures",
		Long: `A trigger runs a script of the app for each event of a kind: kv (an entry of the
key-value data was set or deleted), cron (a moment of a schedule has come) or
dead_letter (an event was given up). The script's default export gets the event as
scheduled(event, env, ctx) if it is of the kind cron, else as
trigger(event, env, ctx).

It runs in your name, with no more than the scopes of your key. What fails is tried
again, and is a dead letter after the last attempt: see pic dead-letters.`,
	}, c.triggersList(), c.triggersShow(), c.triggersAdd(), c.triggersRemove(),
		c.triggersFire(), c.triggersEnable("enable", true), c.triggersEnable("disable", false))
}

func (c *cli) completeTriggers(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
	return names(cmd, c, api("apps", c.app, "triggers"), start, func(t trigger) string {
		return t.ID + "\t" + plain(fmt.Sprintf("%s: %s %s", t.Script, t.Kind, t.filter()))
	})
}

// filter is what a trigger reacts to, in words.
func (t trigger) filter() string {
	var parts []string
	if len(t.Ops) > 0 {
		parts = append(parts, strings.Join(t.Ops, " or "))
	}
	if t.Collection != "" {
		parts = append(parts, "collection "+t.Collection)
	}
	if t.Key != "" {
		parts = append(parts, "key "+t.Key)
	}
	if t.Schedule != "" {
		parts = append(parts, t.Schedule+" "+cmp.Or(t.TimeZone, "UTC"))
	}
	return cmp.Or(strings.Join(parts, ", "), "all")
}

// printTrigger says in one line whether a trigger runs its script.
func printTrigger(w io.Writer, t trigger) {
	what := plain(fmt.Sprintf("%s events (%s)", t.Kind, t.filter()))
	switch {
	case !t.Enabled:
		fmt.Fprintf(w, "Trigger %s is off: %s gets no %s.\n", plain(t.ID), plain(t.Script), what)
	case t.NextAt != nil:
		fmt.Fprintf(w, "Trigger %s is on: %s gets %s, next at %s.\n", plain(t.ID), plain(t.Script), what, when(*t.NextAt))
	default:
		fmt.Fprintf(w, "Trigger %s is on: %s gets %s.\n", plain(t.ID), plain(t.Script), what)
	}
}

func (c *cli) triggersList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the app's triggers",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			head := []string{"ID", "SCRIPT", "KIND", "FILTER", "STATE", "NEXT RUN"}
			return presentList(cmd.Context(), c, cl, api("apps", c.app, "triggers"), head, func(t trigger) []string {
				return []string{t.ID, t.Script, string(t.Kind), t.filter(), onOff(t.Enabled), whenever(t.NextAt)}
			})
		}),
	}
}

func (c *cli) triggersShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show ID",
		Short:             "Show a trigger with its retry policy",
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeTriggers),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			return present(cmd.Context(), c, cl, "GET", api("apps", c.app, "triggers", args[0]), nil, func(w io.Writer, t trigger) {
				c.table(w, [][]string{
					{"Id", t.ID},
					{"Script", t.Script},
					{"Kind", string(t.Kind)},
					{"Filter", t.filter()},
					{"State", onOff(t.Enabled)},
					{"Next run", whenever(t.NextAt)},
					{"Retries", t.Retry.String()},
					{"Runs as", cmp.Or(t.User, "nobody: its user is gone, so it does not run")},
					{"Created", when(t.CreatedAt)},
					{"Updated", when(t.UpdatedAt)},
				})
			})
		}),
	}
}

func (p retryPolicy) String() string {
	pause := func(ms int64) string { return duration(float64(ms)) }
	switch {
	case p.Attempts == 1:
		return "none: one attempt"
	case p.Backoff == cloud.Constant:
		return fmt.Sprintf("%d attempts in all, %s apart", p.Attempts, pause(p.BaseMS))
	}
	return fmt.Sprintf("%d attempts in all, after pauses that begin with %s and grow (%s) up to %s",
		p.Attempts, pause(p.BaseMS), p.Backoff, pause(p.CapMS))
}

func (c *cli) triggersAdd() *cobra.Command {
	var in newTrigger
	var backoff string
	var base, limit time.Duration
	var disabled bool
	cmd := &cobra.Command{
		Use:   "add --script NAME --kind KIND",
		Short: "Run a script for each event of a kind",
		Long: `add makes a trigger. Events of the kind kv can be narrowed by --collection, --key
and --op, where * stands for any text and ? for one character. The kind cron takes
a --schedule of 5 fields (minute, hour, day, month, weekday), of 6 with seconds
first, or a word such as @hourly or @every 90s.

A failed attempt is repeated after pauses that vary by a fifth: --base, and then
double that, four times and so on (exponential), two times, three times and so on
(linear), or always the same (constant).`,
		Example: `  pic triggers add --script thumbnails --kind kv --collection 'photos*' --op set
  pic triggers add --script report --kind cron --schedule '0 7 * * 1-5' --tz Europe/Berlin
  pic triggers add --script alarm --kind dead_letter`,
		Args: args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			switch {
			case in.Script == "":
				return usagef("--script is missing: say which script runs")
			case in.Kind == "":
				return usagef("--kind is missing: say for which events, such as kv or cron")
			case cmd.Flags().Changed("attempts") && in.Retry.Attempts < 1:
				return usagef("--attempts %d is less than one attempt", in.Retry.Attempts)
			}
			for name, pause := range map[string]time.Duration{"base": base, "cap": limit} {
				if cmd.Flags().Changed(name) && pause < time.Millisecond {
					return usagef("--%s %s is not a pause, such as 500ms or 1h", name, pause)
				}
			}
			in.Enabled = !disabled
			in.Retry.Backoff, in.Retry.BaseMS, in.Retry.CapMS = cloud.Backoff(backoff), base.Milliseconds(), limit.Milliseconds()
			return present(cmd.Context(), c, cl, "POST", api("apps", c.app, "triggers"), in, printTrigger)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Script, "script", "", "`NAME` of the script that runs")
	flags.StringVar(&in.Kind, "kind", "", "`KIND` of the events: kv, cron or dead_letter")
	flags.StringVar(&in.Collection, "collection", "", "only in collections that match `GLOB`")
	flags.StringVar(&in.Key, "key", "", "only keys that match `GLOB`")
	flags.StringSliceVar(&in.Ops, "op", nil, "only this `OPERATION`: set or delete; may be repeated, or several with commas")
	flags.StringVar(&in.Schedule, "schedule", "", "`EXPRESSION` that tells when a cron trigger runs")
	flags.StringVar(&in.TimeZone, "tz", "", "time `ZONE` of the schedule, such as Europe/Berlin (default UTC)")
	flags.IntVar(&in.Retry.Attempts, "attempts", 0, fmt.Sprintf("at most `N` attempts in all (default %d)", cloud.DefaultRetry.Attempts))
	flags.StringVar(&backoff, "backoff", "", fmt.Sprintf("`GROWTH` of the pauses: exponential, linear or constant (default %s)", cloud.DefaultRetry.Backoff))
	flags.DurationVar(&base, "base", 0, fmt.Sprintf("`TIME` of the first pause (default %s)", cloud.DefaultRetry.Base))
	flags.DurationVar(&limit, "cap", 0, fmt.Sprintf("longest `TIME` of a pause (default %s)", duration(float64(cloud.DefaultRetry.Cap.Milliseconds()))))
	flags.BoolVar(&disabled, "disabled", false, "do not run yet: pic triggers enable does")
	complete(cmd, "script", c.completeScripts)
	completeOneOf(cmd, "kind", cloud.EventKV, cloud.EventCron, cloud.EventDeadLetter)
	completeOneOf(cmd, "op", "set", "delete")
	completeOneOf(cmd, "backoff", cloud.Exponential, cloud.Linear, cloud.Constant)
	return cmd
}

func (c *cli) triggersRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "rm ID...",
		Short:             "Delete triggers",
		Long:              "rm deletes triggers. What they have in the queue is still delivered.",
		Args:              args(1, -1),
		ValidArgsFunction: c.completeTriggers,
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, ids []string) error {
			return c.removeAll(cmd.Context(), cl, ids, "Deleted trigger %s.", "apps", c.app, "triggers")
		}),
	}
}

func (c *cli) triggersEnable(name string, enabled bool) *cobra.Command {
	short := "Let triggers run again"
	if !enabled {
		short = "Let triggers rest, without deleting them"
	}
	return &cobra.Command{
		Use:               name + " ID...",
		Short:             short,
		Args:              args(1, -1),
		ValidArgsFunction: c.completeTriggers,
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, ids []string) error {
			in := struct {
				Enabled bool `json:"enabled"`
			}{enabled}
			for _, id := range ids {
				if err := present(cmd.Context(), c, cl, "PATCH", api("apps", c.app, "triggers", id), in, printTrigger); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (c *cli) triggersFire() *cobra.Command {
	var payload string
	var wait bool
	cmd := &cobra.Command{
		Use:   "fire ID",
		Short: "Send a trigger a test event",
		Long: `fire puts an event with the operation test into the queue, for this trigger alone,
and prints the id of the event: pic executions show tells what became of it. It
carries a sample of the trigger's kind, or the JSON object of --payload.

With --wait fire stays until the first attempt has ended, shows it, and fails if
that did.`,
		Example: `  pic triggers fire 01a20a2c-1083-79a4-a6cb-7e0cd0015ee6 --wait
  echo '{"collection":"photos","key":"1","value":{}}' | pic triggers fire 01a20a2c-1083-79a4-a6cb-7e0cd0015ee6 --payload -`,
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeTriggers),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			var in struct {
				Payload json.RawMessage `json:"payload,omitempty"`
			}
			if payload != "" {
				b, err := c.readInput(payload, "the payload")
				if err != nil {
					return err
				}
				if !json.Valid(b) {
					return usagef("the payload is not JSON")
				}
				in.Payload = b
			}
			type fired struct {
				EventID string `json:"event_id"`
			}
			event, raw, err := fetch[fired](cmd.Context(), cl, "POST", api("apps", c.app, "triggers", args[0], "fire"), in)
			if err != nil {
				return err
			}
			if !wait {
				c.show(raw, func(w io.Writer) { fmt.Fprintln(w, plain(event.EventID)) })
				return nil
			}
			c.note("Waiting for the event %s.", plain(event.EventID))
			status, err := c.awaitAttempt(cmd.Context(), cl, event.EventID)
			if err == nil && status != "succeeded" {
				err = fmt.Errorf("the event %s is %s", event.EventID, status)
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&payload, "payload", "", "`FILE` with the event's own fields as JSON; - for standard input")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the first attempt and show it")
	return cmd
}
