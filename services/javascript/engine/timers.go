package engine

import (
	"container/heap"
	"time"

	"github.com/dop251/goja"
)

// timers are the pending timeouts of a realm, by the moment they are due and
// then by the order of their making.
type timers struct {
	queue timerQueue
	byID  map[int64]*timer
	last  int64
}

type timer struct {
	id     int64
	due    time.Duration
	seq    int64
	every  time.Duration // 0: once
	repeat bool
	f      goja.Callable
	args   []goja.Value
	index  int // in the queue; -1 outside
}

type timerQueue []*timer

func (q timerQueue) Len() int { return len(q) }
func (q timerQueue) Less(i, j int) bool {
	return q[i].due < q[j].due || q[i].due == q[j].due && q[i].seq < q[j].seq
}
func (q timerQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *timerQueue) Push(x any) {
	t := x.(*timer)
	t.index = len(*q)
	*q = append(*q, t)
}
func (q *timerQueue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	t.index = -1
	return t
}

func (ts *timers) any() bool { return len(ts.queue) > 0 }

func (ts *timers) next() (due time.Duration, ok bool) {
	if len(ts.queue) == 0 {
		return 0, false
	}
	return ts.queue[0].due, true
}

func (ts *timers) clear() {
	clear(ts.queue)
	ts.queue = ts.queue[:0]
	clear(ts.byID)
}

func (ts *timers) add(t *timer) {
	if ts.byID == nil {
		ts.byID = map[int64]*timer{}
	}
	ts.last++
	t.id, t.seq = ts.last, ts.last
	ts.byID[t.id] = t
	heap.Push(&ts.queue, t)
}

func (ts *timers) remove(id int64) {
	t := ts.byID[id]
	if t == nil {
		return
	}
	delete(ts.byID, id)
	if t.index >= 0 {
		heap.Remove(&ts.queue, t.index)
	}
}

// fire runs the timers that were due at the given moment.
func (ts *timers) fire(r *Runtime, at time.Duration) (fired bool, err error) {
	last := ts.last
	for len(ts.queue) > 0 && ts.queue[0].due <= at && ts.queue[0].seq <= last {
		t := heap.Pop(&ts.queue).(*timer)
		if t.repeat {
			ts.last++
			t.seq = ts.last
			t.due = max(t.due+t.every, at)
			heap.Push(&ts.queue, t)
		} else {
			delete(ts.byID, t.id)
		}
		fired = true
		if _, err := t.f(goja.Undefined(), t.args...); err != nil {
			if err := r.uncaught(err); err != nil {
				return fired, err
			}
		}
	}
	return fired, nil
}

// maxDelay is the longest delay of a timer; more counts as 1 ms, as elsewhere.
const maxDelay = 1<<31 - 1

func (r *Runtime) setTimer(name string, repeat bool) func(goja.FunctionCall) goja.Value {
	return func(fc goja.FunctionCall) goja.Value {
		f, ok := goja.AssertFunction(fc.Argument(0))
		if !ok {
			panic(r.vm.NewTypeError("%s: the callback must be a function, not %s", name, r.kindOf(fc.Argument(0))))
		}
		ms := fc.Argument(1).ToFloat()
		if !(ms >= 1 && ms <= maxDelay) {
			ms = 1
		}
		every := time.Duration(ms) * time.Millisecond
		t := &timer{due: now() + every, every: every, repeat: repeat, f: f}
		if len(fc.Arguments) > 2 {
			t.args = append(t.args, fc.Arguments[2:]...)
		}
		r.timers.add(t)
		return r.vm.ToValue(t.id)
	}
}

func (r *Runtime) clearTimer(fc goja.FunctionCall) goja.Value {
	if v := fc.Argument(0); goja.IsNumber(v) || goja.IsString(v) {
		r.timers.remove(v.ToInteger())
	}
	return goja.Undefined()
}
