package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/javascript/bundle"
)

func (c *cli) types() *cobra.Command {
	return &cobra.Command{
		Use:   "types [FILE]",
		Short: "Print or write the type declarations of the module \"picloud\"",
		Long: `types prints picloud.d.ts, or writes it to FILE. An editor that finds it beside
your scripts knows what they can import from "picloud".`,
		Example: "  pic types picloud.d.ts",
		Args:    args(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := io.WriteString(c.out, bundle.Types)
				return err
			}
			if err := os.WriteFile(args[0], []byte(bundle.Types), 0o644); err != nil { //nolint:gosec // no secret
				return fmt.Errorf("cannot write the declarations: %w", err)
			}
			c.done("Wrote %s.", args[0])
			return nil
		},
	}
}
