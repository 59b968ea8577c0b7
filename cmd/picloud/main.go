// Command picloud is the server: a Caddy build that embeds PiCloud, and the
// operator's subcommands.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	_ "time/tzdata" // schedules name time zones, which a small system does not have

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	// Caddy's modules, one by one: each costs every start (docs/performance.md).
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/requestbody"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	_ "github.com/caddyserver/caddy/v2/modules/caddypki"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls/standardstek"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"

	_ "github.com/picloud/picloud/appliance/caddyappliance"
	"github.com/picloud/picloud/services/caddycloud"
	"github.com/picloud/picloud/services/javascript/build"
)

// version and commit are set when the binary is linked (see the Makefile).
var (
	version = "dev"
	commit  = ""
)

// caddyCommands are those of Caddy that an operator of PiCloud uses; they come
// from Caddy as they are.
var caddyCommands = []struct{ name, short string }{
	{"run", "Serve with a configuration: run --config FILE"},
	{"reload", "Give the running server a changed configuration"},
	{"stop", "Stop the running server"},
	{"validate", "Check a configuration"},
	{"adapt", "Show a Caddyfile as JSON"},
	{"fmt", "Format a Caddyfile"},
	{"list-modules", "List the modules that are built in"},
}

// buildScript is the subcommand by which the server builds a script in a process
// of its own.
const buildScript = "build-script"

func main() {
	if len(os.Args) == 2 && os.Args[1] == buildScript {
		if err := build.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "picloud:", err)
			os.Exit(1)
		}
		return
	}
	_ = caddycloud.Tune() // without it, it works as well
	caddycloud.Version, caddycloud.Commit = version, commit
	if self, err := os.Executable(); err == nil {
		caddycloud.BuildCommand = []string{self, buildScript}
	}
	if len(os.Args) > 1 && slices.ContainsFunc(caddyCommands, func(c struct{ name, short string }) bool { return c.name == os.Args[1] }) {
		caddycloud.Fatal = fail
		caddycmd.Main()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "picloud:", err)
		os.Exit(1)
	}
}

// fail ends Caddy and the process, in the background.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "picloud:", err)
	go func() {
		_ = caddy.Stop()
		os.Exit(caddy.ExitCodeFailedStartup)
	}()
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "picloud",
		Short: "Serverless for hardware you already own",
		Long: `PiCloud runs JavaScript and TypeScript behind HTTP endpoints, on a board of your own.

Try it:      picloud dev
Operate it:  picloud migrate && picloud run --config Caddyfile
Locked out:  picloud admin reset-password USER`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(devCommand(), migrateCommand(), adminCommand(), wakeCommand(), versionCommand())
	for _, c := range caddyCommands {
		root.AddCommand(&cobra.Command{Use: c.name, Short: c.short, Run: func(*cobra.Command, []string) { caddycmd.Main() }})
	}
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "picloud %s %s %s/%s %s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, commit)
		},
	}
}
