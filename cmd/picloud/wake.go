package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/appliance/sleep"
)

func wakeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wake",
		Short: "Have systemd start PiCloud when something is due",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(wakeArmCommand())
	return cmd
}

// armTimeout bounds what systemd may take.
const armTimeout = 10 * time.Second

func wakeArmCommand() *cobra.Command {
	var file, unit, timer string
	cmd := &cobra.Command{
		Use:   "arm",
		Short: "Arm the timer for the moment that PiCloud has left",
		Long: `arm reads when PiCloud must run again from the file that it leaves when it goes
to sleep, and has systemd start it then, by a transient timer that takes the place
of an older one: in a second if the moment has passed, a minute at the earliest if
the service failed ($SERVICE_RESULT). Without a file nothing is due, and no timer
is left. A file that says no such moment changes nothing.

It is for ExecStopPost=+ of the service's unit, and takes root.`,
		Example: "  picloud wake arm --file /run/picloud/wake-at --unit picloud.service",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), armTimeout)
			defer cancel()
			result := os.Getenv("SERVICE_RESULT")
			at, err := sleep.Arm(ctx, sleep.Arming{
				File: file, Unit: unit, Timer: sleep.SystemdTimer{Name: timer},
				Failed: result != "" && result != "success", Now: time.Now(),
			})
			switch {
			case err != nil:
				return err
			case at.IsZero():
				fmt.Fprintln(cmd.OutOrStdout(), "nothing is due")
			default:
				fmt.Fprintln(cmd.OutOrStdout(), unit, "starts at", at.UTC().Format(time.RFC3339))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "file", "/run/picloud/wake-at", "file that PiCloud leaves (wake_file in its configuration)")
	cmd.Flags().StringVar(&unit, "unit", "picloud.service", "unit to start")
	cmd.Flags().StringVar(&timer, "timer", "picloud.timer", "transient unit that starts it, of the same name")
	return cmd
}
