package executor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// countedLog counts the records that it was given, and fails while broken.
type countedLog struct {
	records int
	broken  bool
}

func (l *countedLog) AppendExecutions(_ context.Context, records []cloud.Execution) error {
	if l.broken {
		return errors.New("the store is away")
	}
	l.records += len(records)
	return nil
}

func (l *countedLog) SweepExecutions(context.Context, time.Time, int) error { return nil }

func TestRecorder_Flush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &countedLog{}
		r, err := NewRecorder(RecorderConfig{Store: log})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		r.Flush(t.Context())
		for range 3 {
			r.Add(cloud.Execution{ID: cloud.NewID()})
		}
		r.Flush(t.Context())
		if log.records != 3 || time.Since(begun) != 0 {
			t.Errorf("%d records written after %v, want 3 at once", log.records, time.Since(begun))
		}

		log.broken = true
		r.Add(cloud.Execution{ID: cloud.NewID()})
		r.Flush(t.Context())
		if r.Flush(t.Context()); time.Since(begun) != 0 {
			t.Errorf("a store that is away held up a reader for %v", time.Since(begun))
		}
		log.broken = false
		r.Stop(t.Context())
		if log.records != 4 || r.Dropped() != 0 {
			t.Errorf("%d records written, %d dropped, want 4 and 0", log.records, r.Dropped())
		}
	})
}
