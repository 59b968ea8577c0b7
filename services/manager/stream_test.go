package manager

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/authz"
	"github.com/picloud/picloud/services/cloud"
)

func stays(context.Context) error { return nil }

// A quiet stream shows that it lives, counted from the last event.
func TestStream_heartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := unused(t)
		w := httptest.NewRecorder()
		events := make(chan cloud.Execution)
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.stream(t.Context(), w, events, stays)
		}()
		time.Sleep(m.heartbeat - time.Second)
		events <- cloud.Execution{ID: "e"}
		time.Sleep(m.heartbeat + time.Second) // one after the event, none before
		close(events)
		<-done
		got := w.Body.String()
		if !strings.HasPrefix(got, "event: execution\nid: e\n") || !strings.HasSuffix(got, "\n\n: still here\n\n") || strings.Count(got, ": still here") != 1 {
			t.Errorf("stream = %q", got)
		}
		if !w.Flushed {
			t.Error("nothing was flushed")
		}
	})
}

func TestStream_endsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := unused(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.stream(ctx, httptest.NewRecorder(), nil, stays)
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}

// A busy stream is not watched less than a quiet one.
func TestStream_endsWithTheRightToSeeIt(t *testing.T) {
	for _, test := range []struct {
		err   error
		beats int // that the stream lasts
	}{
		{cloud.Errorf(cloud.CodeUnauthorized, "the session has ended"), 2},
		{cloud.Errorf(cloud.CodeForbidden, "no more"), 2},
		{cloud.Errorf(cloud.CodeNotFound, "the app is gone"), 2},
		{cloud.Errorf(cloud.CodeUnavailable, "the database is away"), 3},
		{context.DeadlineExceeded, 3},
		{nil, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := unused(t)
			ctx, cancel := context.WithCancel(t.Context())
			events := make(chan cloud.Execution)
			asked := 0
			begun := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				m.stream(ctx, httptest.NewRecorder(), events, func(ctx context.Context) error {
					if _, bounded := ctx.Deadline(); !bounded {
						t.Error("the question has no deadline")
					}
					if asked++; asked == 3 {
						cancel()
					}
					if asked < 2 {
						return nil
					}
					return test.err
				})
			}()
			for running := true; running; {
				time.Sleep(time.Second)
				select {
				case events <- cloud.Execution{ID: "e"}:
				case <-done:
					running = false
				}
			}
			want := time.Duration(test.beats) * m.heartbeat
			if got := time.Since(begun).Truncate(m.heartbeat); got != want {
				t.Errorf("%v: the stream lasted %v, want %v", test.err, got, want)
			}
			cancel()
		})
	}
}

func TestNew_namesWhatIsMissing(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, "manager: Config.Store is missing"},
		{Config{Store: struct{ Store }{}}, "manager: Config.Builder is missing"},
		{Config{Store: struct{ Store }{}, Builder: struct{ Builder }{}}, "manager: Config.Authorizer is missing"},
		{Config{Store: struct{ Store }{}, Builder: struct{ Builder }{}, Authorizer: authz.Policy{}}, "manager: Config.Accounts is missing"},
	} {
		if _, err := New(test.config); err == nil || err.Error() != test.want {
			t.Errorf("err = %v, want %s", err, test.want)
		}
	}
}
