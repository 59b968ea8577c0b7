package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// check is one thing that must hold. What it found out is for a person to read.
type check struct {
	name string
	run  func(ctx context.Context, m *machine) (note string, err error)
}

// checks are run in this order, on one machine; each leaves it in order.
var checks = []check{
	{"boot", booted},
	{"hello", hello},
	{"hardening", hardening},
	{"sleep", sleeps},
	{"wake: latency", wakeLatency},
	{"secret key", secretKey},
	{"wrong configuration", wrongConfiguration},
	{"database is missing", databaseMissing},
	{"killed", killed},
	{"stopped together", stoppedTogether},
	{"reload under load", reload},
	{"falls asleep", fallsAsleep},
	{"asleep: cost", idle},
	{"asleep: schedule", schedule},
	{"asleep: boundary", boundary},
}

const (
	server   = "picloud.service"
	database = "picloud-postgres.service"
)

// booted finds the units that an image enables as they should be.
func booted(ctx context.Context, m *machine) (string, error) {
	_, err := m.run(ctx, `systemctl is-active picloud-http.socket picloud-https.socket picloud.service picloud-postgres.service
		[[ -z $(systemctl list-units --failed --plain --no-legend 'picloud*') ]]
		! systemctl is-active --quiet postgresql.service
		[[ $(stat -c '%U %a' /var/lib/picloud) == 'picloud 700' ]]`)
	if err != nil {
		return "", err
	}
	return m.run(ctx, "systemd-analyze time | head -n 1; systemctl show -p CPUUsageNSec -p MemoryCurrent picloud.service picloud-postgres.service | paste -s -d ' '")
}

func hello(ctx context.Context, m *machine) (string, error) {
	if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
		return "", err
	}
	res, err := m.dial(ctx, "tcp", "127.0.0.1:443")
	if err != nil {
		return "", err
	}
	return "", res.Close()
}

// hardening asks systemd how well it fences the services in.
func hardening(ctx context.Context, m *machine) (string, error) {
	const most = 2.0
	report, err := m.run(ctx, `for unit in picloud.service picloud-postgres.service; do systemd-analyze security --no-pager "$unit" | tail -n 1; done`)
	if err != nil {
		return report, err
	}
	levels := regexp.MustCompile(`exposure level for (\S+): ([0-9.]+)`).FindAllStringSubmatch(report, -1)
	if len(levels) != 2 {
		return report, errors.New("systemd says nothing of an exposure level")
	}
	level, err := strconv.ParseFloat(levels[0][2], 64)
	if err == nil && level > most {
		err = fmt.Errorf("the exposure level of %s is %v, over %v", levels[0][1], level, most)
	}
	return report, err
}

// sleeps stops the server: the database goes with it, the ports stay, and a request
// wakes both.
func sleeps(ctx context.Context, m *machine) (string, error) {
	for range 2 {
		if err := sleep(ctx, m); err != nil {
			return "", err
		}
		if _, err := m.run(ctx, "systemctl is-active picloud-http.socket picloud-https.socket; ! pgrep -x 'picloud|postgres|picloud-worker'"); err != nil {
			return "", err
		}
		if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
			return "", err
		}
		if _, err := m.run(ctx, "systemctl is-active picloud.service picloud-postgres.service"); err != nil {
			return "", err
		}
	}
	return "", nil
}

// wakeLatency measures the time from the connection to the answer's first byte.
func wakeLatency(ctx context.Context, m *machine) (string, error) {
	const rounds = 30
	var took []time.Duration
	for range rounds {
		if err := sleep(ctx, m); err != nil {
			return "", err
		}
		began := time.Now()
		if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
			return "", err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return fmt.Sprintf("first byte of /hello from full sleep, %d times: p50 %v, p95 %v, worst %v", rounds,
		took[rounds/2].Round(time.Millisecond), took[rounds*95/100].Round(time.Millisecond), took[rounds-1].Round(time.Millisecond)), nil
}

// secretKey finds the master key made, and readable by the service alone.
func secretKey(ctx context.Context, m *machine) (string, error) {
	_, err := m.run(ctx, `[[ $(stat -c '%U %a' /var/lib/picloud/secret-key) == 'picloud 600' ]]`)
	return "", err
}

// wrongConfiguration breaks the Caddyfile: visitors wait, the journal says why, the
// service is not started over and over, and serves again once it is mended.
func wrongConfiguration(ctx context.Context, m *machine) (string, error) {
	const caddyfile = "etc/picloud/Caddyfile"
	if err := sleep(ctx, m); err != nil {
		return "", err
	}
	right, err := m.read(caddyfile)
	if err != nil {
		return "", err
	}
	if err := m.write(caddyfile, strings.Replace(right, "systemd/http\n", "systemd/bananas\n", 1)); err != nil {
		return "", err
	}
	since := time.Now()
	waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := get(waiting, m, http.StatusOK, "Hello"); err == nil {
		return "", errors.New("it serves with a wrong configuration")
	}
	journal, err := m.run(ctx, fmt.Sprintf("journalctl -u picloud.service -o cat --since=@%d", since.Unix()))
	if err != nil {
		return "", err
	}
	starts := strings.Count(journal, "Starting ")
	note := fmt.Sprintf("%d starts in 20 s", starts)
	if !strings.Contains(journal, `no stream socket named "bananas"`) {
		return note, fmt.Errorf("the journal does not say what is wrong:\n%s", journal)
	}
	if starts > 6 {
		return note, errors.New("a storm of starts")
	}
	if err := m.write(caddyfile, right); err != nil {
		return note, err
	}
	if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
		return note, fmt.Errorf("after it was mended: %w", err)
	}
	return note, nil
}

// databaseMissing takes the database's data away: visitors get a 503, the journal
// says why, no empty database is made in its place, and all is well when it is back.
func databaseMissing(ctx context.Context, m *machine) (string, error) {
	if err := sleep(ctx, m); err != nil {
		return "", err
	}
	if _, err := m.run(ctx, "mv /var/lib/picloud-postgres/17 /var/lib/picloud-postgres/away"); err != nil {
		return "", err
	}
	since := time.Now()
	if err := get(ctx, m, http.StatusServiceUnavailable, ""); err != nil {
		return "", err
	}
	journal, err := m.run(ctx, fmt.Sprintf("journalctl -u picloud-postgres.service -o cat --since=@%d", since.Unix()))
	if err != nil {
		return "", err
	}
	if !strings.Contains(journal, `/var/lib/picloud-postgres/17": No such file or directory`) {
		return "", fmt.Errorf("the journal does not say what is wrong:\n%s", journal)
	}
	if _, err := m.run(ctx, "[[ ! -e /var/lib/picloud-postgres/17 ]]; mv /var/lib/picloud-postgres/away /var/lib/picloud-postgres/17"); err != nil {
		return "", err
	}
	if err := sleep(ctx, m); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d starts of the database", strings.Count(journal, "Starting ")), get(ctx, m, http.StatusOK, "Hello")
}

// killed ends the server and the database by force.
func killed(ctx context.Context, m *machine) (string, error) {
	for _, unit := range []string{server, database} {
		if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
			return "", err
		}
		if _, err := m.run(ctx, "systemctl kill --kill-whom=main --signal=KILL "+unit); err != nil {
			return "", err
		}
		if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
			return "", fmt.Errorf("after %s was killed: %w", unit, err)
		}
		if err := eventually(ctx, m, "systemctl is-active --quiet "+unit); err != nil {
			return "", err
		}
	}
	return "", nil
}

// reload changes the configuration while requests come.
func reload(ctx context.Context, m *machine) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var clients sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	requests := 0
	stop := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			client := m.client()
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := getWith(ctx, client, http.StatusOK, "Hello")
				mu.Lock()
				requests++
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
		})
	}
	var failed error
	for i := range 5 {
		// Another configuration each time: the same one would change nothing.
		_, err := m.run(ctx, fmt.Sprintf(`sed -i '0,/grace_period .*/s//grace_period %ds/' /etc/picloud/Caddyfile; systemctl reload picloud.service`, 11+i%2))
		failed = errors.Join(failed, err)
	}
	close(stop)
	clients.Wait()
	if len(failures) > 0 {
		failed = errors.Join(failed, fmt.Errorf("%d of %d requests failed, the first: %w", len(failures), requests, failures[0]))
	}
	return fmt.Sprintf("%d requests during 5 reloads, %d failed", requests, len(failures)), failed
}

// stoppedTogether stops the server and the database at once, as at power off: what
// the server still has to write, it writes.
func stoppedTogether(ctx context.Context, m *machine) (string, error) {
	count := func() (int, error) {
		var log struct{ Items []struct{ ID string } }
		err := call(ctx, m, http.MethodGet, "executions?limit=1000", "", &log) // runs one itself
		return len(log.Items), err
	}
	before, err := count()
	if err != nil {
		return "", err
	}
	if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
		return "", err
	}
	if _, err := m.run(ctx, "systemctl stop --no-warn picloud.service picloud-postgres.service"); err != nil {
		return "", err
	}
	if _, err := m.run(ctx, `[[ $(systemctl show -P Result picloud.service picloud-postgres.service | paste -s -d ' ') == 'success  success' ]]`); err != nil {
		return "", err
	}
	after, err := count()
	if err == nil && after != before+2 {
		err = fmt.Errorf("%d executions are in the log, want %d and two more", after, before)
	}
	return "", err
}

// get asks for /hello over a new connection.
func get(ctx context.Context, m *machine, status int, contains string) error {
	client := m.client()
	defer client.CloseIdleConnections()
	return getWith(ctx, client, status, contains)
}

func getWith(ctx context.Context, client *http.Client, status int, contains string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/hello", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return err
	}
	if res.StatusCode != status || !strings.Contains(string(body), contains) {
		return fmt.Errorf("/hello: got %s: %s", res.Status, body)
	}
	return nil
}

// sleep stops the server and waits until the database has stopped by itself.
func sleep(ctx context.Context, m *machine) error {
	if _, err := m.run(ctx, "systemctl stop --no-warn "+server); err != nil {
		return err
	}
	return eventually(ctx, m, `[[ $(systemctl show -P ActiveState picloud-postgres.service) == @(inactive|failed) ]]`)
}

// eventually waits until a command in the machine succeeds.
func eventually(ctx context.Context, m *machine, script string) error {
	_, err := m.run(ctx, fmt.Sprintf(`for ((i = 0; i < 1500; i++)); do if %s; then exit 0; fi; sleep 0.02; done; exit 1`, script))
	if err != nil {
		return fmt.Errorf("not within 30 s: %w", err)
	}
	return nil
}
