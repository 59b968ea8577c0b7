package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) executions() *cobra.Command {
	return group(&cobra.Command{
		Use:   "executions",
		Short: "Show what became of an execution or an event",
		Long:  "pic logs lists what ran.",
	}, c.executionsShow())
}

func (c *cli) executionsShow() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show what became of an execution or an event",
		Long: `show takes the execution_id that an async route answers, the id of an event, as
pic triggers fire prints it, or that of an execution. An event is queued, running,
retrying (the last attempt failed, another will come), succeeded or dead (given up:
see pic dead-letters). Below that are its executions, as pic logs shows them, one
for each attempt.`,
		Example: `  pic executions show 01a20a2c-1083-79a4-a6cb-7e0cd0015ee6
  pic executions show 01a20a2c-1083-79a4-a6cb-7e0cd0015ee6 --wait`,
		Args: args(1, 1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if !wait {
				return present(cmd.Context(), c, cl, "GET", api("executions", args[0]), nil, c.printState)
			}
			_, err := c.awaitAttempt(cmd.Context(), cl, args[0])
			return err
		}),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until an attempt has ended")
	return cmd
}

func (c *cli) printState(w io.Writer, e eventState) {
	rows := [][]string{{"Id", e.ID}, {"App", e.App}, {"Status", e.Status}}
	if e.Attempts > 0 {
		rows = append(rows, []string{"Attempts", strconv.Itoa(e.Attempts)})
	}
	if e.NextAt != nil {
		rows = append(rows, []string{"Next attempt", when(*e.NextAt)})
	}
	if e.DeadLetter != "" {
		rows = append(rows, []string{"Dead letter", e.DeadLetter})
	}
	c.table(w, rows)
	s := c.styles(w)
	for _, run := range e.Executions {
		printExecution(w, s, run)
	}
}

// Bounds of waiting for an event.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 5 * time.Second
	vainLooks = 6 // in a row, for an attempt that is not in the log: it is written a little later
)

// awaitAttempt waits until an attempt for an event has ended, for as long as that
// may last with a full gate before it, and shows what became of the event.
func (c *cli) awaitAttempt(ctx context.Context, cl *client, id string) (status string, err error) {
	deadline := time.After(cloud.LimitCeilings.Wall + time.Minute)
	vain := 0
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		e, raw, err := fetch[eventState](ctx, cl, "GET", api("executions", id), nil)
		p, refused := errors.AsType[*problem](err)
		tried := err == nil && e.Status != "queued" && e.Status != "running"
		switch {
		case vain < vainLooks && (refused && p.Code == cloud.CodeNotFound || tried && len(e.Executions) == 0):
			vain++
		case err != nil:
			return "", err
		case tried:
			c.show(raw, func(w io.Writer) { c.printState(w, e) })
			return e.Status, nil
		default:
			vain = 0
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-deadline:
			return "", fmt.Errorf("the event %s has not been tried yet: see pic executions show %[1]s", id)
		case <-time.After(wait):
		}
	}
}
