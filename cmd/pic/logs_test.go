package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFollow_Reconnect follows a server that breaks off.
func TestFollow_Reconnect(t *testing.T) {
	t.Parallel()
	const record = `{"id":"%s","script":"hello","method":"GET","path":"/%[1]s","status":200,"started_at":"2026-01-31T12:00:0%[1]sZ"}`
	connections := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/apps/default/executions:tail", func(w http.ResponseWriter, _ *http.Request) {
		connections++
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "event: execution\ndata: "+record+"\n\n", fmt.Sprint(2*connections))
	})
	mux.HandleFunc("GET /api/v1/apps/default/executions", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch connections {
		case 1: // the past: more than the limit asked for
			_, _ = fmt.Fprintf(w, `{"items":[`+record+`]}`, "1")
		case 2: // 3 was missed, 0 was not asked for
			_, _ = fmt.Fprintf(w, `{"items":[`+record+`,`+record+`,`+record+`,`+record+`]}`, "3", "2", "1", "0")
		default:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"status":403,"code":"forbidden","detail":"no more"}`)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := testCLI(t, nil)
		cl := newClient(server{url: "http://pi.local", token: "pic_x"})
		cl.http.Transport = served{mux}
		err := c.follow(t.Context(), cl, logQuery{limit: 1}, nil)
		if err == nil || err.Error() != "no more" {
			t.Errorf("follow = %v, want the refusal", err)
		}
		var got []string
		for line := range strings.Lines(fmt.Sprint(c.out)) {
			got = append(got, strings.Fields(line)[5])
		}
		if want := "/1 /2 /3 /4"; strings.Join(got, " ") != want {
			t.Errorf("shown: %v, want %s", got, want)
		}
	})
}

// served answers requests by a handler, without a network.
type served struct{ http.Handler }

func (s served) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody // as servers have it
	}
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

// TestFollow_Silence follows a server whose connection dies without an end.
func TestFollow_Silence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := testCLI(t, nil)
		cl := newClient(server{url: "http://pi.local", token: "pic_x"})
		begun := time.Now()
		var tails []time.Duration
		cl.http.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"items":[]}`))}
			if strings.HasSuffix(r.URL.Path, ":tail") {
				tails = append(tails, time.Since(begun))
				res.Body = io.NopCloser(&silent{ctx: r.Context(), first: strings.NewReader(": still here\n\n")})
			}
			return res, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		if err := c.follow(ctx, cl, logQuery{limit: 1}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("follow = %v, want the end of its context", err)
		}
		if len(tails) != 2 || tails[1] != silence+firstRetry {
			t.Errorf("connected after %v, want again after %v", tails, silence+firstRetry)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// silent is a body that stays open and brings nothing more.
type silent struct {
	ctx   context.Context
	first io.Reader
}

func (s *silent) Read(p []byte) (int, error) {
	if n, _ := s.first.Read(p); n > 0 {
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
