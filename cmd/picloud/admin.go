package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/caddycloud"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/postgres/cluster"
)

func adminCommand() *cobra.Command {
	a := &admin{}
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Manage users and the master key on the machine itself",
		Long: `admin works on the database, without the server and its API: whoever may read
the database may do this, so that nobody is locked out for good. The server may
run or not. What is changed is in the audit log, as done by a command.

The database is the one that PICLOUD_DATABASE_URL names, or that of "picloud dev"
in the directory that --data names. That one's server is started for the time of
the command if it does not run. Be root, or the user that PiCloud runs as.`,
		Example: `  picloud admin list
  picloud admin reset-password ada
  picloud admin create-owner grace --data /srv/picloud
  PICLOUD_DATABASE_URL=postgres:///picloud?host=/run/postgresql picloud admin rotate-key --secret-key-file /var/lib/picloud/secret-key`,
		Args: cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&a.data, "data", "", `data directory of picloud dev (default: $PICLOUD_DATABASE_URL, or else ".picloud")`)
	cmd.AddCommand(a.list(), a.resetPassword(), a.createOwner(), a.rotateKey())
	return cmd
}

// defaultData is where picloud dev keeps its data.
const defaultData = ".picloud"

// admin is what the subcommands of picloud admin share.
type admin struct{ data string }

// with runs f on the database.
func (a *admin) with(cmd *cobra.Command, f func(ctx context.Context, o *caddycloud.Operator) error) (err error) {
	ctx := cmd.Context()
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	database := os.Getenv("PICLOUD_DATABASE_URL")
	if dir := a.directory(); dir != "" {
		url, stop, err := cluster.Open(ctx, cluster.Config{Dir: filepath.Join(dir, "postgres"), Logger: log})
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w; name the database with PICLOUD_DATABASE_URL, or the directory of picloud dev with --data", err)
		}
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		database = url
	}
	o, err := caddycloud.OpenOperator(ctx, database, log)
	if err != nil {
		return err
	}
	defer o.Close()
	return said(f(ctx, o))
}

// directory is the data directory to work on; "" if PICLOUD_DATABASE_URL names
// the database.
func (a *admin) directory() string {
	if a.data == "" && os.Getenv("PICLOUD_DATABASE_URL") == "" {
		return defaultData
	}
	return a.data
}

// said is err as a person reads it: an error of the cloud without its code.
func said(err error) error {
	e, ok := errors.AsType[*cloud.Error](err)
	switch {
	case !ok:
		return err
	case e.Field != "":
		return fmt.Errorf("%s: %s", e.Field, e.Message)
	default:
		return errors.New(e.Message)
	}
}
