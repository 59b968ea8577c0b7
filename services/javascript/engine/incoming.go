package engine

import (
	"github.com/dop251/goja"
	"github.com/picloud/picloud/services/cloud"
)

// incoming is the request's body on its way in. It is read once: either
// collected, or pulled chunk by chunk.
type incoming struct {
	r        *Runtime
	limit    int64 // bytes that may be collected
	length   int64 // announced; -1 unknown
	chunks   [][]byte
	ended    bool
	broken   string // why it ended early; "" if it did not
	dropped  bool   // nobody reads it any more
	size     int64  // bytes collected
	collects func(data []byte, err goja.Value)
	pulls    func(chunk []byte, end bool, err goja.Value)
}

func (in *incoming) chunk(p []byte) {
	if in.dropped {
		in.r.x.host.GrantBody(len(p))
		return
	}
	if len(p) > 0 {
		in.chunks = append(in.chunks, p)
	}
	in.advance()
}

func (in *incoming) end(reason string) {
	in.ended, in.broken = true, reason
	in.advance()
}

// collect reads everything and calls done once.
func (in *incoming) collect(done func(data []byte, err goja.Value)) {
	in.collects = done
	in.advance()
}

// pull calls next once with the next chunk, the end, or an error.
func (in *incoming) pull(next func(chunk []byte, end bool, err goja.Value)) {
	in.pulls = next
	in.advance()
}

// drop lets the rest of the body pass unread.
func (in *incoming) drop() {
	in.dropped, in.collects, in.pulls = true, nil, nil
	for _, c := range in.chunks {
		in.r.x.host.GrantBody(len(c))
	}
	in.chunks = nil
}

func (in *incoming) error() goja.Value {
	return in.r.newError("Error", "", "the request's body broke off: "+in.broken)
}

func (in *incoming) advance() {
	switch {
	case in.collects != nil:
		in.gather()
	case in.pulls != nil && len(in.chunks) > 0:
		next, c := in.pulls, in.chunks[0]
		in.pulls, in.chunks = nil, in.chunks[1:]
		in.r.x.host.GrantBody(len(c))
		next(c, false, nil)
	case in.pulls != nil && in.ended:
		next := in.pulls
		in.pulls = nil
		if in.broken != "" {
			next(nil, false, in.error())
			return
		}
		next(nil, true, nil)
	}
}

// gather counts what has come of a collected body and finishes it at its end.
func (in *incoming) gather() {
	total := int64(0)
	for _, c := range in.chunks {
		total += int64(len(c))
	}
	if max(total, in.length) > in.limit {
		done := in.collects
		in.drop()
		done(nil, in.r.tooLarge(in.limit))
		return
	}
	if grown := total - in.size; grown > 0 && !in.ended {
		in.r.x.host.GrantBody(int(grown))
	}
	in.size = total
	if !in.ended {
		return
	}
	done := in.collects
	in.collects = nil
	if in.broken != "" {
		done(nil, in.error())
		return
	}
	data := []byte{}
	switch len(in.chunks) {
	case 0:
	case 1:
		data = in.chunks[0]
	default:
		data = make([]byte, 0, total)
		for _, c := range in.chunks {
			data = append(data, c...)
		}
	}
	in.chunks = nil
	done(data, nil)
}

// tooLarge is the error of a body over the limit. Uncaught, it ends the
// execution with its own code.
func (r *Runtime) tooLarge(limit int64) *goja.Object {
	e := r.newError("RangeError", string(cloud.CodeTooLarge), "the body is larger than the "+byteSize(limit)+" that may be buffered; read it as a stream")
	r.platformErrors[e] = cloud.CodeTooLarge
	return e
}
