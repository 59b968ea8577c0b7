package executor

import (
	"cmp"
	"io"
	"runtime"
	"sync"
)

// maxBacklog is how many bytes may wait for a worker that is slow to read.
const maxBacklog = 8 << 20

// output is the server's end of a worker's socket, for writing. Frames are
// appended to a batch; whoever finds nobody writing writes the batch, and what
// was appended meanwhile goes out together in the next one.
type output struct {
	conn io.Writer

	mu      sync.Mutex
	room    sync.Cond // signalled when pending was emptied
	pending []byte
	spare   []byte
	writing bool
	err     error
	batch   uint64 // number of the batch being gathered
	sent    uint64 // number of the last batch that was written whole
}

func newOutput(conn io.Writer) *output {
	o := &output{conn: conn, batch: 1}
	o.room.L = &o.mu
	return o
}

// begin locks the batch and returns it for appending; commit must follow.
func (o *output) begin() []byte {
	o.mu.Lock()
	return o.pending
}

// commit stores the batch, unlocks it and returns its number. The caller
// flushes, unless it knows that somebody else will.
func (o *output) commit(b []byte) (batch uint64) {
	if o.err == nil {
		o.pending = b
	}
	batch = o.batch
	o.mu.Unlock()
	return batch
}

// wait blocks while more than maxBacklog bytes are waiting to be read by the
// worker.
func (o *output) wait() {
	o.mu.Lock()
	for len(o.pending) > maxBacklog && o.err == nil {
		o.room.Wait()
	}
	o.mu.Unlock()
}

// backlog is how many bytes wait.
func (o *output) backlog() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending)
}

// flush writes the batch unless somebody is writing, who then takes care of it.
// It blocks for one write at most; should more have gathered, spawn runs the
// rest elsewhere.
func (o *output) flush(spawn func(func())) {
	runtime.Gosched() // whoever is about to append as well shares the write
	o.mu.Lock()
	if o.writing || len(o.pending) == 0 {
		o.mu.Unlock()
		return
	}
	o.writing = true
	if o.write() {
		spawn(o.drain)
	}
	o.mu.Unlock()
}

// drain writes until nothing is left. It owns the writing.
func (o *output) drain() {
	o.mu.Lock()
	for o.write() {
	}
	o.mu.Unlock()
}

// write writes one batch, unlocking meanwhile, and reports whether more has
// gathered; if not, nobody is writing any more.
func (o *output) write() (more bool) {
	b := o.pending
	o.pending, o.spare = o.spare[:0], nil
	o.batch++
	o.room.Broadcast()
	o.mu.Unlock()
	_, err := o.conn.Write(b)
	o.mu.Lock()
	switch {
	case err != nil || o.err != nil:
		o.err, o.pending = cmp.Or(o.err, err), nil
		o.room.Broadcast()
	default:
		o.sent = o.batch - 1
		if cap(b) <= 1<<20 {
			o.spare = b
		}
	}
	o.writing = len(o.pending) > 0
	return o.writing
}

// fail refuses all further writing; nothing is spawned any more.
func (o *output) fail(err error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	o.pending = nil
	o.mu.Unlock()
	o.room.Broadcast()
}

// wrote reports whether the batch with this number was written whole.
func (o *output) wrote(batch uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent >= batch
}
