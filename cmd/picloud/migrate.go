package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/caddycloud"
)

func migrateCommand() *cobra.Command {
	var token, secretKey string
	var createKey bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database to this version, and seed a new one",
		Long: `migrate creates or updates the tables of PiCloud in the database, and gives a
new instance its default app with a script at /hello. It changes nothing where
everything is in place, and may run while a server does. It fails if secrets in
the database are sealed with another master key than the one that is given.`,
		Example: "  PICLOUD_DATABASE_URL=postgres:///picloud?host=/run/postgresql picloud migrate --owner-token owner-token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			database := os.Getenv("PICLOUD_DATABASE_URL")
			if database == "" {
				return errors.New("no database: set PICLOUD_DATABASE_URL to a PostgreSQL URL")
			}
			return caddycloud.Prepare(cmd.Context(), caddycloud.Preparation{
				Database: database, SecretKey: caddycloud.FindSecretKey(secretKey), CreateSecretKey: createKey, OwnerToken: token,
				Logger: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
			})
		},
	}
	cmd.Flags().StringVar(&token, "owner-token", "", "write an API key of the owner to this file, unless the file exists")
	secretKeyFlag(cmd, &secretKey)
	cmd.Flags().BoolVar(&createKey, "create-secret-key", false, "make the file of the master key if it is missing and nothing is sealed yet")
	return cmd
}
