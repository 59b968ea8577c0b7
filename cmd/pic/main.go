// Command pic is the developer's tool of PiCloud: it deploys scripts, shows
// their routes, logs and data, and calls them, over the server's JSON API.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, newSystem(), os.Args[1:])
	stop()
	os.Exit(code)
}
