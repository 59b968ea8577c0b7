package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) invoke() *cobra.Command {
	var method, path, data string
	var headers []string
	var include bool
	cmd := &cobra.Command{
		Use:   "invoke SCRIPT",
		Short: "Call a script and print its answer",
		Long: `invoke calls an endpoint script by its id, so that it needs no route, in the name
of your key. The body of the answer goes to standard output; a status of 400 and
more makes the exit code 1.`,
		Example: `  pic invoke hello
  pic invoke users --path /users/42?full=1
  pic invoke guestbook --data '{"name":"Ada"}'
  pic invoke upload --method PUT --header 'Content-Type: image/png' --data @photo.png`,
		Args:              args(1, 1),
		ValidArgsFunction: first(c.completeScripts),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			header := http.Header{}
			for _, h := range headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok {
					return usagef("the header %q is not 'Name: value'", h)
				}
				header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
			}
			if path != "" && !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "?") {
				path = "/" + path
			}
			if _, err := url.ParseRequestURI("/" + strings.TrimPrefix(path, "/")); err != nil {
				return usagef("--path %q is no path of a URL", path)
			}
			var body io.Reader
			if cmd.Flags().Changed("data") {
				b, err := c.readData(data)
				if err != nil {
					return err
				}
				body = bytes.NewReader(b)
				if header.Get("Content-Type") == "" {
					header.Set("Content-Type", contentType(b))
				}
				if method == "" {
					method = "POST"
				}
			}
			if method == "" {
				method = "GET"
			}
			s, _, err := fetch[script](cmd.Context(), cl, "GET", api("apps", c.app, "scripts", args[0]), nil)
			if err != nil {
				return err
			}
			res, err := cl.send(cmd.Context(), strings.ToUpper(method), api("execute", s.ID)+path, header, body)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			return c.showAnswer(cl, s.Name, res, include)
		}),
	}
	flags := cmd.Flags()
	flags.StringVarP(&method, "method", "X", "", "request `METHOD` (default GET, with --data POST)")
	flags.StringVar(&path, "path", "", "`PATH` and query as the script sees them")
	flags.StringArrayVarP(&headers, "header", "H", nil, "`'Name: value'` of the request; may be repeated")
	flags.StringVarP(&data, "data", "d", "", "request `BODY`; @FILE reads a file, - standard input")
	flags.BoolVarP(&include, "include", "i", false, "print the status and headers too")
	return cmd
}

// readData is the body that --data names.
func (c *cli) readData(data string) ([]byte, error) {
	file, named := strings.CutPrefix(data, "@")
	if named || data == "-" {
		return c.readInput(file, "the body")
	}
	return []byte(data), nil
}

func contentType(body []byte) string {
	if json.Valid(body) {
		return "application/json"
	}
	return http.DetectContentType(body)
}

// showAnswer prints what a script answered and fails if that was a failure.
func (c *cli) showAnswer(cl *client, name string, res *http.Response, include bool) error {
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "application/problem+json" {
		_, err := cl.read(res)
		return err
	}
	if c.output == "json" {
		b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err != nil {
			return &unreachable{server: cl.server.url, cause: err}
		}
		raw, err := json.Marshal(struct {
			Status  int         `json:"status"`
			Headers http.Header `json:"headers"`
			Body    string      `json:"body"`
		}{res.StatusCode, res.Header, string(b)})
		if err != nil {
			return err
		}
		c.writeJSON(c.out, raw)
	} else {
		if include {
			fmt.Fprintf(c.out, "%s %s\n", res.Proto, res.Status)
			for _, key := range sortedKeys(res.Header) {
				for _, value := range res.Header[key] {
					fmt.Fprintf(c.out, "%s: %s\n", key, plain(value))
				}
			}
			fmt.Fprintln(c.out)
		}
		end := &lastByte{w: c.out}
		if _, err := io.Copy(end, res.Body); err != nil {
			return fmt.Errorf("the answer of %s broke off: %w", name, err)
		}
		if c.styles(c.out).on && end.last != '\n' && end.last != 0 {
			fmt.Fprintln(c.out)
		}
	}
	if res.StatusCode >= 400 {
		return fmt.Errorf("%s answered %s", name, res.Status)
	}
	return nil
}

// lastByte remembers the last byte written through it.
type lastByte struct {
	w    io.Writer
	last byte
}

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	return l.w.Write(p)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
