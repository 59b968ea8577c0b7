package idle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/idle"
)

func TestNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		n := idle.New(10*time.Second, func() { calls++ })
		want := func(after time.Duration, count int) {
			t.Helper()
			time.Sleep(after) // of the bubble's clock
			synctest.Wait()
			if calls != count {
				t.Errorf("%d calls, want %d", calls, count)
			}
		}
		want(time.Hour, 0)
		n.Used()
		want(9*time.Second, 0)
		n.Used()
		want(9*time.Second, 0)
		want(2*time.Second, 1)
		want(time.Hour, 1)
		n.Used()
		want(11*time.Second, 2)
	})
}
