package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// Bounds of a call of the API.
const (
	callTimeout = time.Minute // a deployment builds scripts on a slow board
	maxAnswer   = 64 << 20    // bytes
)

// client calls the API of one server.
type client struct {
	server server
	http   *http.Client
}

// client finds the server and makes a client for it.
func (c *cli) client() (*client, error) {
	s, err := c.server()
	if err != nil {
		return nil, err
	}
	return newClient(s), nil
}

func newClient(s server) *client {
	return &client{server: s, http: &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         newDialer().DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
		},
		// A redirect would turn a POST into a GET and could carry the key elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// close ends idle connections, so that none outlives its command.
func (cl *client) close() { cl.http.CloseIdleConnections() }

// api is the path of an API resource, each segment escaped.
func api(segments ...string) string {
	var b strings.Builder
	b.WriteString("/api/v1")
	for _, s := range segments {
		b.WriteByte('/')
		if s == "." || s == ".." {
			s = strings.ReplaceAll(s, ".", "%2E") // else URLs treat them as folders
		} else {
			s = url.PathEscape(s)
		}
		b.WriteString(s)
	}
	return b.String()
}

// call makes a request with in (nil for none) as its JSON body and returns the
// answer's body. An answer of 400 and more is a *problem, a server that cannot
// be asked an *unreachable.
func (cl *client) call(ctx context.Context, method, path string, in any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body io.Reader
	header := http.Header{}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
		header.Set("Content-Type", "application/json")
	}
	res, err := cl.send(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := cl.read(res)
	var p *problem
	if errors.As(err, &p) && p.Code == cloud.CodeNotFound {
		p.hint = cl.missingApp(ctx, path)
	}
	return raw, err
}

// missingApp says which apps there are if path is about one that is not there;
// else "".
func (cl *client) missingApp(ctx context.Context, path string) string {
	rest, ok := strings.CutPrefix(path, api("apps")+"/")
	if !ok {
		return ""
	}
	escaped, inside, _ := strings.Cut(rest, "/")
	ref, err := url.PathUnescape(escaped)
	if err != nil {
		return ""
	}
	if inside != "" {
		_, err := cl.call(ctx, "GET", api("apps", ref), nil)
		if p, ok := errors.AsType[*problem](err); ok {
			return p.hint
		}
		return ""
	}
	apps, _, err := fetch[list[app]](ctx, cl, "GET", api("apps"), nil)
	if err != nil || len(apps.Items) == 0 {
		return ""
	}
	slugs := make([]string, len(apps.Items))
	for i, a := range apps.Items {
		slugs[i] = a.Slug
	}
	return fmt.Sprintf("There is no app %s. Apps here: %s.", ref, strings.Join(slugs, ", "))
}

// send makes a request and returns the answer, whatever its status. The caller
// closes its body.
func (cl *client) send(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, cl.server.url+path, body)
	if err != nil {
		return nil, err
	}
	req.Header = header
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "pic/"+version+" ("+runtime.GOOS+"; "+runtime.GOARCH+")")
	}
	if cl.server.token != "" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+cl.server.token)
	}
	res, err := cl.http.Do(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, &unreachable{server: cl.server.url, cause: err}
	}
	return res, nil
}

// read is the body of an answer of the API.
func (cl *client) read(res *http.Response) (json.RawMessage, error) {
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, &unreachable{server: cl.server.url, cause: err}
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	switch {
	case res.StatusCode >= 400 && isJSON:
		return nil, readProblem(cl.server, res.StatusCode, b)
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return nil, fmt.Errorf("%s redirects to %s: give that server with --url", cl.server.url, plain(res.Header.Get("Location")))
	case res.StatusCode == http.StatusNoContent:
		return nil, nil
	case res.StatusCode >= 400 || !isJSON:
		return nil, fmt.Errorf("%s answered %s in a form that is not PiCloud's: is --url right?", cl.server.url, res.Status)
	}
	return b, nil
}

// fetch calls the API and decodes the answer too.
func fetch[T any](ctx context.Context, cl *client, method, path string, in any) (T, json.RawMessage, error) {
	var out T
	raw, err := cl.call(ctx, method, path, in)
	if err != nil || raw == nil {
		return out, raw, err
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, raw, fmt.Errorf("%s answered something this pic does not understand (%w): compare pic version", cl.server.url, err)
	}
	return out, raw, nil
}

// unreachable is a server that gave no answer.
type unreachable struct {
	server string
	cause  error
}

func (e *unreachable) Error() string {
	cause := e.cause
	if wrapped, ok := errors.AsType[*url.Error](cause); ok {
		cause = wrapped.Err
	}
	return fmt.Sprintf("cannot reach %s: %v", e.server, cause)
}

func (e *unreachable) Unwrap() error { return e.cause }
