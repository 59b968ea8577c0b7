package main

import (
	"context"
	"encoding/json"
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
		Long:  "What ran of late shows pic logs.",
	}, c.executionsShow())
}

func (c *cli) executionsShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show what became of an execution or an event",
		Long: `show takes the execution_id that an async route answers, the id of an event, as
pic triggers fire prints it, or that of an execution. An event is queued, running,
retrying (the last attempt failed, another will come), succeeded or dead (given up:
see pic dead-letters). Below that are its executions, as pic logs shows them, one
for each attempt.`,
		Example: "  pic executions show 01a20a2c-1083-79a4-a6cb-7e0cd0015ee6",
		Args:    args(1, 1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			return present(cmd.Context(), c, cl, "GET", api("executions", args[0]), nil, c.printState)
		}),
	}
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
)

// awaitAttempt waits until an event's first attempt has ended, for as long as
// that may last with a full gate before it.
func (c *cli) awaitAttempt(ctx context.Context, cl *client, id string) (eventState, json.RawMessage, error) {
	deadline := time.After(cloud.LimitCeilings.Wall + time.Minute)
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		select {
		case <-ctx.Done():
			return eventState{}, nil, ctx.Err()
		case <-deadline:
			return eventState{}, nil, fmt.Errorf("the event %s has not been tried yet: see pic executions show %[1]s", id)
		case <-time.After(wait):
		}
		e, raw, err := fetch[eventState](ctx, cl, "GET", api("executions", id), nil)
		if p, ok := errors.AsType[*problem](err); ok && p.Code == cloud.CodeNotFound {
			continue // it has left the outbox, and is not in the log yet
		}
		if err != nil || e.Status != "queued" && e.Status != "running" {
			return e, raw, err
		}
	}
}
