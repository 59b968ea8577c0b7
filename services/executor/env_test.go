package executor

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/secrets"
)

// envOf is an env with one variable, V.
func envOf(value string) *cloud.Env { return cloud.NewEnv(map[string]string{"V": value}, nil) }

// change replaces a plan by a changed one: executions may still read the old.
func (b *bench) change(plan *cloud.Plan, change func(*cloud.Plan)) *cloud.Plan {
	next := *plan
	change(&next)
	b.mu.Lock()
	b.plans[plan.Script.ID] = &next
	b.mu.Unlock()
	return &next
}

func TestExecutor_env(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	plan := b.script("app", "env")
	want := func(text string) {
		t.Helper()
		if got := b.get(t, plan); got.body != text {
			t.Errorf("got %s, want %s", got.body, text)
		}
	}
	pid := b.pid(t, "app")
	want(`0`) // nothing is sent to apps without env
	for _, step := range []struct {
		env  *cloud.Env
		want string
	}{
		{cloud.NewEnv(nil, nil), `0`},
		{envOf("one"), `1{"V":"one"}`},
		{envOf("one"), `1{"V":"one"}`}, // the app was loaded anew, and is as it was
		{envOf("two"), `2{"V":"two"}`},
		{nil, `3{}`},
	} {
		plan = b.change(plan, func(p *cloud.Plan) { p.Env = step.env })
		want(step.want)
		want(step.want)
	}
	if b.pid(t, "app") != pid {
		t.Error("the worker was started anew")
	}
	other := b.script("other", "env")
	other.Env = envOf("other's")
	if got := b.get(t, other); got.body != `1{"V":"other's"}` {
		t.Errorf("the other app's env is %s", got.body)
	}
}

// TestExecutor_envFlipFlop runs executions with different envs beside each
// other: each has its own plan's.
func TestExecutor_envFlipFlop(t *testing.T) {
	t.Parallel()
	worker := realWorker(t)
	b := newBench(t, worker)
	var wg sync.WaitGroup
	for i := range 4 {
		// The same script, and so the same runtimes.
		plan := *b.script("app", handler(`await new Promise(r => setTimeout(r, Math.random() * 3)); return env.V`))
		plan.Env = envOf(fmt.Sprint(i))
		plan.Script.ID = fmt.Sprint("script ", i)
		b.mu.Lock()
		b.plans[plan.Script.ID] = &plan
		b.mu.Unlock()
		wg.Go(func() {
			for range 25 {
				if got := b.get(t, &plan); got.body != fmt.Sprint(i) {
					t.Errorf("execution of env %d got %+v", i, got)
				}
			}
		})
	}
	wg.Wait()
}

func TestExecutor_masks(t *testing.T) {
	t.Parallel()
	const secret, pem = "sk_live_12345", "-----BEGIN-----\nMIIEvQIBADAN\n-----END-----"
	b := newBench(t, func(c *Config) {
		c.CanReadLogs = func(p *cloud.Principal, _ string) bool { return p != nil }
		c.MapStack = func(_ *cloud.Build, stack string) string { return stack + " mapped sk_live_12345" }
	})
	plan := b.script("app", "tell in "+secret+" out")
	plan.Env = cloud.NewEnv(map[string]string{"V": "out"}, map[string]string{"TOKEN": secret, "PEM": pem})
	plan.Principal = &cloud.Principal{UserID: "u"}
	got := b.do(t, plan, "GET", "/hook/"+secret, nil)
	if got.status != 500 || !strings.Contains(got.body, "in [TOKEN] out") || strings.Contains(got.body, secret) {
		t.Errorf("answered %s", got.body)
	}
	// The mask does not spread: another app has a secret of its own.
	other := b.script("other", "tell "+secret)
	other.Env = cloud.NewEnv(nil, map[string]string{"OTHER": "another secret"})
	b.get(t, other)

	for _, r := range b.records(t) {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		masked := !strings.Contains(string(text), secret)
		if masked != (r.AppID == "app") {
			t.Errorf("recorded %s", text)
		}
		if r.AppID != "app" {
			continue
		}
		const want = "in [TOKEN] out"
		if len(r.Lines) != 1 || r.Lines[0].Text != want || r.Path != "/hook/[TOKEN]" ||
			*r.Error != (cloud.ScriptError{Name: want, Message: want, Stack: want + " mapped [TOKEN]", Code: want}) {
			t.Errorf("recorded %s", text)
		}
	}
}

// TestExecutor_masksConsole has the engine write secrets in all the ways that it
// knows.
func TestExecutor_masksConsole(t *testing.T) {
	t.Parallel()
	const pem = "-----BEGIN-----\nMIIEvQIB'\"ADAN\n-----END-----"
	b := newBench(t, realWorker(t))
	plan := b.script("app", handler(`
		console.log(env);
		console.log(env.PEM, "and", [env.TOKEN]);
		console.error(JSON.stringify(env));
		console.group("in"); console.log(env.PEM); console.groupEnd();
		console.log(new Error("failed with " + env.TOKEN));
		console.log(new Headers({authorization: "Bearer " + env.TOKEN}));
		ctx.waitUntil(Promise.reject(new Error("late " + env.TOKEN)));
		throw new Error("threw " + env.TOKEN + env.PEM)`))
	plan.Env = cloud.NewEnv(nil, map[string]string{"TOKEN": "sk_live_12345", "PEM": pem})
	b.get(t, plan)
	records := b.records(t)
	if len(records) != 1 || len(records[0].Lines) < 7 || records[0].Error == nil {
		t.Fatalf("recorded %+v", records)
	}
	text := fmt.Sprintf("%+v %+v", records[0].Lines, records[0].Error)
	for _, part := range []string{"sk_live", "MIIEv"} {
		if strings.Contains(text, part) {
			t.Errorf("%q is in %s", part, text)
		}
	}
}

// TestExecutor_masksWhatItLearns has a script print secrets that it sets and reads
// itself, before and after, beside one that is in its env.
func TestExecutor_masksWhatItLearns(t *testing.T) {
	t.Parallel()
	ring, err := secrets.ParseKeyring(strings.Repeat("A", 43) + "=")
	if err != nil {
		t.Fatal(err)
	}
	keeper := secrets.New(secrets.Config{Store: secrets.NewMemory(), Sealer: ring, Authorizer: authz.Policy{}})
	if err := keeper.Set(t.Context(), cloud.Call{AppID: "app", ByScript: true}, "READ", "read_live_1"); err != nil {
		t.Fatal(err)
	}
	worker := realWorker(t)
	b := newBench(t, func(c *Config) {
		worker(c)
		c.Services = c.Services.WithSecrets(keeper)
	})
	built, err := build.New(build.Config{}).Build(t.Context(), cloud.Source{Name: "script", Language: cloud.JavaScript, Text: `
		import { secrets } from "picloud";
		export default async (request, env) => {
			const fresh = "fresh_" + "live_1";
			console.log("before", fresh);
			const set = secrets.set("SET", fresh);
			console.log("during", fresh);
			await set;
			const read = await secrets.get("READ");
			console.log("after", fresh, read, env.TOKEN);
			await secrets.set("no name", "x").catch(() => {});
			throw new Error("threw " + fresh + encodeURIComponent(read));
		};`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	plan := b.script("app", built.Code)
	plan.Script.Build = &built
	plan.Env = cloud.NewEnv(nil, map[string]string{"TOKEN": "sk_live_12345"})
	b.do(t, plan, "GET", "/fresh_live_1", nil)
	records := b.records(t)
	if len(records) != 1 || len(records[0].Lines) < 3 || records[0].Error == nil {
		t.Fatalf("recorded %+v", records)
	}
	r := records[0]
	for i, want := range []string{"before [SET]", "during [SET]", "after [SET] [READ] [TOKEN]"} {
		if r.Lines[i].Text != want {
			t.Errorf("got %q, want %q", r.Lines[i].Text, want)
		}
	}
	if want := "threw [SET][READ]"; r.Error.Message != want || r.Path != "/[SET]" {
		t.Errorf("got %q at %s, want %q", r.Error.Message, r.Path, want)
	}
	if text := fmt.Sprintf("%+v %+v", r, r.Error); strings.Contains(text, "_live_1") {
		t.Errorf("a secret is in %s", text)
	}
}

func TestExecution_hidesWithinBounds(t *testing.T) {
	t.Parallel()
	e := &execution{plan: &cloud.Plan{}}
	for i := range maxHidden + 1 {
		e.hide("S", fmt.Sprintf("secret-%03d", i))
		e.hide("S", fmt.Sprintf("secret-%03d", i)) // counts once
	}
	if got := e.masking().Mask(fmt.Sprintf("secret-%03d secret-%03d", maxHidden-1, maxHidden)); got != fmt.Sprintf("[S] secret-%03d", maxHidden) {
		t.Errorf("got %s", got)
	}
	e = &execution{plan: &cloud.Plan{}}
	e.hide("S", strings.Repeat("x", maxHiddenBytes+1))
	if e.masking() != nil {
		t.Error("a value beyond the bounds is in the mask")
	}
}
