package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) keys() *cobra.Command {
	return group(&cobra.Command{
		Use:   "keys",
		Short: "Create, list and revoke API keys",
		Long: `An API key lets a program do in your name what its scopes allow, and no more than
you may yourself: script:read, script:write, route:write, domain:manage, log:read,
app:admin and instance:admin.`,
	}, c.keysCreate(), c.keysList(), c.keysRemove())
}

func (c *cli) keysCreate() *cobra.Command {
	var scopes []string
	var expires string
	cmd := &cobra.Command{
		Use:   "create NAME --scope SCOPE...",
		Short: "Create an API key and print it, once",
		Long: `create prints the key alone on standard output, so that it can be piped. The server
keeps only its hash: nobody can show it again.

A key for a deployment takes script:write and route:write. With --app it works for
that app alone; PICLOUD_APP does not bind it.`,
		Example: `  pic keys create ci --scope script:write,route:write --app shop --expires 90d
  pic keys create ci --scope script:write,route:write | gh secret set PICLOUD_TOKEN`,
		Args: args(1, 1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, args []string) error {
			if len(scopes) == 0 {
				return usagef("--scope is missing: say what the key may do, out of %s", strings.Join(scopeNames(), ", "))
			}
			in := struct {
				Name      string     `json:"name"`
				Scopes    []string   `json:"scopes"`
				App       string     `json:"app,omitempty"`
				ExpiresAt *time.Time `json:"expires_at,omitempty"`
			}{Name: args[0], Scopes: scopes}
			if cmd.Flags().Changed("app") {
				in.App = c.app
			}
			if expires != "" {
				t, err := c.timeFrom("--expires", expires, +1)
				if err != nil {
					return err
				}
				in.ExpiresAt = &t
			}
			type created struct {
				Key   apiKey `json:"key"`
				Token string `json:"token"`
			}
			return present(cmd.Context(), c, cl, "POST", api("me", "keys"), in, func(w io.Writer, made created) {
				c.note("Key %s for %s, %s. Keep it: it is not shown again.", plain(made.Key.Name), appsOf(made.Key), until(made.Key.ExpiresAt))
				fmt.Fprintln(w, plain(made.Token))
			})
		}),
	}
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "a `SCOPE` of the key; may be repeated, or several with commas")
	cmd.Flags().StringVar(&expires, "expires", "", "`WHEN` it ends: in 12h or 90d, or at a time such as 2026-12-31T00:00:00Z (default: never)")
	completeOneOf(cmd, "scope", scopeNames()...)
	return cmd
}

func scopeNames() []string {
	out := make([]string, len(cloud.Scopes))
	for i, s := range cloud.Scopes {
		out[i] = string(s)
	}
	return out
}

func appsOf(k apiKey) string {
	if k.AppID == "" {
		return "all apps"
	}
	return "the app " + plain(cmp.Or(k.App, k.AppID))
}

func until(t *time.Time) string {
	if t == nil {
		return "which never expires"
	}
	return "until " + when(*t)
}

func (c *cli) keysList() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the API keys, newest first",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			head := []string{"NAME", "SCOPES", "APP", "EXPIRES", "LAST USED", "CREATED", "ID"}
			return presentList(cmd.Context(), c, cl, api(ofUser(user, "keys")...), head, func(k apiKey) []string {
				return []string{
					k.Name, strings.Join(k.Scopes, ","), cmp.Or(k.App, k.AppID, "all"),
					whenever(k.ExpiresAt), whenever(k.LastUsedAt), when(k.CreatedAt), k.ID,
				}
			})
		}),
	}
	c.userFlag(cmd, &user)
	return cmd
}

func (c *cli) keysRemove() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "rm NAME|ID...",
		Short: "Revoke API keys at once",
		Args:  args(1, -1),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, refs []string) error {
			keys, _, err := fetch[list[apiKey]](cmd.Context(), cl, "GET", api(ofUser(user, "keys")...), nil)
			if err != nil {
				return err
			}
			doomed := make([]apiKey, len(refs))
			for i, ref := range refs {
				if doomed[i], err = findKey(keys.Items, ref); err != nil {
					return err
				}
			}
			for _, k := range doomed {
				if _, err := cl.call(cmd.Context(), "DELETE", api(ofUser(user, "keys", k.ID)...), nil); err != nil {
					return err
				}
				c.done("Revoked key %s.", plain(k.Name))
			}
			return nil
		}),
	}
	c.userFlag(cmd, &user)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return names(cmd, c, api(ofUser(user, "keys")...), start, func(k apiKey) string { return k.Name })
	}
	return cmd
}

// findKey is the only key with ref as its id or its name.
func findKey(keys []apiKey, ref string) (apiKey, error) {
	found := slices.DeleteFunc(slices.Clone(keys), func(k apiKey) bool { return k.ID != ref && k.Name != ref })
	switch len(found) {
	case 0:
		return apiKey{}, fmt.Errorf("there is no key %s: see pic keys ls", ref)
	case 1:
		return found[0], nil
	}
	return apiKey{}, errors.New("several keys are named " + ref + ": give the id from pic keys ls")
}
