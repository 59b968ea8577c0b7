package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/caddycloud"
)

func (a *admin) rotateKey() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "rotate-key",
		Short: "Replace the master key that secrets are sealed with",
		Long: `rotate-key makes a new master key, puts it in front of the old one in the key
file, and seals everything in the database with it. The key before stays in the
file until the next rotation; older ones go. Servers that were given the file by its path go on working meanwhile and
take the new key over by themselves. Run it again if it was interrupted: it goes
on where it was.

A server that got the key by another way (a systemd credential, which is a copy,
or PICLOUD_SECRET_KEY) does not see the new one: start it anew afterwards.

Copy the key file to your backup afterwards. Older backups of the
database need older keys.`,
		Example: "  picloud admin rotate-key\n  picloud admin rotate-key --secret-key-file /var/lib/picloud/secret-key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir := a.directory(); file == "" && dir != "" {
				file = filepath.Join(dir, secretKeyName)
			}
			key := caddycloud.FindSecretKey(file)
			return a.with(cmd, func(ctx context.Context, o *caddycloud.Operator) error {
				var sealed int
				if err := o.RotateKey(ctx, key, func(done int) { sealed = done }); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d values are sealed with a new master key; copy %s to your backup\n", sealed, key.File)
				return err
			})
		},
	}
	secretKeyFlag(cmd, &file)
	return cmd
}
