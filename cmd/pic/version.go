package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// version and commit are set when the binary is linked (see the Makefile).
var (
	version = "dev"
	commit  = ""
)

func (c *cli) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of pic",
		Args:  args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			raw, err := json.Marshal(struct {
				Version  string `json:"version"`
				Commit   string `json:"commit"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{version, commit, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			if err != nil {
				return err
			}
			c.show(raw, func(w io.Writer) {
				fmt.Fprintf(w, "pic %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			})
			return nil
		},
	}
}
