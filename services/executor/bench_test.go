package executor

import (
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
	defer log.Stop(b.Context())
	defer x.Stop(b.Context())
	plan := &cloud.Plan{App: cloud.App{ID: "app", Slug: "app"}, Script: cloud.Runnable{
		ID: "script", AppID: "app", Name: "script", Limits: cloud.DefaultLimits,
		Build: &cloud.Build{Code: handler(`return new Response("hello")`), Hash: "hash"},
	}}
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
