package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

// withClient makes a command's RunE of f, which gets a client of the server that
// is meant. The client is closed when f returns.
func (c *cli) withClient(f func(cmd *cobra.Command, cl *client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		defer cl.close()
		return f(cmd, cl, args)
	}
}

// present calls the API and prints its answer: as it is for programs, by table
// for people.
func present[T any](ctx context.Context, c *cli, cl *client, method, path string, in any, table func(w io.Writer, got T)) error {
	got, raw, err := fetch[T](ctx, cl, method, path, in)
	if err != nil {
		return err
	}
	c.show(raw, func(w io.Writer) { table(w, got) })
	return nil
}

// presentList prints what the API lists at path, for people as a table.
func presentList[T any](ctx context.Context, c *cli, cl *client, path string, head []string, row func(T) []string) error {
	return present(ctx, c, cl, "GET", path, nil, func(w io.Writer, found list[T]) {
		rows := [][]string{head}
		for _, item := range found.Items {
			rows = append(rows, row(item))
		}
		c.table(w, rows)
	})
}

// removeAll deletes the named resources of a collection one after the other, and
// says so of each by done, a format for its name.
func (c *cli) removeAll(ctx context.Context, cl *client, names []string, done string, collection ...string) error {
	for _, name := range names {
		if _, err := cl.call(ctx, "DELETE", api(append(collection, name)...), nil); err != nil {
			return err
		}
		c.done(done, plain(name))
	}
	return nil
}
