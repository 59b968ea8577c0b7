package executor

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// FuzzWorkerFrames feeds the server's reading side what a worker could send:
// whatever comes, it ends with an error or the stream's end, holds no more than
// was granted, and every execution that ends gives its place back.
func FuzzWorkerFrames(f *testing.F) {
	frame := func(t wire.Type, id uint32, payload []byte) []byte { return wire.Append(nil, t, id, payload) }
	head := frame(wire.TypeResponse, 1, wire.Response{Status: 200, Length: 2, Headers: []wire.Header{{Name: "a", Value: "b"}}}.Append(nil))
	body := frame(wire.TypeResponseBody, 1, []byte("ok"))
	fin := frame(wire.TypeResponseEnd, 1, nil)
	end := frame(wire.TypeEnd, 1, wire.End{Code: "script_threw", Error: &cloud.ScriptError{Name: "E"}}.Append(nil))
	call := frame(wire.TypeHostCall, 2, wire.HostCall{Call: 1, Op: "kv.get", Args: []byte(`["c","k"]`)}.Append(nil))
	log := frame(wire.TypeLog, 2, wire.Log{Level: "info", Text: "x"}.Append(nil))
	credit := frame(wire.TypeBodyCredit, 2, wire.AppendCredit(nil, 1<<20))
	f.Add(bytes.Join([][]byte{head, body, fin, call, log, credit, end}, nil))
	f.Add(bytes.Join([][]byte{body, head}, nil))
	f.Add(bytes.Join([][]byte{end, end}, nil))
	f.Add(frame(wire.TypeReady, 0, []byte{1}))
	f.Add(bytes.Join([][]byte{
		frame(wire.TypeResponse, 2, wire.Response{Status: 200, Length: -1}.Append(nil)), frame(wire.TypeResponseBody, 2, []byte("dropped")),
		frame(wire.TypeEnd, 3, wire.End{NoRetry: true}.Append(nil)),
	}, nil))
	f.Add(frame(wire.TypeResponse, 3, wire.Response{Status: 200, Length: 0}.Append(nil)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		x := &Executor{
			cfg:   Config{Logger: slog.New(slog.DiscardHandler), Now: time.Now, NewID: cloud.NewID, MapStack: func(_ *cloud.Build, s string) string { return s }},
			gate:  &gate{capacity: 3, share: 3, eventCapacity: 2, eventShare: 2, apps: map[string]*gateApp{}},
			tally: &tally{empty: make(chan struct{})},
		}
		w := &worker{
			in: wire.NewReader(bytes.NewReader(stream), wire.MaxFromWorker), out: newOutput(io.Discard),
			executions: map[uint32]*execution{}, programs: map[string]*program{}, latest: map[string]string{},
			deaths: &atomic.Int64{}, idle: time.Hour, idleTimer: time.NewTimer(time.Hour),
		}
		defer w.idleTimer.Stop()
		w.argsRoom.L = &w.argsMu
		plan := &cloud.Plan{App: cloud.App{ID: "app"}, Script: cloud.Runnable{Limits: cloud.DefaultLimits, Build: &cloud.Build{}}}
		var executions []*execution
		for id := range uint32(3) {
			e := newExecution(x, plan)
			e.handler, e.event = fetchHandler, id > 0
			if id == 2 {
				e.handler = "trigger"
			}
			e.id, e.worker, e.program = id+1, w, &program{running: 1}
			w.executions[e.id] = e
			executions = append(executions, e)
			if !x.tally.add() || x.gate.enter(t.Context(), e.lane(), "app") != nil {
				t.Fatal("no place")
			}
		}
		err := w.read()
		if err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errViolation) {
			t.Errorf("reading ended with %v", err)
		}
		running := 0
		for _, e := range executions {
			if e.event && len(e.body) > 0 || len(e.body) > wire.InitialCredit+wire.MaxChunk || len(e.lines) > maxLines {
				t.Errorf("held are %d bytes of body, %d lines", len(e.body), len(e.lines))
			}
			if !e.ended {
				running++
				e.close(wire.End{}, nil)
			}
			e.side(false)
		}
		if running != len(w.executions) {
			t.Errorf("%d have not ended, the worker has %d", running, len(w.executions))
		}
		w.tasks.Wait()
		x.tally.close()
		var done sync.WaitGroup
		done.Go(func() { <-x.tally.empty })
		done.Wait()
		if n, _ := x.gate.count(); n != 0 {
			t.Errorf("%d places are taken", n)
		}
	})
}
