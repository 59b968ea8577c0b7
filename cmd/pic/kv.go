package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) kv() *cobra.Command {
	return group(&cobra.Command{
		Use:   "kv",
		Short: "Read and write the app's key-value data",
	}, c.kvList(), c.kvGet(), c.kvSet(), c.kvRemove())
}

func (c *cli) kvList() *cobra.Command {
	var prefix string
	var limit int
	var values bool
	cmd := &cobra.Command{
		Use:   "ls [COLLECTION]",
		Short: "List the collections, or the keys of one",
		Args:  args(0, 1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if limit < 0 {
				return usagef("--limit %d is negative; 0 lists everything", limit)
			}
			if len(args) == 0 {
				return c.kvCollections(cmd, cl, limit)
			}
			return c.kvKeys(cmd, cl, args[0], url.Values{"prefix": {prefix}, "values": {strconv.FormatBool(values)}}, limit)
		}),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that start with `TEXT`")
	cmd.Flags().IntVar(&limit, "limit", cloud.DefaultKVLimit, "list at most `N`; 0 lists everything")
	cmd.Flags().BoolVar(&values, "values", false, "with the values")
	return cmd
}

// page is how many of limit (0: no bound) to ask for next, having some.
func page(limit, have int) int {
	if limit == 0 {
		return cloud.MaxKVLimit
	}
	return min(limit-have, cloud.MaxKVLimit)
}

func (c *cli) kvCollections(cmd *cobra.Command, cl *client, limit int) error {
	type collections struct {
		Collections []string `json:"collections"`
	}
	all := collections{Collections: []string{}}
	after := ""
	more := true
	for more && (limit == 0 || len(all.Collections) < limit) {
		ask := page(limit, len(all.Collections))
		query := url.Values{"after": {after}, "limit": {strconv.Itoa(ask)}}
		got, _, err := fetch[collections](cmd.Context(), cl, "GET", api("apps", c.app, "kv")+"?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		all.Collections = append(all.Collections, got.Collections...)
		if more = len(got.Collections) >= ask; more {
			after = got.Collections[len(got.Collections)-1]
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	c.show(raw, func(w io.Writer) {
		for _, name := range all.Collections {
			fmt.Fprintln(w, plain(name))
		}
	})
	return nil
}

func (c *cli) kvKeys(cmd *cobra.Command, cl *client, collection string, query url.Values, limit int) error {
	type keys struct {
		Entries []entry `json:"entries"`
		Cursor  string  `json:"cursor,omitempty"`
	}
	all := keys{Entries: []entry{}}
	for first := true; first || all.Cursor != "" && (limit == 0 || len(all.Entries) < limit); first = false {
		query.Set("limit", strconv.Itoa(page(limit, len(all.Entries))))
		if all.Cursor != "" {
			query.Set("cursor", all.Cursor)
		}
		got, _, err := fetch[keys](cmd.Context(), cl, "GET", api("apps", c.app, "kv", collection)+"?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		all.Entries, all.Cursor = append(all.Entries, got.Entries...), got.Cursor
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	c.show(raw, func(w io.Writer) {
		values := query.Get("values") == "true"
		rows := [][]string{{"KEY", "VERSION", "EXPIRES", "UPDATED"}}
		if values {
			rows[0] = append(rows[0], "VALUE")
		}
		for _, e := range all.Entries {
			row := []string{e.Key, strconv.FormatInt(e.Version, 10), whenever(e.ExpiresAt), when(e.UpdatedAt)}
			if values {
				row = append(row, string(e.Value))
			}
			rows = append(rows, row)
		}
		c.table(w, rows)
	})
	if all.Cursor != "" {
		c.note("There are more keys: raise --limit, or narrow by --prefix.")
	}
	return nil
}

func (c *cli) kvGet() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "get COLLECTION KEY",
		Short: "Print the value of a key",
		Args:  args(2, 2),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			e, answer, err := fetch[entry](cmd.Context(), cl, "GET", api("apps", c.app, "kv", args[0], args[1]), nil)
			if err != nil {
				return err
			}
			var text string
			if raw && json.Unmarshal(e.Value, &text) != nil {
				return fmt.Errorf("the value of %s is no string: leave --raw out", args[1])
			}
			c.show(answer, func(w io.Writer) {
				if raw {
					_, _ = io.WriteString(w, text)
					return
				}
				printText(w, indented(e.Value))
			})
			return nil
		}),
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "print a string without quotes and escapes")
	return cmd
}

func (c *cli) kvSet() *cobra.Command {
	var text bool
	var ttl time.Duration
	var ifVersion int64
	cmd := &cobra.Command{
		Use:   "set COLLECTION KEY VALUE",
		Short: "Store a value under a key",
		Long:  "set stores VALUE, which is JSON, or with --string any text. - reads it from standard input.",
		Example: `  pic kv set config theme '{"dark":true}'
  pic kv set config motd --string 'Good morning' --ttl 12h
  pic kv set config terms --string - < terms.txt`,
		Args: args(3, 3),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			in := struct {
				Value      json.RawMessage `json:"value"`
				TTLSeconds float64         `json:"ttl_seconds,omitempty"`
				IfVersion  *int64          `json:"if_version,omitempty"`
			}{}
			if cmd.Flags().Changed("ttl") {
				if ttl <= 0 {
					return usagef("--ttl %s is not a time to live, such as 30m", ttl)
				}
				in.TTLSeconds = ttl.Seconds()
			}
			if cmd.Flags().Changed("if-version") {
				in.IfVersion = &ifVersion
			}
			value := []byte(args[2])
			if args[2] == "-" {
				b, err := c.readInput("-", "the value")
				if err != nil {
					return err
				}
				value = b
			}
			if text {
				quoted, err := json.Marshal(string(value))
				if err != nil {
					return err
				}
				value = quoted
			} else if !json.Valid(value) {
				return usagef("the value is not JSON; pass --string to store it as text")
			}
			in.Value = value
			return present(cmd.Context(), c, cl, "PUT", api("apps", c.app, "kv", args[0], args[1]), in, func(w io.Writer, e entry) {
				fmt.Fprintf(w, "Stored %s, version %d.\n", plain(e.Key), e.Version)
			})
		}),
	}
	cmd.Flags().BoolVar(&text, "string", false, "VALUE is text, not JSON")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "let the key expire after `TIME`, such as 30m")
	cmd.Flags().Int64Var(&ifVersion, "if-version", 0, "only if the key has version `N`; 0: only if it is absent")
	return cmd
}

func (c *cli) kvRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "rm COLLECTION KEY...",
		Short: "Delete keys",
		Args:  args(2, -1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			for _, key := range args[1:] {
				_, err := cl.call(cmd.Context(), "DELETE", api("apps", c.app, "kv", args[0], key), nil)
				var p *problem
				if errors.As(err, &p) && p.Status == http.StatusNotFound {
					p.Detail = fmt.Sprintf("%s has no key %s", args[0], key)
				}
				if err != nil {
					return err
				}
				c.done("Deleted %s.", plain(key))
			}
			return nil
		}),
	}
}
