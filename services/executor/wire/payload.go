package wire

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Each payload type has Append, which appends its encoding to b, and a Parse
// function, which copies what it keeps. Strings are a uvarint length and bytes,
// lists a uvarint count and items, numbers uvarints.

// Header is one field of a message head. Names are in lower case.
type Header struct{ Name, Value string }

// Load hands a built script to the worker.
type Load struct {
	Name string // script name, for stacks
	Hash string // cloud.Build.Hash
	Code string // cloud.Build.Code
}

// Start opens an execution.
type Start struct {
	Program      uint32 // number of a Load frame
	Handler      string // exported handler: "fetch", "scheduled", "trigger" …
	Wall         time.Duration
	CPU          time.Duration
	RequestBody  int64 // bytes that may be buffered
	ResponseBody int64
	Log          int64
	ExecutionID  string
	RequestID    string
	App          string // slug
	Script       string // name
	Depth        int
	EventID      string // of the event that this is an attempt for, or ""
	Attempt      int    // 1 for the first; 0 without an event
	Event        []byte // JSON object: the handler's first argument, unless that is a request
	Method       string
	URL          string // absolute
	Headers      []Header
	BodyLength   int64 // -1: a body of unknown length follows; 0: none
	Params       []Header
	Principal    *Principal // nil: anonymous
}

// Principal is what a script may know of who called it.
type Principal struct {
	ID   string
	Name string
	Role string // in the app; "" for none
}

// HostCall asks the server for something. Args is the JSON array of arguments.
type HostCall struct {
	Call uint32 // number of the call in its execution
	Op   string // such as "kv.get"
	Args []byte
}

// HostResult answers a HostCall: with JSON, or with an error if Code is set.
type HostResult struct {
	Call    uint32
	Value   []byte // JSON; empty is undefined
	Code    string
	Message string
}

// Log is one console line.
type Log struct {
	Level string
	Text  string
}

// Response is the head of the answer.
type Response struct {
	Status  int
	Headers []Header
	Length  int64 // bytes of the body; -1: a stream
}

// End closes an execution.
type End struct {
	Code      string // cloud.Code of a failure; "" if the handler ended well
	Error     *cloud.ScriptError
	CPU       time.Duration
	Peak      int64 // bytes of heap in use at the end; 0 unknown
	Truncated bool  // the log limit was hit
	NoRetry   bool  // the handler asked not to be run again for its event
}

// Append appends the encoding of l.
func (l Load) Append(b []byte) []byte {
	return appendStrings(b, l.Name, l.Hash, l.Code)
}

// ParseLoad reads a Load.
func ParseLoad(p []byte) (l Load, err error) {
	d := decoder{p: p}
	l = Load{Name: d.string(), Hash: d.string(), Code: d.string()}
	return l, d.end("Load")
}

// Append appends the encoding of s.
func (s Start) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(s.Program))
	b = appendStrings(b, s.Handler)
	for _, n := range [...]int64{int64(s.Wall), int64(s.CPU), s.RequestBody, s.ResponseBody, s.Log} {
		b = binary.AppendVarint(b, n)
	}
	b = appendStrings(b, s.ExecutionID, s.RequestID, s.App, s.Script)
	b = binary.AppendVarint(b, int64(s.Depth))
	b = appendStrings(b, s.EventID)
	b = binary.AppendVarint(b, int64(s.Attempt))
	b = appendBytes(b, s.Event)
	b = appendStrings(b, s.Method, s.URL)
	b = appendHeaders(b, s.Headers)
	b = binary.AppendVarint(b, s.BodyLength)
	b = appendHeaders(b, s.Params)
	if s.Principal == nil {
		return append(b, 0)
	}
	return appendStrings(append(b, 1), s.Principal.ID, s.Principal.Name, s.Principal.Role)
}

// ParseStart reads a Start.
func ParseStart(p []byte) (s Start, err error) {
	d := decoder{p: p}
	s = Start{
		Program: d.uint32(), Handler: d.string(),
		Wall: time.Duration(d.int()), CPU: time.Duration(d.int()),
		RequestBody: d.int(), ResponseBody: d.int(), Log: d.int(),
		ExecutionID: d.string(), RequestID: d.string(), App: d.string(), Script: d.string(),
		Depth: int(d.int()), EventID: d.string(), Attempt: int(d.int()), Event: d.bytes(),
		Method: d.string(), URL: d.string(), Headers: d.headers(),
		BodyLength: d.int(), Params: d.headers(),
	}
	switch d.byte() {
	case 0:
	case 1:
		s.Principal = &Principal{ID: d.string(), Name: d.string(), Role: d.string()}
	default:
		d.bad = true
	}
	return s, d.end("Start")
}

// Append appends the encoding of c.
func (c HostCall) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(c.Call))
	b = appendStrings(b, c.Op)
	return appendBytes(b, c.Args)
}

// ParseHostCall reads a HostCall.
func ParseHostCall(p []byte) (c HostCall, err error) {
	d := decoder{p: p}
	c = HostCall{Call: d.uint32(), Op: d.string(), Args: d.bytes()}
	return c, d.end("HostCall")
}

// Append appends the encoding of r.
func (r HostResult) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(r.Call))
	b = appendBytes(b, r.Value)
	return appendStrings(b, r.Code, r.Message)
}

// ParseHostResult reads a HostResult.
func ParseHostResult(p []byte) (r HostResult, err error) {
	d := decoder{p: p}
	r = HostResult{Call: d.uint32(), Value: d.bytes(), Code: d.string(), Message: d.string()}
	return r, d.end("HostResult")
}

// Append appends the encoding of l.
func (l Log) Append(b []byte) []byte { return appendStrings(b, l.Level, l.Text) }

// ParseLog reads a Log.
func ParseLog(p []byte) (l Log, err error) {
	d := decoder{p: p}
	l = Log{Level: d.string(), Text: d.string()}
	return l, d.end("Log")
}

// Append appends the encoding of r.
func (r Response) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(r.Status))
	b = appendHeaders(b, r.Headers)
	return binary.AppendVarint(b, r.Length)
}

// ParseResponse reads a Response.
func ParseResponse(p []byte) (r Response, err error) {
	d := decoder{p: p}
	r = Response{Status: int(d.uint32()), Headers: d.headers(), Length: d.int()}
	return r, d.end("Response")
}

// Append appends the encoding of e.
func (e End) Append(b []byte) []byte {
	b = appendStrings(b, e.Code)
	b = binary.AppendVarint(b, int64(e.CPU))
	b = binary.AppendVarint(b, e.Peak)
	var flags byte
	if e.Truncated {
		flags |= 1
	}
	if e.Error != nil {
		flags |= 2
	}
	if e.NoRetry {
		flags |= 4
	}
	b = append(b, flags)
	if e.Error != nil {
		b = appendStrings(b, e.Error.Name, e.Error.Message, e.Error.Stack, e.Error.Code)
	}
	return b
}

// ParseEnd reads an End.
func ParseEnd(p []byte) (e End, err error) {
	d := decoder{p: p}
	e = End{Code: d.string(), CPU: time.Duration(d.int()), Peak: d.int()}
	flags := d.byte()
	e.Truncated, e.NoRetry = flags&1 != 0, flags&4 != 0
	if flags&2 != 0 {
		e.Error = &cloud.ScriptError{Name: d.string(), Message: d.string(), Stack: d.string(), Code: d.string()}
	}
	return e, d.end("End")
}

// AppendCredit appends the payload of a credit frame.
func AppendCredit(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }

// ParseCredit reads the payload of a credit frame.
func ParseCredit(p []byte) (uint32, error) {
	if len(p) != 4 {
		return 0, fmt.Errorf("%w: a credit of %d bytes", ErrMalformed, len(p))
	}
	return binary.BigEndian.Uint32(p), nil
}

func appendBytes(b, p []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p)))
	return append(b, p...)
}

func appendStrings(b []byte, ss ...string) []byte {
	for _, s := range ss {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func appendHeaders(b []byte, hs []Header) []byte {
	b = binary.AppendUvarint(b, uint64(len(hs)))
	for _, h := range hs {
		b = appendStrings(b, h.Name, h.Value)
	}
	return b
}

// decoder reads from p until something is wrong, then returns zero values.
type decoder struct {
	p   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.p)
	if size <= 0 {
		d.bad, d.p = true, nil
		return 0
	}
	d.p = d.p[size:]
	return n
}

func (d *decoder) uint32() uint32 {
	n := d.uvarint()
	if n > 1<<32-1 {
		d.bad = true
	}
	return uint32(n)
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.p)
	if size <= 0 {
		d.bad, d.p = true, nil
		return 0
	}
	d.p = d.p[size:]
	return n
}

func (d *decoder) byte() byte {
	if len(d.p) == 0 {
		d.bad = true
		return 0
	}
	c := d.p[0]
	d.p = d.p[1:]
	return c
}

func (d *decoder) take() []byte {
	n := d.uvarint()
	if n > uint64(len(d.p)) {
		d.bad, d.p = true, nil
		return nil
	}
	p := d.p[:n]
	d.p = d.p[n:]
	return p
}

func (d *decoder) string() string { return string(d.take()) }

func (d *decoder) bytes() []byte {
	p := d.take()
	if len(p) == 0 {
		return nil
	}
	return append([]byte(nil), p...)
}

func (d *decoder) headers() []Header {
	n := d.uvarint()
	if n > uint64(len(d.p))/2 {
		d.bad, d.p = true, nil
		return nil
	}
	if n == 0 {
		return nil
	}
	hs := make([]Header, n)
	for i := range hs {
		hs[i] = Header{Name: d.string(), Value: d.string()}
	}
	return hs
}

func (d *decoder) end(what string) error {
	if d.bad || len(d.p) != 0 {
		return fmt.Errorf("%w: payload of %s", ErrMalformed, what)
	}
	return nil
}
