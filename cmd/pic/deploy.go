package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) deploy() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "deploy FILE|DIR",
		Short: "Put scripts live",
		Long: `deploy saves scripts in the app and prints where they answer. All of them go live
in one step, or none does.

A file is one script, named after it, or after its folder if it is an index. A
folder with a package.json is one script,
named after the folder: the file that package.json's main names, or index.ts or
index.js there or in src, with all it imports. Another folder is one script for
each script file directly in it, without *.d.ts, *.test.*, *.spec.* and *.config.*.
What is imported from npm is bundled in from node_modules.

A script with a default export is an endpoint, any other a module for the
endpoints of the app. A new endpoint answers at /NAME and below, unless --route
says where.`,
		Example: `  pic deploy guestbook.ts
  pic deploy --app shop --route GET:/ --route POST:/orders shop.ts
  pic deploy ./my-hono-app`,
		Args: args(1, 1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if err := o.parse(); err != nil {
				return err
			}
			s, err := readSources(args[0], o.name)
			if err != nil {
				return err
			}
			in, err := o.deployment(s)
			if err != nil {
				return err
			}
			out, raw, err := c.put(cmd.Context(), cl, in, s)
			if err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) { c.printDeployed(w, out) })
			return nil
		}),
	}
	o.register(cmd)
	return cmd
}

// deployOptions are the flags that deploy and dev share.
type deployOptions struct {
	name   string
	paths  []string
	mode   string
	routes []newRoute
}

func (o *deployOptions) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.name, "name", "", "`NAME` of the script, if there is just one")
	cmd.Flags().StringArrayVar(&o.paths, "route", nil, "`METHOD:PATH` that leads to the script; may be repeated")
	cmd.Flags().StringVar(&o.mode, "mode", "", modeUsage)
	completeOneOf(cmd, "mode", cloud.Sync, cloud.Async)
}

func (o *deployOptions) parse() error {
	if o.name != "" {
		if err := cloud.CheckScriptName(o.name); err != nil {
			return usagef("--name %s", publicMessage(err))
		}
	}
	if o.mode != "" && len(o.paths) == 0 {
		return usagef("--mode is for the routes that --route gives: there is none")
	}
	o.routes = nil
	for _, p := range o.paths {
		r, err := parseRoute(p)
		if err != nil {
			return err
		}
		r.Mode = o.mode
		o.routes = append(o.routes, r)
	}
	return nil
}

// deployment is what to send for the sources.
func (o *deployOptions) deployment(s sources) (deployment, error) {
	if len(o.routes) > 0 {
		if len(s.scripts) > 1 {
			return deployment{}, usagef("--route is for one script, and there are %d", len(s.scripts))
		}
		s.scripts[0].Routes = o.routes
	}
	return deployment{Scripts: s.scripts}, nil
}

// put deploys, and leads build errors back to the user's files.
func (c *cli) put(ctx context.Context, cl *client, in deployment, s sources) (deployed, json.RawMessage, error) {
	out, raw, err := fetch[deployed](ctx, cl, "POST", api("apps", c.app, "deploy"), in)
	if p, ok := errors.AsType[*problem](err); ok {
		p.Field = aboutScript(p.Field, in)
		if p.Code == cloud.CodeReserved {
			p.hint = "Give another path with --route, another --name, or an app of its own with --app."
		}
	}
	return out, raw, explainBuild(err, s.files)
}

// aboutScript is the script that a field such as scripts[0].routes[1].path is
// about, or the field itself.
func aboutScript(field string, in deployment) string {
	index, ok := strings.CutPrefix(field, "scripts[")
	if !ok {
		return field
	}
	index, _, _ = strings.Cut(index, "]")
	if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(in.Scripts) {
		return in.Scripts[i].Name
	}
	return field
}

// explainBuild turns a build failure that the server reports into a buildError,
// with the files that the user knows.
func explainBuild(err error, files map[string]string) error {
	var p *problem
	if !errors.As(err, &p) {
		return err
	}
	found := p.diagnostics()
	if len(found) == 0 {
		return err
	}
	for i, d := range found {
		if file, ok := files[d.File]; ok {
			found[i].File = file
		}
	}
	return &buildError{diagnostics: found, cause: err}
}

func (c *cli) printDeployed(w io.Writer, d deployed) {
	s := c.styles(w)
	for _, script := range d.Scripts {
		kind := ""
		if script.Script.Kind == cloud.Module {
			kind = " (module)"
		}
		fmt.Fprintf(w, "%s version %d%s\n", s.bold(plain(script.Script.Name)), script.Script.Version, kind)
		for _, u := range script.URLs {
			fmt.Fprintf(w, "  %s\n", s.green(plain(u)))
		}
	}
}

// publicMessage is what an error of the cloud package says, without its code.
func publicMessage(err error) string {
	if e, ok := errors.AsType[*cloud.Error](err); ok {
		return e.Message
	}
	return err.Error()
}
