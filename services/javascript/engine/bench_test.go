package engine

import (
	"testing"

	"github.com/picloud/picloud/services/executor/wire"
)

func BenchmarkFetchKV(b *testing.B) {
	p := mustCompile(b, `const c = picloud.kv.collection("c"); return {default: {async fetch() { return Response.json(await c.get("k")) }}}`)
	r := NewRuntime(p)
	s := startOf("GET", "http://localhost/hello")
	b.ReportAllocs()
	for b.Loop() {
		h := &recorder{answers: func(string, string) wire.HostResult { return wire.HostResult{Value: []byte(`{"a":1}`)} }}
		h.x = NewExecution(s, h)
		if end := r.Run(h.x, nil); end.Code != "" || !h.ended {
			b.Fatal(end)
		}
	}
}
