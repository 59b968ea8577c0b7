package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// settle is how long files must be left alone before they are deployed: editors
// and tools write several in a row.
const settle = 80 * time.Millisecond

func (c *cli) dev() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "dev FILE|DIR",
		Short: "Deploy again on each change, and show the logs",
		Long: `dev deploys like deploy, then waits. Each time a file changes it deploys again, and
what runs meanwhile is shown as pic logs -f does. A source that does not build is
reported, and the version before stays live. Interrupt it to end.`,
		Example: "  pic dev guestbook.ts",
		Args:    args(1, 1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if err := o.parse(); err != nil {
				return err
			}
			session := &devSession{c: c.serialised(), cl: cl, path: args[0], options: o}
			if err := session.run(cmd.Context()); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		}),
	}
	o.register(cmd)
	return cmd
}

// serialised is c with writers that several goroutines may use.
func (c *cli) serialised() *cli {
	mu := new(sync.Mutex)
	out := *c
	out.out, out.err = &serialWriter{mu, c.out}, &serialWriter{mu, c.err}
	return &out
}

type serialWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (s *serialWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// devSession is one run of dev.
type devSession struct {
	c       *cli
	cl      *client
	path    string
	files   *watcher
	options deployOptions

	sent   []byte   // the last deployment that the server took
	urls   []string // where it answers
	failed bool     // what lay there since did not deploy
}

func (d *devSession) run(ctx context.Context) error {
	files, err := watch(d.path)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	d.files = files

	var logs sync.WaitGroup
	defer logs.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	following := false
	deploy := func() error {
		names, err := d.deploy(ctx)
		if _, ok := errors.AsType[*buildError](err); ok {
			d.c.printError(err)
			d.c.note("Waiting for a change.")
			return nil
		}
		if err != nil || following || names == nil {
			return err
		}
		following = true
		q := logQuery{limit: 1, fresh: true}
		if len(names) == 1 {
			q.script = names[0]
		}
		connected := make(chan struct{})
		logs.Go(func() {
			var once sync.Once
			open := func() { once.Do(func() { close(connected) }) }
			defer open()
			if err := d.c.follow(ctx, d.cl, q, open); ctx.Err() == nil {
				d.c.printError(fmt.Errorf("no logs: %w", err))
			}
		})
		<-connected // so that the log of the first request is not missed
		d.c.note("Watching %s.", d.path)
		return nil
	}
	if err := deploy(); err != nil {
		return err
	}
	var settled <-chan time.Time // nil while nothing has changed
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-files.Events:
			if ok && files.matters(e) {
				settled = time.After(settle)
			}
		case err := <-files.Errors: // such as an overflow: something has changed
			d.c.note("Watching: %v", err)
			settled = time.After(settle)
		case <-settled:
			settled = nil
			if err := deploy(); err != nil && ctx.Err() == nil {
				d.c.printError(err)
			}
		}
	}
}

// deploy deploys what lies at path unless that is what the server has, and
// returns the names of the scripts, or nil if there was nothing to do.
func (d *devSession) deploy(ctx context.Context) (names []string, err error) {
	defer func() { d.failed = d.failed || err != nil }()
	s, err := readSources(d.path, d.options.name)
	if err != nil {
		return nil, err
	}
	if err := d.files.follow(s.inputs); err != nil {
		return nil, err
	}
	in, err := d.options.deployment(s)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(body, d.sent) {
		if d.failed {
			d.c.note("This is what is live.")
		}
		d.failed = false
		return nil, nil
	}
	begun := d.c.now()
	out, raw, err := d.c.put(ctx, d.cl, in, s)
	if err != nil {
		return nil, err
	}
	d.sent, d.failed = body, false
	took := d.c.now().Sub(begun).Round(time.Millisecond)
	var urls []string
	for _, script := range out.Scripts {
		names = append(names, script.Script.Name)
		urls = append(urls, script.URLs...)
	}
	if d.c.output == "json" {
		_, err := fmt.Fprintf(d.c.out, "%s\n", compact(raw))
		return names, err
	}
	if !slices.Equal(urls, d.urls) {
		d.urls = urls
		d.c.printDeployed(d.c.out, out)
		return names, nil
	}
	for _, script := range out.Scripts {
		fmt.Fprintf(d.c.out, "Deployed %s version %d in %s.\n", plain(script.Script.Name), script.Script.Version, took)
	}
	return names, nil
}
