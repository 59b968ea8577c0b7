package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// memory is a script that remembers what it was sent, and when it ran.
const memory = `import { kv } from "picloud";
const seen = kv.collection("seen"), fired = kv.collection("fired");
export default {
	async fetch(request) {
		if (request.method === "GET") return "read " + (await seen.list({ limit: 1 })).keys.length;
		await seen.increment(await request.text());
		return "stored";
	},
	async scheduled(event) { await fired.set(String(event.scheduledTime), Date.now()); },
};`

// shortly makes the server sleep soon after it was used, instead of after a minute.
func shortly(ctx context.Context, m *machine) error {
	if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
		return err
	}
	// The clock is what the machine has in common with this one: it is set.
	_, err := m.run(ctx, `mkdir -p /run/systemd/timesync; touch /run/systemd/timesync/synchronized
		sed -i 's/sleep_after .*/sleep_after 1s/; s/\bidle .*/idle 1s/' /etc/picloud/Caddyfile; systemctl restart picloud.service`)
	return err
}

// asleep waits until nothing of PiCloud runs.
func asleep(ctx context.Context, m *machine) error {
	return eventually(ctx, m, `! pgrep -x 'picloud|postgres|picloud-worker' >/dev/null && [[ $(systemctl show -P ActiveState picloud.service picloud-postgres.service | paste -s) == inactive*inactive ]]`)
}

// fallsAsleep leaves the server alone: it ends by itself, in success, and the
// database with it, and a request wakes both.
func fallsAsleep(ctx context.Context, m *machine) (string, error) {
	if err := errors.Join(deploy(ctx, m, "memory", memory), shortly(ctx, m)); err != nil {
		return "", err
	}
	if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
		return "", err
	}
	began := time.Now()
	if err := asleep(ctx, m); err != nil {
		return "", err
	}
	took := time.Since(began)
	if result, err := m.run(ctx, "systemctl show -P Result picloud.service"); err != nil || result != "success" {
		return "", errors.Join(err, fmt.Errorf("the server ended with the result %q", result))
	}
	return fmt.Sprintf("all was asleep %v after the last request, with a time-out of 1 s", took.Round(10*time.Millisecond)), get(ctx, m, http.StatusOK, "Hello")
}

// idle looks at what sleeping takes.
func idle(ctx context.Context, m *machine) (string, error) {
	const while = time.Minute
	if err := asleep(ctx, m); err != nil {
		return "", err
	}
	const usage = `for unit in picloud.service picloud-postgres.service; do
			f=/sys/fs/cgroup/system.slice/$unit/cpu.stat
			[[ ! -e $f ]] || sed -n 's/usage_usec //p' "$f"
		done; sed -n 's/usage_usec //p' /sys/fs/cgroup/cpu.stat; systemctl show -P InvocationID picloud.service picloud-postgres.service | paste -s`
	before, err := m.run(ctx, usage)
	if err != nil {
		return "", err
	}
	select {
	case <-time.After(while):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	after, err := m.run(ctx, usage)
	if err != nil {
		return "", err
	}
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	if len(was) != 2 || len(is) != 2 {
		return "", fmt.Errorf("the units have processes while they sleep:\n%s\n%s", before, after)
	}
	if was[1] != is[1] {
		return "", errors.New("something was started meanwhile")
	}
	x, err1 := strconv.Atoi(was[0])
	y, err2 := strconv.Atoi(is[0])
	note := fmt.Sprintf("in %v of sleep PiCloud and the database had no process; the whole system used %v of CPU", while, time.Duration(y-x)*time.Microsecond)
	return note, errors.Join(err1, err2)
}

// schedule has a cron trigger fire out of sleep, also after the server was killed.
func schedule(ctx context.Context, m *machine) (string, error) {
	const late = 2 * time.Second
	if err := deploy(ctx, m, "memory", memory); err != nil {
		return "", err
	}
	var trigger struct{ ID string }
	if err := call(ctx, m, http.MethodPost, "triggers", `{"script":"memory","kind":"cron","schedule":"* * * * *"}`, &trigger); err != nil {
		return "", err
	}
	var notes []string
	for _, end := range []string{"asleep", "killed"} {
		if end == "killed" {
			if err := get(ctx, m, http.StatusOK, "Hello"); err != nil {
				return "", err
			}
			if _, err := m.run(ctx, "systemctl kill --kill-whom=main --signal=KILL picloud.service"); err != nil {
				return "", err
			}
		}
		if err := asleep(ctx, m); err != nil {
			return "", err
		}
		armed, err := m.run(ctx, "systemctl is-active picloud.timer; systemctl show -P NextElapseUSecRealtime picloud.timer")
		if err != nil {
			return "", fmt.Errorf("%s, but no timer is armed: %w", end, err)
		}
		next := time.Now().Truncate(time.Minute).Add(time.Minute)
		select {
		case <-time.After(time.Until(next.Add(5 * time.Second))): // nothing but the timer wakes it
		case <-ctx.Done():
			return "", ctx.Err()
		}
		fired, err := numbers(ctx, m, "fired")
		if err != nil {
			return "", err
		}
		at, ok := fired[strconv.FormatInt(next.UnixMilli(), 10)]
		if !ok {
			return armed, fmt.Errorf("%s: what was due at %v did not run; there are %v", end, next, fired)
		}
		lag := time.UnixMilli(at).Sub(next)
		notes = append(notes, fmt.Sprintf("%s: ran %v after it was due", end, lag))
		if lag > late {
			return strings.Join(notes, "\n"), errors.New("late")
		}
	}
	return strings.Join(notes, "\n"), call(ctx, m, http.MethodDelete, "triggers/"+trigger.ID, "", nil)
}

// boundary sends requests at moments around the time-out, over new and kept
// connections: none fails, and each POST is stored once.
func boundary(ctx context.Context, m *machine) (string, error) {
	const rounds = 60
	if err := deploy(ctx, m, "memory", memory); err != nil {
		return "", err
	}
	if err := shortly(ctx, m); err != nil {
		return "", err
	}
	starts, err := invocations(ctx, m)
	if err != nil {
		return "", err
	}
	kept := m.client()
	defer kept.CloseIdleConnections()
	var mu sync.Mutex
	var failures []error
	sent := map[string]bool{}
	requests := 0
	for round := range rounds {
		var all sync.WaitGroup
		for _, reuse := range []bool{false, true} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				pause := time.Duration(rand.Int64N(int64(200 * time.Millisecond)))
				all.Go(func() {
					client := kept
					if !reuse {
						client = m.client()
						defer client.CloseIdleConnections()
					}
					key := fmt.Sprintf("%d-%v", round, reuse)
					time.Sleep(pause)
					err := remember(ctx, client, method, key)
					mu.Lock()
					defer mu.Unlock()
					requests++
					if err != nil {
						failures = append(failures, fmt.Errorf("round %d, %s, kept connection %v: %w", round, method, reuse, err))
					}
					if method == http.MethodPost {
						sent[key] = true
					}
				})
			}
		}
		all.Wait()
		// Connections close a second after their last request, the server a second later.
		select {
		case <-time.After(500*time.Millisecond + time.Duration(rand.Int64N(int64(2500*time.Millisecond)))):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	again, err := invocations(ctx, m)
	if err != nil {
		return "", err
	}
	note := fmt.Sprintf("%d requests, %d failed; the server was started %d times", requests, len(failures), again-starts)
	stored, err := numbers(ctx, m, "seen")
	if err != nil {
		return note, err
	}
	for key := range sent {
		if stored[key] != 1 {
			failures = append(failures, fmt.Errorf("%s was stored %d times", key, stored[key]))
		}
	}
	if again-starts < rounds/4 {
		failures = append(failures, errors.New("the boundary was hardly met"))
	}
	return note, errors.Join(failures...)
}

// invocations is how often the server has been started.
func invocations(ctx context.Context, m *machine) (int, error) {
	n, err := m.run(ctx, "journalctl --unit picloud.service --output cat | grep -c '^Started '")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(n)
}

// remember sends a request to the script memory.
func remember(ctx context.Context, client *http.Client, method, key string) error {
	body := key
	if method == http.MethodGet {
		body = ""
	}
	req, err := http.NewRequestWithContext(ctx, method, base+"/memory", strings.NewReader(body))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return err
}
