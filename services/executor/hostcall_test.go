package executor

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
	"github.com/picloud/picloud/services/kv"
	"github.com/picloud/picloud/services/secrets"
)

func TestExecutor_serveCall(t *testing.T) {
	t.Parallel()
	ring, err := secrets.ParseKeyring(strings.Repeat("A", 43) + "=")
	if err != nil {
		t.Fatal(err)
	}
	x := &Executor{cfg: Config{
		Logger: slog.New(slog.DiscardHandler),
		Services: cloud.Services{}.
			WithKV(kv.New(kv.Config{Store: kv.NewMemory(), Authorizer: authz.Policy{}})).
			WithSecrets(secrets.New(secrets.Config{Store: secrets.NewMemory(), Sealer: ring, Authorizer: authz.Policy{}})),
	}}
	call := cloud.Call{AppID: "app", ByScript: true}
	for _, c := range []struct{ op, args, want string }{
		{"kv.get", `["c","k"]`, ``},
		{"kv.entry", `["c","k"]`, ``},
		{"kv.has", `["c","k"]`, `false`},
		{"kv.set", `["c","k",{"a":"<b>"},{}]`, `{"version":1}`},
		{"kv.set", `["c","k",null,{"if_version":1}]`, `{"version":2}`},
		{"kv.set", `["c","k",[1,2],{"if_version":1}]`, `! conflict`},
		{"kv.set", `["c","k",[1,2],{"ttl_ms":null}]`, `{"version":3}`},
		{"kv.get", `["c","k"]`, `[1,2]`},
		{"kv.has", `["c","k"]`, `true`},
		{"kv.entry", `["c","k"]`, `{"value":[1,2],"version":3}`},
		{"kv.increment", `["c","n",2.5]`, `2.5`},
		{"kv.increment", `["c","n",-1]`, `1.5`},
		{"kv.increment", `["c","k",1]`, `! invalid key`},
		{"kv.getMany", `["c",["n","x","k"]]`, `[{"key":"n","value":1.5,"version":2},{"key":"k","value":[1,2],"version":3}]`},
		{"kv.getMany", `["c",[]]`, `[]`},
		{"kv.list", `["c",{}]`, `{"keys":["k","n"]}`},
		{"kv.list", `["c",{"prefix":"n","values":true}]`, `{"keys":["n"],"values":[1.5]}`},
		{"kv.list", `["none",{}]`, `{"keys":[]}`},
		{"kv.list", `["c",{"limit":2000}]`, `! invalid limit`},
		{"kv.delete", `["c","k"]`, `true`},
		{"kv.delete", `["c","k"]`, `false`},
		{"secrets.get", `["S"]`, ``},
		{"secrets.list", `[]`, `[]`},
		{"secrets.delete", `["S"]`, `false`},
		{"secrets.set", `["S","<v\u00fc>"]`, ``},
		{"secrets.set", `["EMPTY",""]`, ``},
		{"secrets.get", `["S"]`, `"<vü>"`},
		{"secrets.get", `["EMPTY"]`, `""`},
		{"secrets.list", `[]`, `["EMPTY","S"]`},
		{"secrets.delete", `["S"]`, `true`},
		{"deadLetters.replay", `["id"]`, `! unavailable`},
		{"deadLetters.resolve", `["id","why"]`, `! unavailable`},

		{"kv.get", `["","k"]`, `! invalid collection`},
		{"kv.get", `["c"]`, `! invalid arguments`},
		{"kv.get", `["c","k","more"]`, `! invalid arguments`},
		{"kv.get", `{"collection":"c"}`, `! invalid arguments`},
		{"kv.get", ``, `! invalid arguments`},
		{"kv.get", `["c",`, `! invalid arguments`},
		{"kv.get", `["c",7]`, `! invalid key`},
		{"kv.get", `["c",null]`, `! invalid key`},
		{"kv.set", `["c","k",1,{"app_id":"x"}]`, `! invalid options`},
		{"kv.set", `["c","k",1,{"ttl_ms":0}]`, `! invalid ttl`},
		{"kv.set", `["c","k",1,{"ttl_ms":-5}]`, `! invalid ttl`},
		{"kv.set", `["c","k",1,{"ttl_ms":1e300}]`, `! invalid ttl`},
		{"kv.increment", `["c","n","1"]`, `! invalid by`},
		{"kv.getMany", `["c",null]`, `! invalid keys`},
		{"kv.list", `["c",{"limit":"x"}]`, `! invalid query`},
		{"deadLetters.replay", `[]`, `! invalid arguments`},
		{"deadLetters.resolve", `["id",1]`, `! invalid reason`},
		{"secrets.get", `[]`, `! invalid arguments`},
		{"secrets.get", `["no name"]`, `! invalid name`},
		{"secrets.get", `[7]`, `! invalid name`},
		{"secrets.get", `["S","victim"]`, `! invalid arguments`},
		{"secrets.set", `["S"]`, `! invalid arguments`},
		{"secrets.set", `["S",null]`, `! invalid value`},
		{"secrets.set", `["S","a\u0000"]`, `! invalid value`},
		{"secrets.delete", `[null]`, `! invalid name`},
		{"secrets.list", `["victim"]`, `! invalid arguments`},
		{"secrets.drop", `[]`, `! invalid op`},
		{"kv.drop", `[]`, `! invalid op`},
	} {
		value, err := x.serveCall(t.Context(), call, wire.HostCall{Op: c.op, Args: []byte(c.args)}, func(_, _ string) {})
		got := string(value)
		if e, ok := errors.AsType[*cloud.Error](err); ok {
			got = strings.TrimSpace("! " + string(e.Code) + " " + e.Field)
			if e.Code == cloud.CodeConflict {
				got = "! conflict"
			}
		} else if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s\ngot  %s\nwant %s (%v)", c.op, c.args, got, c.want, err)
		}
	}
}

func TestHostResult(t *testing.T) {
	t.Parallel()
	hidden := errors.New("password=hunter2")
	for _, c := range []struct {
		err  error
		want wire.HostResult
	}{
		{nil, wire.HostResult{Call: 7, Value: []byte("1")}},
		{cloud.Invalid("key", "is empty"), wire.HostResult{Call: 7, Code: "invalid", Message: "key: is empty"}},
		{cloud.Errorf(cloud.CodeUnavailable, "away").Because(hidden), wire.HostResult{Call: 7, Code: "unavailable", Message: "away"}},
		{hidden, wire.HostResult{Call: 7, Code: "internal", Message: "the script could not be run"}},
	} {
		var value []byte
		if c.err == nil {
			value = []byte("1")
		}
		got := hostResult(7, value, c.err)
		if got.Call != c.want.Call || string(got.Value) != string(c.want.Value) || got.Code != c.want.Code || got.Message != c.want.Message {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}

func TestExecutor_hostCalls(t *testing.T) {
	t.Parallel()
	kv := newWatchedKV()
	b := newBench(t, func(c *Config) { c.Services = kv.services() })

	t.Run("many at once, each served", func(t *testing.T) {
		if got := b.get(t, b.script("app", "many 900")); got.body != "map[:900]" {
			t.Errorf("got %+v", got)
		}
		entry, _, err := kv.KV.Get(t.Context(), cloud.Call{AppID: "app", ByScript: true}, "c", "k")
		if err != nil || string(entry.Value) != "900" {
			t.Errorf("the sum is %s, %v", entry.Value, err)
		}
	})

	t.Run("beyond the limit they are refused", func(t *testing.T) {
		plan := b.script("app2", "many 50")
		plan.Script.Limits.HostCalls = 20
		if got := b.get(t, plan); got.body != "map[:20 limit:30]" {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("in the caller's name", func(t *testing.T) {
		plan := b.script("app3", `call kv.get ["c","k"]`)
		plan.Principal = &cloud.Principal{UserID: "stranger", Role: cloud.Member}
		if got := b.get(t, plan); !strings.HasPrefix(got.body, "|forbidden|") && !strings.HasPrefix(got.body, "|not_found|") {
			t.Errorf("got %+v", got)
		}
		kv.mu.Lock()
		defer kv.mu.Unlock()
		last := kv.calls[len(kv.calls)-1]
		if last.Principal != plan.Principal || last.AppID != "app3" || last.ExecutionID != last.RequestID {
			t.Errorf("called as %+v", last)
		}
	})
}
