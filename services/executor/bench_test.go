package executor

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkExecutor_ServeHTTP is the cost of a trivial fetch handler without
// HTTP itself: gate, worker, answer, record.
func BenchmarkExecutor_ServeHTTP(b *testing.B) {
	x, plan := benchExecutor(b, handler(`return new Response("hello")`))
	r := httptest.NewRequestWithContext(cloud.WithPlan(b.Context(), plan), "GET", "/hello", nil)
	r.Header.Set("User-Agent", "bench")
	x.ServeHTTP(&discard{header: http.Header{}}, r) // starts the worker
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		w := &discard{header: http.Header{}}
		for pb.Next() {
			clear(w.header)
			x.ServeHTTP(w, r)
		}
	})
}

// BenchmarkExecutor_Run is the cost of a trivial handler of events.
func BenchmarkExecutor_Run(b *testing.B) {
	x, plan := benchExecutor(b, "(async function(){return {default:{trigger(event){}}}})")
	inv := Invocation{
		Handler: "trigger", Trigger: "kv", EventID: "event", Attempt: 1,
		Event: []byte(`{"id":"event","kind":"kv","op":"set","at":1767225600000,"attempt":1,"depth":0,"collection":"c","key":"k","value":{"n":1}}`),
	}
	run := func() {
		if o, err := x.Run(b.Context(), b.Context(), plan, inv); err != nil || o.Code != "" {
			b.Errorf("got %+v, %v", o, err)
		}
	}
	run() // starts the worker
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			run()
		}
	})
}

// benchExecutor is an executor on the worker that users run, and a plan for code.
func benchExecutor(b *testing.B, code string) (*Executor, *cloud.Plan) {
	b.Helper()
	path, err := buildWorker()
	if err != nil {
		b.Fatal(err)
	}
	log, err := NewRecorder(RecorderConfig{Store: &scriptedLog{}})
	if err != nil {
		b.Fatal(err)
	}
	x, err := New(Config{Worker: path, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx := context.WithoutCancel(b.Context())
		x.Stop(ctx)
		log.Stop(ctx)
	})
	return x, &cloud.Plan{App: cloud.App{ID: "app", Slug: "app"}, Script: cloud.Runnable{
		ID: "script", AppID: "app", Name: "script", Limits: cloud.DefaultLimits,
		Build: &cloud.Build{Code: code, Hash: "hash"},
	}}
}
