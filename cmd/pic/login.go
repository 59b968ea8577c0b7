package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (c *cli) login() *cobra.Command {
	var token string
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Keep an API key for a server",
		Long: `login asks the server whether the key is good and keeps it in a file that only
you can read. That server is then the one meant when none is named.

The key is asked for, or read from standard input. --token works too, but shows
the key in the process list and the shell's history.`,
		Example: `  pic login --url http://picloud.local
  pic login --url https://cloud.example.com < key.txt`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			known, err := c.credentials()
			if err != nil {
				return err
			}
			s, err := c.serverURL(known)
			if err != nil {
				return err
			}
			switch {
			case token != "":
				s.token = strings.TrimSpace(token)
			case c.tokenFile != "":
				s.token, err = readToken(c.tokenFile)
			default:
				s.token, err = c.askToken(s.url)
			}
			if err != nil {
				return err
			}
			cl := newClient(s)
			defer cl.close()
			user, raw, err := fetch[me](cmd.Context(), cl, "GET", api("me"), nil)
			if err != nil {
				return err
			}
			known.Current = s.url
			known.Servers[s.url] = credential{Token: s.token, User: user.Name}
			if err := c.saveCredentials(known); err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) {
				fmt.Fprintf(w, "Logged in to %s as %s (%s).\n", s.url, plain(user.Name), plain(user.Role))
			})
			return nil
		},
	}
	cmd.Flags().StringVar(&token, "token", "", "the API `KEY`; better leave it out and be asked")
	return cmd
}

// askToken reads the key from standard input, without echo if a person types it.
func (c *cli) askToken(server string) (string, error) {
	var text string
	if f, ok := c.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(c.err, "API key for %s: ", server)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return "", fmt.Errorf("cannot read the API key: %w", err)
		}
		text = string(b)
	} else {
		line, err := bufio.NewReader(c.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("cannot read the API key: %w", err)
		}
		text = line
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", usagef("no API key was given: type it when asked, or pass it on standard input")
	}
	return text, nil
}

func (c *cli) logout() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Forget the API key of a server",
		Long:  "logout forgets the key of the server that is meant. The key itself stays valid until it is revoked.",
		Args:  args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			known, err := c.credentials()
			if err != nil {
				return err
			}
			s, err := c.serverURL(known)
			if err != nil {
				return err
			}
			if _, ok := known.Servers[s.url]; !ok {
				return fmt.Errorf("you are not logged in to %s", s.url)
			}
			delete(known.Servers, s.url)
			if known.Current == s.url {
				known.Current = ""
			}
			if err := c.saveCredentials(known); err != nil {
				return err
			}
			c.done("Logged out of %s.", s.url)
			return nil
		},
	}
}

func (c *cli) whoami() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are on which server, and what your key may do",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			user, raw, err := fetch[me](cmd.Context(), cl, "GET", api("me"), nil)
			if err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) {
				rows := [][]string{{"Server", cl.server.url}, {"User", user.Name}, {"Role", user.Role}}
				if user.Key != nil {
					rows = append(rows, []string{"Scopes", strings.Join(user.Key.Scopes, " ")})
					if user.Key.AppID != "" {
						rows = append(rows, []string{"Only app", user.Key.AppID})
					}
				}
				c.table(w, rows)
			})
			return nil
		}),
	}
}
