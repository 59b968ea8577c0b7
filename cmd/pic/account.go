package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/cloud"
)

func (c *cli) passwd() *cobra.Command {
	return &cobra.Command{
		Use:   "passwd",
		Short: "Change your password",
		Long: `passwd asks for your password and for a new one, and ends your other sessions.
Where nobody types, both are read from standard input, each on a line of its own.`,
		Args: args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			ctx := cmd.Context()
			user, _, err := fetch[me](ctx, cl, "GET", api("me"), nil)
			if err != nil {
				return err
			}
			in := struct {
				Current     string `json:"current,omitempty"`
				NewPassword string `json:"new_password"`
			}{}
			if user.Access == cloud.AccessPassword || user.Access == cloud.AccessOneTime {
				if in.Current, err = c.askHidden(ctx, fmt.Sprintf("Password of %s: ", user.Name)); err != nil {
					return err
				}
			}
			err = c.choosePassword(ctx, "New password", func(password string) error {
				in.NewPassword = password
				_, err := cl.call(ctx, "PUT", api("me", "password"), in)
				return err
			})
			if err != nil {
				return err
			}
			c.done("Your password is changed, and your other sessions have ended.")
			return nil
		}),
	}
}

func (c *cli) totp() *cobra.Command {
	return group(&cobra.Command{
		Use:   "totp",
		Short: "Switch your second factor on and off",
		Long: `With a second factor, logging in takes a code of an authenticator app beside the
password (TOTP, RFC 6238), or one of the recovery codes. API keys do not ask for
it. Who lost both asks an admin for pic users reset.`,
	}, c.totpOn(), c.totpOff())
}

func (c *cli) totpOn() *cobra.Command {
	return &cobra.Command{
		Use:   "on",
		Short: "Log in with a code of an authenticator app from now on",
		Long: `on takes your password, prints a secret for your authenticator app, also as a
link that a QR code can hold, and asks for the first code that the app shows.
Only then it is in force, your other sessions end, and the recovery codes are
printed: each lets you in once when the app is lost.
With --output json it prints two documents, the secret and the recovery codes.`,
		Example: "  pic totp on",
		Args:    args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			ctx := cmd.Context()
			type setup struct {
				Secret string `json:"secret"`
				URI    string `json:"uri"`
			}
			password, err := c.askHidden(ctx, "Your password: ")
			if err != nil {
				return err
			}
			in := struct {
				Password string `json:"password"`
			}{password}
			err = present(ctx, c, cl, "POST", api("me", "totp"), in, func(w io.Writer, s setup) {
				fmt.Fprintf(w, "Add this to your authenticator app:\n\n  %s\n\nor type its secret there: %s\n\n", plain(s.URI), plain(s.Secret))
			})
			if err != nil {
				return err
			}
			return c.confirmTOTP(ctx, cl)
		}),
	}
}

// confirmTOTP asks for the first code until it is right, and prints the recovery
// codes.
func (c *cli) confirmTOTP(ctx context.Context, cl *client) error {
	type recovery struct {
		Codes []string `json:"recovery_codes"`
	}
	for {
		code, err := c.ask(ctx, "The code that the app shows: ")
		if err != nil {
			return err
		}
		if code = strings.TrimSpace(code); code == "" {
			return errors.New("no code was given: the second factor stays off")
		}
		in := struct {
			Code string `json:"code"`
		}{code}
		err = present(ctx, c, cl, "POST", api("me", "totp:confirm"), in, func(w io.Writer, r recovery) {
			fmt.Fprint(w, "Your second factor is on. Keep these recovery codes, each is good once:\n\n")
			for _, code := range r.Codes {
				fmt.Fprintf(w, "  %s\n", plain(code))
			}
		})
		p, refused := errors.AsType[*problem](err)
		if !refused || p.Code != cloud.CodeInvalid || p.Field != "code" {
			return err
		}
		c.note("%s", plain(p.Error()))
	}
}

func (c *cli) totpOff() *cobra.Command {
	return &cobra.Command{
		Use:   "off",
		Short: "Log in with the password alone",
		Args:  args(0, 0),
		RunE: c.withClient(func(cmd *cobra.Command, cl *client, _ []string) error {
			password, err := c.askHidden(cmd.Context(), "Your password: ")
			if err != nil {
				return err
			}
			in := struct {
				Password string `json:"password"`
			}{password}
			if _, err := cl.call(cmd.Context(), "POST", api("me", "totp:disable"), in); err != nil {
				return err
			}
			c.done("Your second factor is off; the recovery codes are worth nothing now.")
			return nil
		}),
	}
}
