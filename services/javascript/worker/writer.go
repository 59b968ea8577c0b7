package worker

import (
	"errors"
	"io"
	"runtime"
	"sync"
)

// maxPending is how many bytes may wait for the socket before writers wait too.
const maxPending = 1 << 20

// writer writes batches of frames. Batches that come while one is being written
// travel together in the next write, and so do those of executions that run at the
// same moment.
type writer struct {
	w io.Writer

	mu      sync.Mutex
	room    sync.Cond // signalled when pending was taken or written, or on an error
	pending []byte
	spare   []byte
	writing bool
	err     error
}

var errClosed = errors.New("the server is gone")

func newWriter(w io.Writer) *writer {
	out := &writer{w: w}
	out.room.L = &out.mu
	return out
}

// write takes a batch; the caller may reuse p afterwards.
func (w *writer) write(p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && w.writing && len(w.pending) > maxPending {
		w.room.Wait()
	}
	if w.err != nil {
		return w.err
	}
	w.pending = append(w.pending, p...)
	if w.writing {
		return nil
	}
	w.writing = true
	// The executions that can go on now do so first: what they have to say
	// travels in the same write.
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	for w.err == nil && len(w.pending) > 0 {
		batch := w.pending
		w.pending, w.spare = w.spare[:0], nil
		w.room.Broadcast()
		w.send(batch)
		if cap(batch) <= maxPending {
			w.spare = batch
		}
	}
	w.writing = false
	w.room.Broadcast()
	return w.err
}

// drain returns when nothing waits to be written.
func (w *writer) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && w.writing {
		w.room.Wait()
	}
}

// send writes p without holding the lock.
func (w *writer) send(p []byte) {
	w.mu.Unlock()
	_, err := w.w.Write(p)
	w.mu.Lock()
	if err != nil && w.err == nil {
		w.err = err
	}
}

// close makes writers stop waiting; what they have is dropped.
func (w *writer) close() {
	w.mu.Lock()
	if w.err == nil {
		w.err = errClosed
	}
	w.room.Broadcast()
	w.mu.Unlock()
}
