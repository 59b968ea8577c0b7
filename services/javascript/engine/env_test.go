package engine

import (
	"testing"

	"github.com/picloud/picloud/services/executor/wire"
)

func mustEnv(t *testing.T, text string) *Env {
	t.Helper()
	env, err := ParseEnv([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// TestEnv runs executions with different envs on one runtime.
func TestEnv(t *testing.T) {
	t.Parallel()
	r := NewRuntime(mustCompile(t, fetch(`return [Object.keys(env), {...env}]`)))
	one := mustEnv(t, `{"B":"2","A":"1"}`)
	for _, c := range []struct {
		env  *Env
		want string
	}{
		{one, `[["A","B"],{"A":"1","B":"2"}]`},
		{nil, `[[],{}]`},
		{mustEnv(t, `{"A":"3"}`), `[["A"],{"A":"3"}]`},
		{one, `[["A","B"],{"A":"1","B":"2"}]`},
	} {
		h := &recorder{}
		h.x = NewExecution(startOf("GET", "http://localhost/"), h)
		r.Run(h.x, c.env)
		if string(h.body) != c.want {
			t.Errorf("got %s, want %s", h.body, c.want)
		}
	}
}

// TestEnv_frozen: what an execution does to env, the next does not see.
func TestEnv_frozen(t *testing.T) {
	t.Parallel()
	r := NewRuntime(mustCompile(t, `
		Object.freeze = (o) => o;
		return {default: {fetch(request, env) {
			"use strict";
			const seen = [env.A, env.B, env.toString === Object.prototype.toString, Object.isFrozen(env), env.__proto__, {}.polluted];
			for (const change of [() => { env.A = "x" }, () => { env.B = "x" }, () => { delete env.A },
				() => Object.defineProperty(env, "A", {value: "x"}), () => Object.setPrototypeOf(env, {polluted: 1}),
				() => { env.__proto__ = {polluted: 1} }]) {
				try { change(); seen.push("changed") } catch (e) { seen.push(e.name) }
			}
			return seen;
		}}}`))
	env := mustEnv(t, `{"A":"1","__proto__":"p"}`)
	const want = `["1",null,true,true,"p",null,"TypeError","TypeError","TypeError","TypeError","TypeError","TypeError"]`
	for range 2 {
		h := &recorder{}
		h.x = NewExecution(startOf("GET", "http://localhost/"), h)
		end := r.Run(h.x, env)
		if string(h.body) != want {
			t.Errorf("got  %s %+v\nwant %s", h.body, end.Error, want)
		}
	}
}

func TestContext_principal(t *testing.T) {
	t.Parallel()
	r := NewRuntime(mustCompile(t, fetch(`
		try { ctx.principal.role = "app_admin" } catch {}
		try { ctx.principal = {role: "app_admin"} } catch {}
		return [ctx.principal, ctx.principal === ctx.principal, Object.isFrozen(ctx.principal)]`)))
	for _, c := range []struct {
		principal *wire.Principal
		want      string
	}{
		{nil, `[null,true,true]`},
		{&wire.Principal{ID: "u", Name: "Ada", Role: "viewer"}, `[{"id":"u","name":"Ada","role":"viewer"},true,true]`},
		{&wire.Principal{ID: "u", Name: ""}, `[{"id":"u","name":"","role":null},true,true]`},
		{nil, `[null,true,true]`},
	} {
		s := startOf("GET", "http://localhost/")
		s.Principal = c.principal
		h := &recorder{}
		h.x = NewExecution(s, h)
		end := r.Run(h.x, nil)
		if string(h.body) != c.want {
			t.Errorf("got %s %+v, want %s", h.body, end.Error, c.want)
		}
	}
}
