package executor

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/executor/wire"
)

// maxSmallBody is the size in bytes up to which a request body is read before
// the execution starts, so that it travels with the start and a slow sender
// holds no place meanwhile.
const maxSmallBody = 16 << 10

// receive reads the request body if it is small, and returns it.
func (e *execution) receive(r *http.Request) ([]byte, error) {
	if r.ContentLength <= 0 || r.ContentLength > maxSmallBody {
		return nil, nil
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// startFrame is what the worker is told of the execution; streamed says that
// the body follows.
func (e *execution) startFrame(r *http.Request) (start wire.Start, streamed bool) {
	length := r.ContentLength
	if r.Body == nil || r.Body == http.NoBody {
		length = 0
	}
	start = e.start()
	start.Method, start.URL, start.Headers, start.BodyLength = r.Method, e.url(r), requestHeaders(r), length
	return start, length < 0 || length > maxSmallBody
}

// start is what the worker is told of every execution.
func (e *execution) start() wire.Start {
	limits := &e.plan.Script.Limits
	return wire.Start{
		Handler: e.handler,
		Wall:    limits.Wall, CPU: limits.CPU,
		RequestBody: limits.RequestBody, ResponseBody: limits.ResponseBody, Log: int64(limits.Log),
		ExecutionID: e.id0, RequestID: e.requestID, EventID: e.eventID, Attempt: e.attempt, Depth: e.depth,
		App: e.plan.App.Slug, Script: e.plan.Script.Name,
		Params: params(e.plan.Params), Principal: principal(e.plan),
	}
}

// url is the absolute URL that the script sees.
func (e *execution) url(r *http.Request) string {
	if e.plan.URL != "" {
		return e.plan.URL
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.Host + r.URL.RequestURI()
}

// principal is what the script may know of who called it.
func principal(plan *cloud.Plan) *wire.Principal {
	p := plan.Principal
	if p == nil {
		return nil
	}
	return &wire.Principal{ID: p.UserID, Name: p.Name, Role: string(p.RoleIn(plan.App.ID))}
}

func params(m map[string]string) []wire.Header {
	if len(m) == 0 {
		return nil
	}
	ps := make([]wire.Header, 0, len(m))
	for name, value := range m {
		ps = append(ps, wire.Header{Name: name, Value: value})
	}
	slices.SortFunc(ps, func(a, b wire.Header) int { return strings.Compare(a.Name, b.Name) })
	return ps
}

// requestHeaders are the fields that a script sees: without those of the
// connection, which end here (RFC 9110, section 7.6.1), without X-PiCloud-*,
// which nobody outside may set, and without PiCloud's own credentials, valid or
// not, which are not the script's to see.
func requestHeaders(r *http.Request) []wire.Header {
	hs := make([]wire.Header, 0, len(r.Header)+1)
	if r.Host != "" {
		hs = append(hs, wire.Header{Name: "host", Value: r.Host})
	}
	named := r.Header["Connection"]
	for name, values := range r.Header {
		lower := lowerCase(name)
		if hopByHop(lower) || lower == "content-length" ||
			len(named) > 0 && connectionNames(named, lower) {
			continue
		}
		for _, v := range values {
			if v, ok := cloud.WithoutCredentials(lower, v); ok {
				hs = append(hs, wire.Header{Name: lower, Value: v})
			}
		}
	}
	if r.ContentLength > 0 {
		hs = append(hs, wire.Header{Name: "content-length", Value: itoa(r.ContentLength)})
	}
	return hs
}

// hopByHop tells whether a field, in lower case, is about one connection.
func hopByHop(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
		"te", "trailer", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// connectionNames tells whether Connection values list the field.
func connectionNames(values []string, name string) bool {
	for _, v := range values {
		for token := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(textproto.TrimString(token), name) {
				return true
			}
		}
	}
	return false
}

// lowerNames spares an allocation for the fields that most requests have.
var lowerNames = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for _, n := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection",
		"Content-Length", "Content-Type", "Cookie", "Dnt", "If-Modified-Since", "If-None-Match", "Origin",
		"Pragma", "Priority", "Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform",
		"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Upgrade-Insecure-Requests",
		"User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id",
	} {
		m[n] = strings.ToLower(n)
	}
	return m
})

func lowerCase(name string) string {
	if l, ok := lowerNames()[name]; ok {
		return l
	}
	return strings.ToLower(name)
}

// requestID is what the sender calls the request, if that is 1 to 128 visible
// ASCII characters, else fallback.
func requestID(r *http.Request, fallback string) string {
	values := r.Header["X-Request-Id"]
	if len(values) != 1 || values[0] == "" || len(values[0]) > 128 {
		return fallback
	}
	for _, c := range []byte(values[0]) {
		if c <= ' ' || c > '~' {
			return fallback
		}
	}
	return values[0]
}

var chunks = sync.Pool{New: func() any { return new([wire.MaxChunk]byte) }}

// pump carries the request body to the worker as far as it accepts it, until
// the body or the execution ends.
func (e *execution) pump(body io.Reader) {
	chunk := chunks.Get().(*[wire.MaxChunk]byte)
	defer chunks.Put(chunk)
	w := e.worker
	for {
		e.mu.Lock()
		for e.bodyRoom == 0 && !e.ended && !e.detached && !e.answered {
			e.room.Wait()
		}
		n := min(e.bodyRoom, wire.MaxChunk)
		over := e.ended || e.detached
		e.mu.Unlock()
		if over || n == 0 {
			return
		}
		got, err := body.Read(chunk[:n])
		e.mu.Lock()
		e.bodyRead = errors.Is(err, io.EOF)
		e.bodyRoom -= int64(got)
		over = e.ended || e.detached
		e.mu.Unlock()
		if over {
			return
		}
		w.out.wait()
		b := w.out.begin()
		if got > 0 {
			b = wire.Append(b, wire.TypeBody, e.id, chunk[:got])
		}
		switch {
		case errors.Is(err, io.EOF):
			b = wire.Append(b, wire.TypeBodyEnd, e.id, nil)
		case err != nil:
			b = wire.Append(b, wire.TypeBodyError, e.id, []byte("the request body broke off"))
		}
		w.out.commit(b)
		w.out.flush(w.spawn)
		if err != nil {
			return
		}
	}
}

// pumped runs pump beside the answer and returns what stops it and waits.
func (e *execution) pumped(w http.ResponseWriter, r *http.Request) (stop func()) {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // HTTP/1 only; elsewhere it is so anyway
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.pump(r.Body)
	}()
	return func() {
		e.mu.Lock()
		e.detached = true
		read := e.bodyRead
		e.mu.Unlock()
		e.room.Broadcast()
		if !read {
			// It may be waiting for a sender to whom nobody listens any more. What is
			// left of the body is in the way of other requests, and the interruption
			// cancels their context.
			_ = rc.SetReadDeadline(time.Unix(1, 0))
			defer lastOfConnection(w)
		}
		<-done
	}
}

// announceClose tells the client of lastOfConnection while it still can be
// told: when the answer begins before the request body was read.
func (e *execution) announceClose(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	read := e.bodyRead
	e.mu.Unlock()
	if !read && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// lastOfConnection has a connection of HTTP/1 closed when the answer is sent.
func lastOfConnection(w http.ResponseWriter) {
	for {
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = inner.Unwrap()
	}
	// Only a body that is too large does that once the head is written.
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0))
}
