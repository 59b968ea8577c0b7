package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud/services/postgres/cluster"
)

const wakeAddress = "localhost:18083"

// wakeCaddyfile is for a server that gets its socket from outside, as from
// systemd. %s is the folder of its state.
const wakeCaddyfile = `{
	admin off
	auto_https off
	persist_config off
	log default {
		level ERROR
	}
	servers {
		protocols h1
	}
	picloud {
		state_dir %[1]s
	}
}
http:// {
	bind fd/3
	picloud_manager
	picloud_orchestrator
	picloud_executor
}
`

// waker starts a server over and over, on a socket that stays open, as systemd's
// do.
type waker struct {
	*bench
	database cluster.Config
	socket   *os.File
	config   string
	url      string // of the database, the same each time
}

// wake times the first answer of a server that a request starts, with PostgreSQL
// running, and started at the same moment.
func (b *bench) wake(ctx context.Context) error {
	w, stop, err := b.newWaker(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, together := range []bool{false, true} {
		for _, path := range []string{"/trivial", "/kvget"} {
			if err := w.measure(ctx, path, together); err != nil {
				return err
			}
		}
	}
	return nil
}

// newWaker prepares a database with two scripts, which is stopped.
func (b *bench) newWaker(ctx context.Context) (*waker, func(), error) {
	l, err := net.Listen("tcp", wakeAddress)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	w := &waker{bench: b, config: filepath.Join(b.dir, "Caddyfile.wake")}
	state := filepath.Join(b.dir, "state")
	w.database = cluster.Config{Dir: filepath.Join(b.dir, "wake"), Logger: slog.New(slog.DiscardHandler)}
	if w.socket, err = l.(*net.TCPListener).File(); err != nil {
		return nil, nil, err
	}
	stop := func() { _ = w.socket.Close() }
	err = errors.Join(os.Mkdir(state, 0o700), os.WriteFile(w.config, fmt.Appendf(nil, wakeCaddyfile, state), 0o644))
	if err != nil {
		return nil, stop, err
	}
	database, err := cluster.Start(ctx, w.database)
	if err != nil {
		return nil, stop, err
	}
	defer func() { _ = database.Stop() }()
	w.url = database.URL()
	token, err := b.migrate(ctx, w.url, filepath.Join(b.dir, "wake-token"))
	if err != nil {
		return nil, stop, err
	}
	server, err := w.server()
	if err != nil {
		return nil, stop, err
	}
	defer stopProcess(server)
	for _, s := range scripts {
		if err := deploy(ctx, wakeAddress, token, s.name, s.source); err != nil {
			return nil, stop, err
		}
	}
	_, err = get(ctx, "http://"+wakeAddress+"/kvset")
	return w, stop, err
}

func (w *waker) server() (*exec.Cmd, error) {
	server := exec.Command(filepath.Join(w.bin, "picloud"), "run", "--config", w.config)
	server.Env, server.Stderr = append(os.Environ(), "PICLOUD_DATABASE_URL="+w.url), os.Stderr
	server.ExtraFiles = []*os.File{w.socket}
	return server, server.Start()
}

// measure wakes a server several times for one path and prints a row.
func (w *waker) measure(ctx context.Context, path string, together bool) error {
	var times []time.Duration
	var cpu time.Duration
	for range 6 * w.rounds {
		took, used, err := w.once(ctx, path, together)
		if err != nil {
			return err
		}
		times, cpu = append(times, took), cpu+used
	}
	what, goal := "started to first answer, "+strings.TrimPrefix(path, "/")+", PostgreSQL running", ""
	if together {
		what = "started together with PostgreSQL to first answer, " + strings.TrimPrefix(path, "/")
		goal = map[string]string{"/trivial": "≤ 150 ms", "/kvget": "≤ 350 ms"}[path]
	}
	slices.Sort(times)
	fmt.Printf("| %s | **%.0f ms**, p95 %.0f ms; %.0f ms CPU | %s |\n", what,
		ms(times[len(times)/2]), ms(times[len(times)*95/100]), ms(cpu)/float64(len(times)), goal)
	return nil
}

// once is the time from the start of the processes to the answer's end, and what
// CPU time the server and its workers have used until they were stopped.
func (w *waker) once(ctx context.Context, path string, together bool) (took, cpu time.Duration, err error) {
	type started struct {
		*cluster.Cluster
		error
	}
	up := make(chan started, 1)
	run := func() { c, err := cluster.Start(ctx, w.database); up <- started{c, err} }
	var database started
	if !together {
		run()
		database = <-up
	}
	begin := time.Now()
	if together {
		go run()
	}
	server, err := w.server()
	if err != nil {
		return 0, 0, err
	}
	err = answered(ctx, "http://"+wakeAddress+path)
	took = time.Since(begin)
	if together {
		database = <-up
	}
	time.Sleep(100 * time.Millisecond) // as a board is awake for a while
	stopProcess(server)
	if err = errors.Join(err, database.error); err == nil {
		err = database.Stop()
	}
	return took, server.ProcessState.UserTime() + server.ProcessState.SystemTime(), err
}

// answered asks on a connection of its own until the answer is a success.
func answered(ctx context.Context, url string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if err == nil && res.StatusCode != http.StatusOK {
				err = errors.New(res.Status)
			}
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
