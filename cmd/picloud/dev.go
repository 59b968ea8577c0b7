package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/services/caddycloud"
	"github.com/picloud/picloud/services/postgres/cluster"
)

func devCommand() *cobra.Command {
	dev := devServer{}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Serve on this machine, with a private database",
		Long: `dev starts a PostgreSQL server of its own below the data directory (reachable
by a unix socket alone), migrates and seeds it, and serves until it is
interrupted. An API key of the owner is written to DIR/owner-token; pic finds it
there. The master key that secrets are sealed with is made at DIR/secret-key by
the first start: keep a copy of it apart from copies of the database.

The first interrupt lets requests under way end, for 10 s at most; a second one
ends it at once.`,
		Example: "  picloud dev\n  picloud dev --listen 0.0.0.0:8080 --data /srv/picloud",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dev.out = cmd.OutOrStdout()
			dev.log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			return dev.serve(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&dev.listen, "listen", "localhost:8080", "address to serve on")
	cmd.Flags().StringVar(&dev.data, "data", defaultData, "directory for the database and the keys")
	return cmd
}

// secretKeyName is the file of the master key in the data directory.
const secretKeyName = "secret-key"

// devServer is one run of picloud dev.
type devServer struct {
	listen, data string
	out          io.Writer
	log          *slog.Logger
}

// serve runs until ctx ends, and leaves no process behind.
func (d *devServer) serve(ctx context.Context) (err error) {
	data, err := filepath.Abs(d.data)
	if err != nil {
		return err
	}
	if err := checkPort(d.listen); err != nil {
		return err
	}
	if err := checkWorker(); err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return fmt.Errorf("creating the data directory: %w", err)
	}
	fmt.Fprintln(d.out, "starting PostgreSQL in", filepath.Join(data, "postgres"))
	database, err := cluster.Start(ctx, cluster.Config{Dir: filepath.Join(data, "postgres"), Logger: d.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Stop()) }()

	err = caddycloud.Prepare(ctx, caddycloud.Preparation{
		Database: database.URL(), SecretKey: caddycloud.SecretKey{File: filepath.Join(data, secretKeyName)}, CreateSecretKey: true,
		OwnerToken: filepath.Join(data, "owner-token"), Logger: d.log,
	})
	if err != nil {
		return err
	}
	config, err := d.config(database.URL(), data)
	if err != nil {
		return err
	}
	if err := caddy.Run(config); err != nil {
		return fmt.Errorf("serving on %s: %w", d.listen, err)
	}
	defer func() { err = errors.Join(err, caddy.Stop()) }()

	app, err := caddy.ActiveContext().App("picloud")
	if err != nil {
		return err
	}
	select {
	case <-app.(*caddycloud.App).Services().Loaded():
		d.welcome()
	case <-ctx.Done():
	}
	<-ctx.Done()
	fmt.Fprintln(d.out, "stopping")
	return nil
}

// config is what a Caddyfile for development would say, in JSON.
func (d *devServer) config(database, data string) (*caddy.Config, error) {
	app := caddycloud.App{Database: database, SecretKeyFile: filepath.Join(data, secretKeyName)}
	server := &caddyhttp.Server{
		Listen:    []string{d.listen},
		Protocols: []string{"h1"},
		AutoHTTPS: &caddyhttp.AutoHTTPSConfig{Disabled: true},
		Routes: caddyhttp.RouteList{{HandlersRaw: []json.RawMessage{
			caddyconfig.JSONModuleObject(caddycloud.Manager{}, "handler", "picloud_manager", nil),
			caddyconfig.JSONModuleObject(caddycloud.Orchestrator{}, "handler", "picloud_orchestrator", nil),
			caddyconfig.JSONModuleObject(caddycloud.Executor{}, "handler", "picloud_executor", nil),
		}}},
	}
	http := caddyhttp.App{
		GracePeriod: caddy.Duration(10 * time.Second),
		Servers:     map[string]*caddyhttp.Server{"dev": server},
	}
	storage, err := json.Marshal(map[string]string{"module": "file_system", "root": filepath.Join(data, "caddy")})
	if err != nil {
		return nil, err
	}
	no := false
	return &caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &no}},
		Logging:    &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "WARN"}, Exclude: []string{"admin"}}}},
		StorageRaw: storage,
		AppsRaw: caddy.ModuleMap{
			"http":    caddyconfig.JSON(http, nil),
			"picloud": caddyconfig.JSON(app, nil),
		},
	}, nil
}

func (d *devServer) welcome() {
	host, port, _ := net.SplitHostPort(d.listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	base := "http://" + net.JoinHostPort(host, port)
	fmt.Fprintf(d.out, `PiCloud is ready at %[1]s
  try     curl %[1]s/hello
  deploy  pic deploy examples/guestbook.ts
  stop    Ctrl-C
`, base)
}

// checkPort tells early, before anything is started, that the port is taken.
func checkPort(address string) error {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("another program listens on %s already: stop it, or choose another address with --listen localhost:8081", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("not allowed to listen on %s: ports below 1024 need root; choose another with --listen localhost:8080", address)
	default:
		return fmt.Errorf("cannot listen on %s: %w", address, err)
	}
}

// checkWorker tells early that the other half of the server is missing.
func checkWorker() error {
	worker, err := caddycloud.WorkerPath()
	if err != nil {
		return err
	}
	if _, err := os.Stat(worker); err != nil {
		return fmt.Errorf("picloud-worker, which runs the scripts, belongs beside picloud: %w; `make build` makes both", err)
	}
	return nil
}
