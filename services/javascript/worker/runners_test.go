package worker

import (
	"slices"
	"testing"
	"testing/synctest"
)

func TestRunners(t *testing.T) {
	t.Run("a job that waits holds up no other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := runners{idle: 1}
			release := make(chan struct{})
			var ended int
			for range 3 {
				r.run(func() { <-release })
			}
			r.run(func() { ended++ })
			synctest.Wait()
			if ended != 1 {
				t.Errorf("%d short jobs ended while the long ones wait", ended)
			}
			close(release)
			synctest.Wait()
			if n := len(r.waiting); n != 1 {
				t.Errorf("%d runners wait, want 1", n)
			}
			r.close()
		})
	})
	t.Run("every job runs once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := runners{idle: 2}
			for range 3 {
				got := make(chan int, 5)
				r.run(func() {
					for i := range 5 {
						r.run(func() { got <- i })
					}
				})
				synctest.Wait()
				close(got)
				var order []int
				for i := range got {
					order = append(order, i)
				}
				slices.Sort(order) // runners work side by side
				if !slices.Equal(order, []int{0, 1, 2, 3, 4}) {
					t.Errorf("jobs %v ran", order)
				}
			}
			r.close()
		})
	})
	t.Run("close lets all jobs end", func(t *testing.T) {
		r := runners{idle: 1}
		ended := make(chan struct{}, 10)
		for range 10 {
			r.run(func() { ended <- struct{}{} })
		}
		r.close()
		if len(ended) != 10 {
			t.Errorf("%d jobs ended", len(ended))
		}
	})
}
