package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) logs() *cobra.Command {
	var follow, failed bool
	var since string
	var limit int
	cmd := &cobra.Command{
		Use:   "logs [SCRIPT]",
		Short: "Show what ran, what it printed and how it failed",
		Long: `logs shows the executions of the app, or of one of its scripts, oldest first:
when, which version, the request or the kind of event, the status and how long it
took, which attempt it was if not the first, and how many events led to it; then
what the script printed, then the error it ended with.`,
		Example: `  pic logs -f guestbook
  pic logs --failed --since 1h`,
		Args:              args(0, 1),
		ValidArgsFunction: first(c.completeScripts),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			q := logQuery{failed: failed, limit: limit}
			if len(args) == 1 {
				q.script = args[0]
			}
			if since != "" {
				t, err := c.timeFrom("--since", since, -1)
				if err != nil {
					return err
				}
				q.since = t
			}
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d is not between 1 and 1000", limit)
			}
			if follow {
				err := c.follow(cmd.Context(), cl, q, nil)
				if errors.Is(err, context.Canceled) {
					return nil // how following ends
				}
				return err
			}
			return present(cmd.Context(), c, cl, "GET", c.executionsPath(q), nil, func(w io.Writer, found list[execution]) {
				s := c.styles(w)
				for _, e := range slices.Backward(found.Items) {
					printExecution(w, s, e)
				}
			})
		}),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with what runs from now on, until interrupted")
	flags.BoolVar(&failed, "failed", false, "only what failed")
	flags.StringVar(&since, "since", "", "only what started since `WHEN`: 90s, 1h or 7d ago, or a time such as 2026-01-31T08:00:00Z")
	flags.IntVar(&limit, "limit", 20, "at most the last `N` executions")
	return cmd
}

// logQuery selects executions.
type logQuery struct {
	script string // "" for all
	failed bool
	since  time.Time
	limit  int
	fresh  bool // when following: nothing of the past
}

// executionsPath is the path that lists what q selects.
func (c *cli) executionsPath(q logQuery) string {
	query := url.Values{"limit": {strconv.Itoa(q.limit)}}
	if q.script != "" {
		query.Set("script", q.script)
	}
	if q.failed {
		query.Set("failed", "true")
	}
	if !q.since.IsZero() {
		query.Set("since", q.since.UTC().Format(time.RFC3339Nano))
	}
	return api("apps", c.app, "executions") + "?" + query.Encode()
}

// timeFrom reads a time, or how long ago it was (sign -1) or will be (sign +1).
func (c *cli) timeFrom(flag, s string, sign int) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return c.now().AddDate(0, 0, sign*n), nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return c.now().Add(time.Duration(sign) * d), nil
	}
	return time.Time{}, usagef("%s %q is neither a time such as 2026-01-31T08:00:00Z nor a duration such as 90s, 1h or 7d", flag, s)
}

// Bounds of following.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	silence    = 2 * time.Minute // the server is heard every 25 s
	seenKept   = 2000            // ids remembered to show nothing twice
)

// follow prints the past executions that q selects and then each new one, until
// ctx ends or the server refuses. A lost connection is made again, and what ran
// meanwhile is caught up with. connected, if not nil, is called when the past has
// been printed and nothing later can be missed.
func (c *cli) follow(ctx context.Context, cl *client, q logQuery, connected func()) error {
	t := &tail{c: c, cl: cl, q: q, styles: c.styles(c.out), seen: map[string]bool{}, connected: connected}
	wait := firstRetry
	for {
		err := t.once(ctx)
		var p *problem
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &p) && p.Status < 500, !t.began:
			return err // it was refused, or never worked
		}
		if t.live {
			wait = firstRetry
			c.note("The connection to %s was lost; trying again.", cl.server.url)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// tail is one following of the log over all its connections.
type tail struct {
	c         *cli
	cl        *client
	q         logQuery
	styles    styles
	connected func()
	began     bool   // a connection has been made
	live      bool   // the last attempt was connected
	floor     string // ids before this one belong to the past that was not asked for
	seen      map[string]bool
	order     []string // of seen
}

// once follows over one connection until it ends.
func (t *tail) once(ctx context.Context) error {
	t.live = false
	// A connection can be dead without an end, after a laptop's sleep.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dead := time.AfterFunc(silence, cancel)
	defer dead.Stop()
	path := api("apps", t.c.app, "executions:tail")
	if t.q.script != "" {
		path += "?" + url.Values{"script": {t.q.script}}.Encode()
	}
	// The stream first and the past second: what ends between the two comes twice
	// and is shown once.
	res, err := t.cl.send(ctx, "GET", path, http.Header{"Accept": {"text/event-stream"}}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		_, err := t.cl.read(res)
		return err
	}
	if err := t.past(ctx); err != nil {
		return err
	}
	t.began, t.live = true, true
	if t.connected != nil {
		t.connected()
		t.connected = nil
	}
	alive := func() { dead.Reset(silence) }
	return readEvents(&heard{res.Body, alive}, func(e event) error {
		if e.name != "execution" {
			return nil
		}
		return t.print(e.data)
	})
}

// heard calls got after each read that brought something.
type heard struct {
	io.Reader
	got func()
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.got()
	}
	return n, err
}

// past prints what ran before the first connection, or since the one before.
func (t *tail) past(ctx context.Context) error {
	past, _, err := fetch[list[json.RawMessage]](ctx, t.cl, "GET", t.c.executionsPath(t.q), nil)
	if err != nil {
		return err
	}
	if !t.began && len(past.Items) >= t.q.limit {
		oldest, err := readExecution(past.Items[len(past.Items)-1])
		if err != nil {
			return err
		}
		t.floor = oldest.ID
		t.seen[oldest.ID] = t.q.fresh
	}
	for _, raw := range slices.Backward(past.Items) {
		if err := t.print(raw); err != nil {
			return err
		}
	}
	t.q.limit = 1000 // when connected again: all that was missed
	return nil
}

// print shows an execution unless it was shown before or is not asked for.
func (t *tail) print(raw json.RawMessage) error {
	e, err := readExecution(raw)
	if err != nil {
		return err
	}
	if t.seen[e.ID] || e.ID < t.floor || t.q.failed && !e.failed() {
		return nil
	}
	return t.show(raw, e)
}

func (t *tail) show(raw json.RawMessage, e execution) error {
	t.seen[e.ID] = true
	t.order = append(t.order, e.ID)
	if len(t.order) > seenKept {
		delete(t.seen, t.order[0])
		t.order = t.order[1:]
	}
	// What started before this one may end after it.
	if since := e.StartedAt.Add(-cloud.LimitCeilings.Wall); since.After(t.q.since) {
		t.q.since = since
	}
	if t.c.output == "json" {
		_, err := fmt.Fprintf(t.c.out, "%s\n", compact(raw))
		return err
	}
	printExecution(t.c.out, t.styles, e)
	return nil
}

func readExecution(raw json.RawMessage) (execution, error) {
	var e execution
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, fmt.Errorf("the server sent something this pic does not understand (%w): compare pic version", err)
	}
	return e, nil
}
