package executor

import (
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/secrets"
)

// TestEngine runs scripts on the worker that users run: what its two halves
// have to agree on.
func TestEngine(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	close(kv.release)
	worker := realWorker(t)
	ring, err := secrets.ParseKeyring(strings.Repeat("A", 43) + "=")
	if err != nil {
		t.Fatal(err)
	}
	kept := secrets.New(secrets.Config{Store: secrets.NewMemory(), Sealer: ring, Authorizer: authz.Policy{}})
	b := newBench(t, func(c *Config) {
		worker(c)
		c.Services = kv.services().WithSecrets(kept)
	})
	withModule := func(body string) string {
		return "(async function(picloud){return {default:{async fetch(request, env, ctx){const {kv, secrets} = picloud;\n" + body + "\n}}}})"
	}
	large := strings.Repeat("0123456789abcdef", 1<<16)
	small := cloud.Limits{RequestBody: 1 << 10, ResponseBody: 1 << 10}
	for _, c := range []struct {
		name, code, body string
		limits           cloud.Limits
		status           int
		want             string // the body, or a part of it if the platform answers
	}{
		{"a string", handler(`return "hi"`), "", cloud.Limits{}, 200, "hi"},
		{"nothing", handler(``), "", cloud.Limits{}, 204, ""},
		{"what is no response", handler(`return () => 1`), "", cloud.Limits{}, 502, "invalid_response"},
		{"the request's body", handler(`return new Response(await request.text())`), large, cloud.Limits{}, 200, large},
		{"a body that streams", handler(`return new Response(request.body)`), large, cloud.Limits{}, 200, large},
		{"a body that streams past the limits", handler(`return new Response(request.body)`), large, small, 200, large},
		{"a body beyond the limit", handler(`return new Response(await request.text())`), large, small, 413, "body_too_large"},
		{"the module", withModule(`const c = kv.collection("c"); await c.set("k", {n: 1}); const e = await c.entry("k");
			await c.increment("n", 2); const list = await c.list({values: true});
			return [await c.get("k"), e.version, await c.get("none"), await c.has("k"), list.keys, list.values, await c.delete("k")]`), "",
			cloud.Limits{}, 200, `[{"n":1},1,null,true,["k","n"],[{"n":1},2],true]`},
		{"an empty page", withModule(`const c = kv.collection("empty"); return (await c.list({values: true})).values.length === 0`), "", cloud.Limits{}, 200, "true"},
		{"an entry that expires", withModule(`const c = kv.collection("x"); await c.set("k", 1, {ttl: 60});
			const e = await c.entry("k"); return e.expiresAt instanceof Date && e.expiresAt > Date.now() + 50000`), "", cloud.Limits{}, 200, "true"},
		{"secrets", withModule(`await secrets.set("S", "a\nb"); await secrets.set("EMPTY", "");
			return [await secrets.get("S"), await secrets.get("EMPTY"), await secrets.get("NONE") === undefined, await secrets.list(), await secrets.delete("S"), await secrets.delete("S")]`), "",
			cloud.Limits{}, 200, `["a\nb","",true,["EMPTY","S"],true,false]`},
		{"a secret too large", withModule(`try { await secrets.set("S", "x".repeat(65537)) } catch (e) { return [e.name, e.code] }`), "", cloud.Limits{}, 200, `["Error","limit"]`},
		{"a stranger, and no env", handler(`return [ctx.principal, env]`), "", cloud.Limits{}, 200, `[null,{}]`},
		{"a refused call", withModule(`try { await kv.collection("c").get("x".repeat(600)) } catch (e) { return [e.name, e.code] }`), "", cloud.Limits{}, 200, `["TypeError","invalid"]`},
		{"a call too many", withModule(`try { for (let i = 0; i < 9; i++) await kv.collection("c").get("k") } catch (e) { return e.code }`), "",
			cloud.Limits{HostCalls: 5}, 200, "limit"},
		{"an exception", handler(`throw new Error("broken")`), "", cloud.Limits{}, 500, "script_threw"},
		{"CPU", handler(`for (;;) {}`), "", cloud.Limits{CPU: 20 * time.Millisecond, Wall: time.Minute}, 507, "cpu_exceeded"},
		{"time", handler(`await new Promise(() => setTimeout(() => {}, 1e6))`), "", cloud.Limits{Wall: 20 * time.Millisecond}, 504, "timeout"},
		{"memory", handler(`const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1))`), "", cloud.Limits{}, 507, "memory_exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := b.script("app", c.code)
			plan.Script.Limits = c.limits.Or(cloud.DefaultLimits)
			var got answer
			if c.body == "" {
				got = b.get(t, plan)
			} else {
				got = b.do(t, plan, "POST", "/", strings.NewReader(c.body))
			}
			ok := got.body == c.want
			if status := got.status; status >= 400 {
				ok = strings.Contains(got.body, `"code":"`+c.want+`"`)
			}
			if got.status != c.status || !ok {
				t.Errorf("got %d %.300s %v", got.status, got.body, got.err)
			}
		})
	}

	t.Run("knows env and who calls, and acts for them", func(t *testing.T) {
		plan := b.script("app", withModule(`let denied;
			try { await secrets.set("EMPTY", "x") } catch (e) { denied = e.code }
			return [env, ctx.principal, denied, await secrets.get("EMPTY")]`))
		plan.Env = cloud.NewEnv(map[string]string{"V": "1"}, map[string]string{"S": "secret"})
		plan.Principal = &cloud.Principal{UserID: "u", Name: "Ada", Role: cloud.Member, Apps: map[string]cloud.AppRole{"app": cloud.Viewer}}
		if got := b.get(t, plan); got.body != `[{"S":"secret","V":"1"},{"id":"u","name":"Ada","role":"viewer"},"forbidden",""]` {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("goes on after the answer", func(t *testing.T) {
		got := b.get(t, b.script("late", withModule(`ctx.waitUntil((async () => { await kv.collection("late").delete("k"); console.log("done") })());
			return new Response("first")`)))
		if got.body != "first" {
			t.Errorf("got %+v", got)
		}
		<-kv.held // by delete, in the test above and in this one
		<-kv.held
		for _, record := range b.records(t) {
			if record.AppID == "late" && (len(record.Lines) != 1 || record.Lines[0].Text != "done" || record.Code != "") {
				t.Errorf("recorded was %+v", record)
			}
		}
	})
}
