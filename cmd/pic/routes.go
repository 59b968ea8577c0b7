package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) routes() *cobra.Command {
	return group(&cobra.Command{
		Use:   "routes",
		Short: "List, add, match and delete routes",
		Long: `A route leads requests to a script. It is written METHOD:PATH, where METHOD: may
be left out for every method, and PATH is exact (/greet), has parameters that
are one segment each (/users/:id), or ends in /* for all that lies below
(/files/*).

A request to a route of the mode async is answered at once with 202 and an
execution_id; the script runs afterwards, again if it fails. pic executions
show tells what became of it.`,
	}, c.routesList(), c.routesAdd(), c.routesRemove(), c.routesMatch())
}

// parseRoute reads METHOD:PATH or PATH. What the server alone can judge stays
// unjudged.
func parseRoute(s string) (newRoute, error) {
	method, path, found := strings.Cut(s, ":")
	if strings.HasPrefix(s, "/") {
		method, path = "", s
	} else if !found {
		return newRoute{}, usagef("the route %q is not METHOD:PATH, such as GET:/greet", s)
	}
	method = strings.ToUpper(method)
	if method != "" {
		if err := cloud.CheckMethod(method); err != nil {
			return newRoute{}, usagef("the route %q: %s", s, publicMessage(err))
		}
	}
	if _, err := cloud.ParsePathPattern(path); err != nil {
		return newRoute{}, usagef("the route %q: the path %s", s, publicMessage(err))
	}
	return newRoute{Method: method, Path: path}, nil
}

func (c *cli) routesList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the app's routes",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			return presentList(cmd.Context(), c, cl, api("apps", c.app, "routes"), []string{"METHOD", "HOST", "PATH", "SCRIPT", "MODE", "ID"}, func(r route) []string {
				return []string{r.Method, cmp.Or(r.Host, "any"), r.Path, r.Script, r.Mode, r.ID}
			})
		}),
	}
}

func (c *cli) routesAdd() *cobra.Command {
	var script, host, mode string
	cmd := &cobra.Command{
		Use:   "add --script NAME METHOD:PATH...",
		Short: "Lead requests to a script",
		Example: `  pic routes add --script users GET:/users/:id POST:/users
  pic routes add --script orders --mode async POST:/orders`,
		Args: args(1, -1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if script == "" {
				return usagef("--script is missing: say which script the route leads to")
			}
			wanted := make([]newRoute, len(args))
			for i, arg := range args {
				r, err := parseRoute(arg)
				if err != nil {
					return err
				}
				r.Script, r.Host, r.Mode = script, host, mode
				wanted[i] = r
			}
			for _, in := range wanted {
				err := present(cmd.Context(), c, cl, "POST", api("apps", c.app, "routes"), in, func(w io.Writer, r route) {
					how := "leads"
					if r.async() {
						how = "leads asynchronously"
					}
					fmt.Fprintf(w, "%s %s %s to %s: %s\n", r.Method, plain(r.Path), how, plain(r.Script), plain(r.URL))
				})
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&script, "script", "", "`NAME` of the script that answers")
	cmd.Flags().StringVar(&host, "host", "", "only on this `HOST`, or *.HOST; default any host of the app")
	cmd.Flags().StringVar(&mode, "mode", "", modeUsage)
	complete(cmd, "script", c.completeScripts)
	completeOneOf(cmd, "mode", cloud.Sync, cloud.Async)
	return cmd
}

const modeUsage = "`MODE` of the routes: sync or async (default sync)"

func (c *cli) routesRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "rm ID|METHOD:PATH...",
		Short:   "Delete routes",
		Example: "  pic routes rm GET:/users/:id",
		Args:    args(1, -1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			routes, _, err := fetch[list[route]](cmd.Context(), cl, "GET", api("apps", c.app, "routes"), nil)
			if err != nil {
				return err
			}
			doomed := make([]route, len(args))
			for i, arg := range args {
				if doomed[i], err = c.findRoute(routes.Items, arg); err != nil {
					return err
				}
			}
			for _, r := range doomed {
				if _, err := cl.call(cmd.Context(), "DELETE", api("apps", c.app, "routes", r.ID), nil); err != nil {
					return err
				}
				c.done("Deleted route %s %s.", plain(r.Method), plain(r.Path))
			}
			return nil
		}),
	}
}

// findRoute is the only route with ref as its id or its METHOD:PATH.
func (c *cli) findRoute(routes []route, ref string) (route, error) {
	var found []route
	if cloud.IsID(ref) {
		found = slices.DeleteFunc(slices.Clone(routes), func(r route) bool { return !strings.EqualFold(r.ID, ref) })
	} else {
		want, err := parseRoute(ref)
		if err != nil {
			return route{}, err
		}
		if want.Method == "" {
			want.Method = cloud.AnyMethod
		}
		found = slices.DeleteFunc(slices.Clone(routes), func(r route) bool { return r.Method != want.Method || r.Path != want.Path })
	}
	switch len(found) {
	case 0:
		return route{}, fmt.Errorf("the app %s has no route %s: see pic routes ls", c.app, ref)
	case 1:
		return found[0], nil
	}
	return route{}, fmt.Errorf("%d routes on different hosts are %s: give the id from pic routes ls", len(found), ref)
}

func (c *cli) routesMatch() *cobra.Command {
	return &cobra.Command{
		Use:     "match METHOD URL",
		Short:   "Say which route and script a request would reach",
		Example: "  pic routes match GET /users/42",
		Args:    args(2, 2),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			query := url.Values{"method": {strings.ToUpper(args[0])}, "url": {args[1]}}
			return present(cmd.Context(), c, cl, "GET", api("apps", c.app, "routes:match")+"?"+query.Encode(), nil, func(w io.Writer, match routeMatch) {
				rows := [][]string{{"Script", match.Script}, {"Route", match.Route.Method + " " + match.Route.Path}}
				if match.Route.Host != "" {
					rows = append(rows, []string{"Host", match.Route.Host})
				}
				if match.Route.async() {
					rows = append(rows, []string{"Mode", match.Route.Mode})
				}
				for _, name := range sortedKeys(match.Params) {
					rows = append(rows, []string{":" + name, match.Params[name]})
				}
				c.table(w, rows)
			})
		}),
	}
}
