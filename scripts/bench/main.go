// Command bench measures what docs/performance.md publishes, and prints it as a
// table. Every ratio is between two servers of one run, loaded in turn. It needs
// the binaries in bin/, a PostgreSQL server package and wrk:
//
//	go run ./scripts/bench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/postgres/cluster"
)

func main() {
	b := bench{}
	flag.StringVar(&b.bin, "bin", "bin", "folder of the binaries")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds of each comparison")
	flag.DurationVar(&b.load, "load", 5*time.Second, "length of one load")
	flag.IntVar(&b.connections, "connections", 32, "connections of the load generator")
	only := flag.String("only", "", "one group alone: requests, events or wake")
	bare := flag.String("bare", "", "internal: serve the bare pgx handler on this address")
	events := flag.Int("drain", 0, "internal: deliver so many events from the outbox to a handler that does nothing")
	atOnce := flag.Int("at-once", 64, "internal: so many of them at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func(ctx context.Context) error { return b.run(ctx, *only) }
	switch {
	case *bare != "":
		run = func(ctx context.Context) error { return serveBare(ctx, *bare, os.Getenv("PICLOUD_DATABASE_URL")) }
	case *events > 0:
		run = func(ctx context.Context) error { return drain(ctx, *events, *atOnce) }
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	bin         string
	rounds      int
	load        time.Duration
	connections int

	dir     string
	cluster *cluster.Cluster
	server  *exec.Cmd
	token   string
}

// Addresses of the servers under load, all on the loopback interface.
const (
	cloudAddress   = "localhost:18080"
	respondAddress = "localhost:18081"
	bareAddress    = "localhost:18082"
)

const caddyfile = `{
	admin off
	auto_https off
	persist_config off
	log default {
		level WARN
	}
}
http://:18080 {
	bind 127.0.0.1
	picloud_manager
	picloud_orchestrator
	picloud_executor
}
http://:18081 {
	bind 127.0.0.1
	header Content-Type application/json
	respond "{\"hello\":\"world\"}"
}
`

// groups are the steps by what they measure, in their order.
func (b *bench) groups() []group {
	return []group{
		{"requests", []step{b.fetchRatio, b.kvRatio, b.coldWorker, b.versionTime, b.idle, b.memory}},
		{"events", []step{b.drains, b.handlerRate, b.latency}},
		{"wake", []step{b.wake}},
	}
}

type group struct {
	name  string
	steps []step
}

// step measures something and prints its rows of the table.
type step func(context.Context) error

func (b *bench) run(ctx context.Context, only string) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is missing; install the package wrk")
	}
	dir, err := os.MkdirTemp("", "picloud-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	b.dir = dir
	fmt.Printf("%s, %d cores, %s; wrk -t1 -c%d, %d rounds of %s each; load generator, server and database share the cores\n\n",
		cpuModel(), runtime.NumCPU(), runtime.Version(), b.connections, b.rounds, b.load)
	if err := b.startCluster(ctx); err != nil {
		return err
	}
	defer func() { _ = b.cluster.Stop() }()
	if err := b.startServers(ctx, dir); err != nil {
		return err
	}
	defer stopProcess(b.server)

	fmt.Println("| what | measured | goal |")
	fmt.Println("|---|---|---|")
	for _, g := range b.groups() {
		if only != "" && only != g.name {
			continue
		}
		for _, step := range g.steps {
			if err := step(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// startCluster starts a cluster that notes when its transactions were committed.
func (b *bench) startCluster(ctx context.Context) (err error) {
	config := cluster.Config{Dir: filepath.Join(b.dir, "postgres"), Logger: slog.New(slog.DiscardHandler)}
	first, err := cluster.Start(ctx, config)
	if err != nil {
		return err
	}
	err = b.exec(ctx, first.URL(), `ALTER SYSTEM SET track_commit_timestamp = on`)
	if err = errors.Join(err, first.Stop()); err != nil {
		return err
	}
	b.cluster, err = cluster.Start(ctx, config)
	return err
}

func (b *bench) exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) startServers(ctx context.Context, dir string) error {
	token, err := b.migrate(ctx, b.cluster.URL(), filepath.Join(dir, "owner-token"))
	if err != nil {
		return err
	}
	b.token = token
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(caddyfile), 0o644); err != nil {
		return err
	}
	b.server = exec.Command(filepath.Join(b.bin, "picloud"), "run", "--config", config)
	b.server.Env, b.server.Stderr = append(os.Environ(), "PICLOUD_DATABASE_URL="+b.cluster.URL()), os.Stderr
	if err := b.server.Start(); err != nil {
		return err
	}
	for _, script := range scripts {
		if err := deploy(ctx, cloudAddress, b.token, script.name, script.source); err != nil {
			return err
		}
	}
	_, err = get(ctx, "http://"+cloudAddress+"/kvset")
	return err
}

// migrate prepares the database and returns the owner's API key.
func (b *bench) migrate(ctx context.Context, database, tokenFile string) (token string, err error) {
	migrate := exec.CommandContext(ctx, filepath.Join(b.bin, "picloud"), "migrate", "--owner-token", tokenFile)
	migrate.Env = append(os.Environ(), "PICLOUD_DATABASE_URL="+database)
	if out, err := migrate.CombinedOutput(); err != nil {
		return "", fmt.Errorf("migrate: %w\n%s", err, out)
	}
	text, err := os.ReadFile(tokenFile)
	return strings.TrimSpace(string(text)), err
}

var scripts = []struct{ name, source string }{
	{"trivial", `export default { fetch() { return new Response('{"hello":"world"}', { headers: { "content-type": "application/json" } }); } };`},
	{"kvget", `import { kv } from "picloud"; const c = kv.collection("bench");
export default { async fetch() { return Response.json(await c.get("key")); } };`},
	{"kvset", `import { kv } from "picloud";
export default { async fetch() { await kv.collection("bench").set("key", "` + strings.Repeat("x", 98) + `"); } };`},
}

// deploy tries again while the server starts.
func deploy(ctx context.Context, address, token, name, source string) error {
	body := fmt.Sprintf(`{"scripts":[{"name":%q,"language":"js","source":%q}]}`, name, source)
	for deadline := time.Now().Add(20 * time.Second); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1/apps/default/deploy", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode < 300 {
				return nil
			}
			err = fmt.Errorf("deploying %s: %s: %s", name, res.Status, text)
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (b *bench) fetchRatio(ctx context.Context) error {
	return b.compare(ctx, "trivial `fetch` handler / Caddy `respond`", "≥ 0.45",
		"http://"+cloudAddress+"/trivial", "http://"+respondAddress+"/")
}

func (b *bench) kvRatio(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bare := exec.Command(self, "-bare", bareAddress)
	bare.Env, bare.Stderr = append(os.Environ(), "PICLOUD_DATABASE_URL="+b.cluster.URL()), os.Stderr
	if err := bare.Start(); err != nil {
		return err
	}
	defer stopProcess(bare)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err = get(ctx, "http://"+bareAddress+"/"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return err
		}
	}
	return b.compare(ctx, "kv get of 100 bytes / bare pgx handler", "≥ 0.6",
		"http://"+cloudAddress+"/kvget", "http://"+bareAddress+"/")
}

// compare loads a and b in turn and prints the median of the rounds' ratios.
func (b *bench) compare(ctx context.Context, what, goal, urlA, urlB string) error {
	var as, bs, ratios []float64
	for range b.rounds {
		rateA, err := b.wrk(ctx, urlA)
		if err != nil {
			return err
		}
		rateB, err := b.wrk(ctx, urlB)
		if err != nil {
			return err
		}
		as, bs, ratios = append(as, rateA), append(bs, rateB), append(ratios, rateA/rateB)
	}
	fmt.Printf("| %s | **%.2f** (%.2f–%.2f): %.0f/s of %.0f/s | %s |\n",
		what, median(ratios), slices.Min(ratios), slices.Max(ratios), median(as), median(bs), goal)
	return nil
}

func (b *bench) wrk(ctx context.Context, url string) (rate float64, err error) {
	if _, err := get(ctx, url); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(b.connections), "-d"+strconv.Itoa(int(b.load.Seconds()))+"s", url).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "Non-2xx") || strings.Contains(line, "Socket errors") {
			return 0, fmt.Errorf("requests to %s failed:\n%s", url, out)
		}
		if _, text, ok := strings.Cut(line, "Requests/sec:"); ok {
			rate, err = strconv.ParseFloat(strings.TrimSpace(text), 64)
		}
	}
	return rate, err
}

// coldWorker times the first request after the app's worker was killed: process
// start, fences, compilation and evaluation of the built script, answer.
func (b *bench) coldWorker(ctx context.Context) error {
	var times []time.Duration
	for range 4 * b.rounds {
		workers, err := children(b.server.Process.Pid)
		if err != nil {
			return err
		}
		for _, pid := range workers {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for len(workers) > 0 {
			time.Sleep(5 * time.Millisecond)
			if workers, err = children(b.server.Process.Pid); err != nil {
				return err
			}
		}
		start := time.Now()
		if _, err := get(ctx, "http://"+cloudAddress+"/trivial"); err != nil {
			return err
		}
		times = append(times, time.Since(start))
	}
	printTimes("cold worker: process start to first answer", times, "≤ 20 ms")
	return nil
}

func (b *bench) versionTime(ctx context.Context) error {
	var times []time.Duration
	for range 4 * b.rounds {
		start := time.Now()
		if err := exec.CommandContext(ctx, filepath.Join(b.bin, "picloud"), "version").Run(); err != nil {
			return err
		}
		times = append(times, time.Since(start))
	}
	printTimes("`picloud version`", times, "≤ 20 ms")
	return nil
}

// idle counts the CPU ticks of the server after the load, once the last records
// are written, memory is given back and the database's connections are closed,
// which takes some 10 s.
func (b *bench) idle(ctx context.Context) error {
	const settle, span = 15 * time.Second, 20 * time.Second
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	pid := b.server.Process.Pid
	before, err := ticks(pid)
	if err != nil {
		return err
	}
	if err := sleep(ctx, span); err != nil {
		return err
	}
	after, err := ticks(pid)
	if err != nil {
		return err
	}
	fmt.Printf("| server idle after the load: CPU ticks (10 ms) in %.0f s | **%d** | 0 |\n", span.Seconds(), after-before)
	return nil
}

func (b *bench) memory(context.Context) error {
	pid := b.server.Process.Pid
	workers, err := children(pid)
	if err != nil {
		return err
	}
	cloud, err := pss(append(workers, pid)...)
	if err != nil {
		return err
	}
	backends, err := children(b.cluster.PID())
	if err != nil {
		return err
	}
	database, err := pss(append(backends, b.cluster.PID())...)
	if err != nil {
		return err
	}
	fmt.Printf("| memory after the load, PSS: server + %d worker | **%.0f MB** | ≤ 90 MB |\n", len(workers), cloud)
	fmt.Printf("| memory after the load, PSS: PostgreSQL (%d processes) | **%.0f MB** | ≤ 40 MB |\n", len(backends)+1, database)
	return nil
}

// serveBare answers with the value that the kvget script reads, by the same
// select, with nothing between net/http and pgx.
func serveBare(ctx context.Context, address, database string) error {
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return err
	}
	defer pool.Close()
	var app string
	if err := pool.QueryRow(ctx, "SELECT id FROM apps WHERE slug = 'default'").Scan(&app); err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var value []byte
		err := pool.QueryRow(r.Context(),
			"SELECT value FROM kv_entries WHERE app_id = $1 AND collection = $2 AND key = $3 AND (expires_at IS NULL OR expires_at > $4)",
			app, "bench", "key", time.Now()).Scan(&value)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(value)
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s: %s", url, res.Status, body)
	}
	return string(body), err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func stopProcess(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

func median[T float64 | time.Duration](xs []T) T {
	s := slices.Sorted(slices.Values(xs))
	return s[len(s)/2]
}

func printTimes(what string, times []time.Duration, goal string) {
	fmt.Printf("| %s | **%.1f ms** (%.1f–%.1f) | %s |\n", what, ms(median(times)), ms(slices.Min(times)), ms(slices.Max(times)), goal)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
