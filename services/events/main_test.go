package events_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/picloud/picloud/services/cloudtest"
)

// TestMain runs the tests or, when a test has started this process, a server that
// dies where the test wants it to.
func TestMain(m *testing.M) {
	if order := os.Getenv(serverOrder); order != "" {
		serve(order)
		return
	}
	goleak.VerifyTestMain(m, cloudtest.LeakOptions()...)
}
