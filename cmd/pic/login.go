package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) login() *cobra.Command {
	var in entrance
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in to a server, by password or API key",
		Long: `login asks for your user name and password, and for the code of your second
factor if you have one. Without a user name it asks for an API key. What it gets,
a session or the key, it keeps in a file that only you can read, and that server
is then the one meant when none is named. A session ends when it was not used for
a day, or by pic logout.

A server that nobody owns yet takes its first owner by --claim. Who was invited
follows the link by --invitation, and chooses a password. Who was given a one-time
password logs in with it, and chooses another.

Where nobody types, standard input holds the API key; with --user, --claim and
--invitation the password, then the code and the new password if the server asks
for them, each on a line of its own. --token works too, but shows the key in the
process list and the shell's history.`,
		Example: `  pic login --url http://picloud.local
  pic login --url http://picloud.local --claim
  pic login --invitation 'http://picloud.local/admin/invitation#pin_…'
  pic login --url https://cloud.example.com --user ada < password.txt
  pic login --url https://cloud.example.com < key.txt`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := in.check(); err != nil {
				return err
			}
			known, err := c.credentials()
			if err != nil {
				return err
			}
			s, err := c.serverURL(known)
			if err != nil {
				return err
			}
			if from := in.invitedBy(); from != "" && c.url == "" {
				if s.url, err = parseServer(from); err != nil {
					return usagef("--invitation: %w", err)
				}
			}
			cl := newClient(s)
			defer cl.close()
			if cl.server.token, err = c.enter(cmd.Context(), cl, in); err != nil {
				return err
			}
			user, raw, err := fetch[me](cmd.Context(), cl, "GET", api("me"), nil)
			if err != nil {
				return err
			}
			known.Current = s.url
			known.Servers[s.url] = credential{Token: cl.server.token, User: user.Name}
			if err := c.saveCredentials(known); err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) {
				fmt.Fprintf(w, "Logged in to %s as %s (%s).\n", s.url, plain(user.Name), plain(user.Role))
			})
			if c.env("PICLOUD_TOKEN") != "" {
				c.note("PICLOUD_TOKEN is set and comes before this log-in: unset it.")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.user, "user", "", "log in as the user `NAME` with a password")
	flags.StringVar(&in.code, "code", "", "`CODE` of the authenticator app, or a recovery code")
	flags.BoolVar(&in.claim, "claim", false, "become the first owner of a server that has none")
	flags.StringVar(&in.invitation, "invitation", "", "follow the `LINK` of an invitation")
	flags.StringVar(&in.token, "token", "", "the API `KEY`; better leave it out and be asked")
	return cmd
}

// entrance is how one comes in, by the flags of login.
type entrance struct {
	user, code, invitation, token string
	claim                         bool
}

func (e entrance) check() error {
	ways := 0
	for _, given := range []bool{e.claim, e.invitation != "", e.token != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		return usagef("--claim, --invitation and --token exclude each other")
	case e.user != "" && (e.invitation != "" || e.token != ""):
		return usagef("--user is for a password; the invitation or the key says by itself whose it is")
	case e.code != "" && ways > 0:
		return usagef("--code goes with a name and a password")
	}
	return nil
}

// invitedBy is the server that the invitation's link leads to; "" if only its
// token was given, or none.
func (e entrance) invitedBy() string {
	u, err := url.Parse(e.invitation)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// enter gets a token for the server: a new session's, or an API key that was
// given and not checked yet.
func (c *cli) enter(ctx context.Context, cl *client, in entrance) (string, error) {
	switch {
	case in.token != "":
		return strings.TrimSpace(in.token), nil
	case c.tokenFile != "" && in.user == "" && in.invitation == "" && !in.claim:
		return readToken(c.tokenFile)
	}
	// First the server, so that nobody types a password for nothing.
	if err := wantOwner(ctx, cl, !in.claim); err != nil {
		return "", err
	}
	if in.invitation != "" {
		return c.acceptInvitation(ctx, cl, in.invitation)
	}
	_, typing := c.terminal()
	var err error
	if in.user == "" && typing {
		what := "User name (empty: API key)"
		if in.claim {
			what = "Name of the owner to be"
		}
		if in.user, err = c.ask(ctx, fmt.Sprintf("%s for %s: ", what, cl.server.url)); err != nil {
			return "", err
		}
		in.user = strings.TrimSpace(in.user)
	}
	switch {
	case in.claim && in.user == "":
		return "", usagef("--claim needs the owner's name: pass --user")
	case in.claim:
		return c.claim(ctx, cl, in.user)
	case in.user == "":
		return c.askKey(ctx, cl.server.url)
	}
	return c.logIn(ctx, cl, in.user, in.code)
}

// wantOwner fails if the server has no owner, or has one, other than is wanted.
func wantOwner(ctx context.Context, cl *client, want bool) error {
	_, err := cl.call(ctx, "GET", api("me"), nil)
	switch p, refused := errors.AsType[*problem](err); {
	case refused && p.Code == cloud.CodeUnclaimed && !want:
		return nil
	case refused && p.Code == cloud.CodeUnauthorized && want:
		return nil
	case refused && p.Code == cloud.CodeUnauthorized:
		return fmt.Errorf("%s has an owner already: log in with pic login --url %s", cl.server.url, cl.server.url)
	}
	return err
}

// loggedIn is a session that has begun.
type loggedIn struct {
	Token string `json:"token"`
}

// logIn begins a session by name and password, and by what else the server asks
// for.
func (c *cli) logIn(ctx context.Context, cl *client, name, code string) (string, error) {
	attempt := struct {
		Name        string `json:"name"`
		Password    string `json:"password"`
		Code        string `json:"code,omitempty"`
		NewPassword string `json:"new_password,omitempty"`
	}{Name: name, Code: code}
	var err error
	if attempt.Password, err = c.askHidden(ctx, fmt.Sprintf("Password of %s for %s: ", name, cl.server.url)); err != nil {
		return "", err
	}
	if attempt.Password == "" {
		return "", usagef("no password was given: type it when asked, or pass it on standard input")
	}
	for {
		session, _, err := fetch[loggedIn](ctx, cl, "POST", api("sessions"), attempt)
		p, refused := errors.AsType[*problem](err)
		if !refused {
			return session.Token, err
		}
		switch p.Code {
		case cloud.CodeUnauthorized:
			p.hint = fmt.Sprintf("Check both. Who forgot the password asks an admin for pic users reset %s; on the server itself, picloud admin reset-password %s helps.", name, name)
			return "", p
		case cloud.CodeSecondFactor:
			if attempt.Code != "" {
				c.note("That code was wrong, or used before.")
			}
			if attempt.Code, err = c.ask(ctx, "Code of your authenticator app, or a recovery code: "); err != nil {
				return "", err
			}
			if attempt.Code = strings.TrimSpace(attempt.Code); attempt.Code == "" {
				return "", p
			}
		case cloud.CodePasswordChange:
			c.note("Your one-time password is right. Choose a password of your own.")
			err := c.choosePassword(ctx, "New password", func(password string) error {
				attempt.NewPassword = password
				session, _, err = fetch[loggedIn](ctx, cl, "POST", api("sessions"), attempt)
				return err
			})
			return session.Token, err
		default:
			return "", p
		}
	}
}

// claim makes the server's first owner.
func (c *cli) claim(ctx context.Context, cl *client, name string) (token string, err error) {
	err = c.choosePassword(ctx, "New password for "+name, func(password string) error {
		session, _, err := fetch[loggedIn](ctx, cl, "POST", api("claim"), struct {
			Name     string `json:"name"`
			Password string `json:"password"`
		}{name, password})
		token = session.Token
		return err
	})
	return token, err
}

// acceptInvitation follows an invitation, given by its link or its token.
func (c *cli) acceptInvitation(ctx context.Context, cl *client, link string) (token string, err error) {
	invitation := link
	if _, fragment, ok := strings.Cut(link, "#"); ok {
		invitation = fragment
	}
	if !strings.HasPrefix(invitation, cloud.InvitationPrefix) {
		return "", usagef("--invitation %q holds no invitation, which begins with %s", link, cloud.InvitationPrefix)
	}
	err = c.choosePassword(ctx, "Choose a password", func(password string) error {
		session, _, err := fetch[loggedIn](ctx, cl, "POST", api("invitations:accept"), struct {
			Token    string `json:"token"`
			Password string `json:"password"`
		}{invitation, password})
		token = session.Token
		return err
	})
	if p, ok := errors.AsType[*problem](err); ok && p.Code == cloud.CodeUnauthorized {
		p.hint = "An invitation works once, and for a week. Whoever invited you makes another with pic users reset NAME --invite."
	}
	return token, err
}

func (c *cli) askKey(ctx context.Context, server string) (string, error) {
	text, err := c.askHidden(ctx, fmt.Sprintf("API key for %s: ", server))
	if err != nil {
		return "", err
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", usagef("no API key was given: type it when asked, or pass it on standard input")
	}
	return text, nil
}

// logoutTimeout is how long pic waits for the server at most: what matters is
// that this machine forgets.
const logoutTimeout = 10 * time.Second

func (c *cli) logout() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "End the session with a server, or forget its API key",
		Long: `logout ends the session with the server that is meant, and forgets it here even if
the server cannot be reached. An API key is forgotten only here: it stays valid
until it expires or pic keys rm revokes it.`,
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
			kept, ok := known.Servers[s.url]
			if !ok {
				return fmt.Errorf("you are not logged in to %s", s.url)
			}
			delete(known.Servers, s.url)
			if known.Current == s.url {
				known.Current = ""
			}
			if err := c.saveCredentials(known); err != nil {
				return err
			}
			if !isSession(kept.Token) {
				c.done("Logged out of %s: the API key is forgotten here, and still valid.", s.url)
				return nil
			}
			s.token = kept.Token
			if err := endSession(cmd.Context(), s); err != nil {
				c.note("%v\nThe session is forgotten here; on the server it ends a day after its last use.", err)
			}
			c.done("Logged out of %s.", s.url)
			return nil
		},
	}
}

// endSession ends the session of s on its server, unless that has ended already.
func endSession(ctx context.Context, s server) error {
	ctx, cancel := context.WithTimeout(ctx, logoutTimeout)
	defer cancel()
	cl := newClient(s)
	defer cl.close()
	_, err := cl.call(ctx, "DELETE", api("sessions", "current"), nil)
	if p, ok := errors.AsType[*problem](err); ok && p.Code == cloud.CodeUnauthorized {
		return nil
	}
	return err
}

// isSession tells the token of a session from an API key.
func isSession(token string) bool { return strings.HasPrefix(token, cloud.SessionPrefix) }

func (c *cli) whoami() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are on which server, and what you may do",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			return present(cmd.Context(), c, cl, "GET", api("me"), nil, func(w io.Writer, user me) {
				rows := [][]string{{"Server", cl.server.url}, {"User", user.Name}, {"Role", user.Role}}
				if key := user.Key; key != nil {
					rows = append(rows,
						[]string{"Logged in", "by the API key " + cmp.Or(key.Name, key.ID)},
						[]string{"Scopes", strings.Join(key.Scopes, " ")})
					if key.AppID != "" {
						rows = append(rows, []string{"Only app", key.AppID})
					}
					if key.ExpiresAt != nil {
						rows = append(rows, []string{"Expires", when(*key.ExpiresAt)})
					}
				} else {
					rows = append(rows, []string{"Logged in", "by a session"})
				}
				c.table(w, append(rows, []string{"Second factor", onOff(user.SecondFactor)}))
			})
		}),
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
