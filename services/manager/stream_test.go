package manager

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// A quiet stream shows that it lives, counted from the last event.
func TestStream_heartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := unused(t)
		w := httptest.NewRecorder()
		events := make(chan cloud.Execution)
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.stream(t.Context(), w, events)
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
			m.stream(ctx, httptest.NewRecorder(), nil)
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}

func TestNew_namesWhatIsMissing(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, "manager: Config.Store is missing"},
		{Config{Store: struct{ Store }{}}, "manager: Config.Builder is missing"},
		{Config{Store: struct{ Store }{}, Builder: struct{ Builder }{}}, "manager: Config.Authorizer is missing"},
	} {
		if _, err := New(test.config); err == nil || err.Error() != test.want {
			t.Errorf("err = %v, want %s", err, test.want)
		}
	}
}
