package manager

import (
	"context"
	"net/http/httptest"
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
			m.stream(context.Background(), w, events)
		}()
		time.Sleep(m.heartbeat - time.Second)
		events <- cloud.Execution{ID: "e"}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		event := w.Body.Len()
		time.Sleep(m.heartbeat)
		synctest.Wait()
		if got, want := w.Body.String()[event:], ": still here\n\n"; event == 0 || got != want {
			t.Errorf("after the event %q, want %q", got, want)
		}
		if !w.Flushed {
			t.Error("nothing was flushed")
		}
		close(events)
		<-done
	})
}

func TestStream_endsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := unused(t)
		ctx, cancel := context.WithCancel(context.Background())
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
