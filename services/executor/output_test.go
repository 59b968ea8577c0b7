package executor

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// slowConn lets each write through when told.
type slowConn struct {
	mu     sync.Mutex
	writes []string
	next   chan error
}

func (c *slowConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, string(p))
	c.mu.Unlock()
	if err := <-c.next; err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *slowConn) want(t *testing.T, writes ...string) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.writes, writes) {
		t.Errorf("written was %q, want %q", c.writes, writes)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	test := func(name string, f func(t *testing.T, o *output, c *slowConn, tasks *sync.WaitGroup)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &slowConn{next: make(chan error)}
				var tasks sync.WaitGroup
				f(t, newOutput(c), c, &tasks)
				tasks.Wait()
			})
		})
	}
	put := func(o *output, s string) uint64 { return o.commit(append(o.begin(), s...)) }

	test("what gathers during a write goes out together", func(t *testing.T, o *output, c *slowConn, tasks *sync.WaitGroup) {
		first := put(o, "a")
		tasks.Go(func() { o.flush(func(f func()) { tasks.Go(f) }) })
		c.want(t, "a")
		second := put(o, "b")
		third := put(o, "c")
		o.flush(nil) // somebody is writing, so this does not
		if o.wrote(first) {
			t.Error("it is written before the write has returned")
		}
		c.next <- nil
		c.want(t, "a", "bc")
		if !o.wrote(first) || o.wrote(second) || second != third {
			t.Errorf("written: %v, %v; batches %d, %d, %d", o.wrote(first), o.wrote(second), first, second, third)
		}
		c.next <- nil
		synctest.Wait()
		if !o.wrote(third) {
			t.Error("it is not written")
		}
		o.flush(nil) // nothing is left, so this does not write
		c.want(t, "a", "bc")
	})

	test("a write that fails fails for all that wait", func(t *testing.T, o *output, c *slowConn, tasks *sync.WaitGroup) {
		first := put(o, "a")
		tasks.Go(func() { o.flush(nil) })
		c.want(t, "a")
		put(o, string(make([]byte, maxBacklog+1)))
		tasks.Go(o.wait)
		synctest.Wait()
		c.next <- errors.New("gone")
		tasks.Wait()
		put(o, "b")
		o.flush(nil)
		c.want(t, "a")
		if o.wrote(first) || o.backlog() != 0 {
			t.Errorf("written: %v, backlog %d", o.wrote(first), o.backlog())
		}
	})

	test("a backlog holds up who can wait", func(t *testing.T, o *output, c *slowConn, tasks *sync.WaitGroup) {
		put(o, "a")
		tasks.Go(func() { o.flush(func(f func()) { tasks.Go(f) }) })
		synctest.Wait()
		put(o, string(make([]byte, maxBacklog+1)))
		waited := false
		tasks.Go(func() { o.wait(); waited = true })
		synctest.Wait()
		if waited {
			t.Error("it did not wait")
		}
		c.next <- nil
		synctest.Wait()
		if !waited {
			t.Error("it waits still")
		}
		c.next <- nil
	})
}
