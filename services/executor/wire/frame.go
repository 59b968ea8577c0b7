// Package wire is the protocol between the server and a worker: frames over one
// stream socket, multiplexed by execution. It imports the standard library and
// package cloud alone; both halves share it.
//
// A frame is
//
//	length  uint32  big endian: bytes that follow, 5 at least
//	type    uint8
//	id      uint32  big endian: the execution, or 0 for the worker itself
//	payload length-5 bytes
//
// The server trusts nothing that a worker sends: an unknown type, an overlong
// frame or a payload that does not parse ends the worker.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is what the worker's Ready frame must carry.
const Version = 3

// Type is the kind of a frame.
type Type uint8

// From the server to the worker.
const (
	TypeLoad       Type = iota + 1 // id: program number; payload Load
	TypeUnload                     // id: program number; no payload. No execution of it is running
	TypeEnv                        // id 0; payload: JSON object of strings, the app's env
	TypeStart                      // payload Start; opens the execution
	TypeBody                       // payload: bytes of the request body, within the credit
	TypeBodyEnd                    // no payload: the request body is complete
	TypeBodyError                  // payload: message; the request body broke off
	TypeHostResult                 // payload HostResult
	TypeCredit                     // payload: uint32, more response body bytes that the worker may send
	TypeCancel                     // no payload: nobody waits for the answer any more
)

// From the worker to the server.
const (
	TypeReady        Type = iota + 65 // id 0; payload: one byte Version; the fences stand
	TypeHostCall                      // payload HostCall
	TypeLog                           // payload Log
	TypeResponse                      // payload Response: the head
	TypeResponseBody                  // payload: bytes of the response body, within the credit
	TypeResponseEnd                   // no payload: the response is complete; waitUntil may go on
	TypeBodyCredit                    // payload: uint32, more request body bytes that the server may send
	TypeEnd                           // payload End; closes the execution. Nothing with this id follows
)

// Bounds of a frame's length field, and of one body chunk's payload.
const (
	MaxFromServer = 32 << 20
	MaxFromWorker = 1 << 20
	MaxChunk      = 64 << 10
)

// InitialCredit is how many bytes of a body either side may send before the
// other grants more.
const InitialCredit = 256 << 10

const headSize = 9

// Frame is one message. Payload is valid until the next Read of its Reader.
type Frame struct {
	Type    Type
	ID      uint32
	Payload []byte
}

// ErrMalformed is in the chain of every error about a frame's content.
var ErrMalformed = errors.New("malformed frame")

// Reader reads frames. It is not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	max int
	buf []byte
}

// NewReader returns a Reader that refuses frames whose length is over limit
// (MaxFromServer or MaxFromWorker).
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), max: limit}
}

// Read returns the next frame: io.EOF at a clean end, io.ErrUnexpectedEOF inside
// a frame, ErrMalformed for a bad length.
func (r *Reader) Read() (Frame, error) {
	head, err := r.r.Peek(headSize)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	n := int(binary.BigEndian.Uint32(head))
	f := Frame{Type: Type(head[4]), ID: binary.BigEndian.Uint32(head[5:])}
	if n < headSize-4 || n > r.max {
		return Frame{}, fmt.Errorf("%w: length %d of a type %d frame", ErrMalformed, n, f.Type)
	}
	_, _ = r.r.Discard(headSize)
	n -= headSize - 4
	if cap(r.buf) < n || cap(r.buf) > 1<<20 && n < 64<<10 {
		r.buf = make([]byte, n, max(n, 4<<10))
	}
	f.Payload = r.buf[:n]
	if _, err := io.ReadFull(r.r, f.Payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return f, nil
}

// Buffered tells whether more bytes have arrived than were read; a reader
// that answers can then wait with flushing.
func (r *Reader) Buffered() bool { return r.r.Buffered() > 0 }

// Append appends a frame to b.
func Append(b []byte, t Type, id uint32, payload []byte) []byte {
	b, start := Begin(b, t, id)
	return Finish(append(b, payload...), start)
}

// Begin appends the head of a frame whose payload the caller appends next;
// Finish then sets its length. start is where the frame begins in b.
func Begin(b []byte, t Type, id uint32) (_ []byte, start int) {
	start = len(b)
	b = append(b, 0, 0, 0, 0, byte(t))
	return binary.BigEndian.AppendUint32(b, id), start
}

// Finish sets the length of the frame that begins at start.
func Finish(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
