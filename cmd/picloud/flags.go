package main

import "github.com/spf13/cobra"

// secretKeyFlag adds the flag that names the file of the master key.
func secretKeyFlag(cmd *cobra.Command, to *string) {
	cmd.PersistentFlags().StringVar(to, "secret-key-file", "", "file of the master key of secrets (default: the systemd credential picloud-secret-key, else $PICLOUD_SECRET_KEY_FILE, else the key in $PICLOUD_SECRET_KEY)")
}
