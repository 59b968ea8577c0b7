package wire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// payload is what every payload type can do.
type payload interface{ Append([]byte) []byte }

// kinds are all payload types with a full example of each.
var kinds = []struct {
	name    string
	example payload
	parse   func([]byte) (payload, error)
}{
	{"Load", Load{"hello", "ab12", "(async function(){})"}, parser(ParseLoad)},
	{"Start", Start{
		Program: 3, Handler: "fetch", Wall: time.Second, CPU: 2 * time.Second, RequestBody: 1, ResponseBody: 2, Log: 3,
		ExecutionID: "e", RequestID: "r", App: "shop", Script: "hello", Depth: -1, Method: "GET", URL: "http://h/p?q",
		Headers: []Header{{"a", "b"}, {"a", ""}}, BodyLength: -1, Params: []Header{{"id", "ä\x00"}},
		Principal: &Principal{"u", "Ada", ""},
	}, parser(ParseStart)},
	{"Start for an event", Start{
		Handler: "trigger", Wall: time.Second, ExecutionID: "e", App: "shop", Script: "hello", Depth: 3,
		EventID: "v", Attempt: 2, Event: []byte(`{"kind":"kv"}`), Principal: &Principal{"u", "Ada", "viewer"},
	}, parser(ParseStart)},
	{"Start for nobody", Start{Handler: "fetch"}, parser(ParseStart)},
	{"HostCall", HostCall{math.MaxUint32, "kv.get", []byte(`["c","k"]`)}, parser(ParseHostCall)},
	{"HostResult", HostResult{1, []byte("2"), "limit", "too much"}, parser(ParseHostResult)},
	{"Log", Log{"warn", "text"}, parser(ParseLog)},
	{"Response", Response{200, []Header{{"x", "y"}}, -1}, parser(ParseResponse)},
	{"End", End{"script_threw", &cloud.ScriptError{Name: "E", Message: "m", Stack: "s", Code: "c"}, time.Second, 9, true, false}, parser(ParseEnd)},
	{"End for good", End{Code: "script_threw", NoRetry: true}, parser(ParseEnd)},
	{"End without error", End{}, parser(ParseEnd)},
}

func parser[T payload](parse func([]byte) (T, error)) func([]byte) (payload, error) {
	return func(p []byte) (payload, error) { return parse(p) }
}

func TestPayload(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			text := k.example.Append(nil)
			got, err := k.parse(bytes.Clone(text))
			if err != nil || !reflect.DeepEqual(got, k.example) {
				t.Errorf("got %+v, %v", got, err)
			}
			if _, err := k.parse(append(bytes.Clone(text), 0)); !errors.Is(err, ErrMalformed) {
				t.Errorf("with a byte too many: %v", err)
			}
			for n := range text {
				if _, err := k.parse(text[:n]); !errors.Is(err, ErrMalformed) {
					t.Errorf("cut off after %d of %d bytes: %v", n, len(text), err)
				}
			}
		})
	}
}

func TestParse_keepsNothingOfTheFrame(t *testing.T) {
	t.Parallel()
	text := HostCall{1, "op", []byte("args")}.Append(nil)
	call, err := ParseHostCall(text)
	clear(text)
	if err != nil || call.Op != "op" || string(call.Args) != "args" {
		t.Errorf("got %+v, %v", call, err)
	}
}

func TestParseCredit(t *testing.T) {
	t.Parallel()
	if n, err := ParseCredit(AppendCredit(nil, math.MaxUint32)); n != math.MaxUint32 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for _, p := range [][]byte{nil, {1}, make([]byte, 5)} {
		if _, err := ParseCredit(p); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: got %v", p, err)
		}
	}
}

// FuzzPayloads: what parses survives being written and parsed again, and what
// does not is ErrMalformed.
func FuzzPayloads(f *testing.F) {
	for i, k := range kinds {
		f.Add(uint8(i), k.example.Append(nil))
	}
	f.Add(uint8(7), []byte{200, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, kind uint8, text []byte) {
		k := kinds[int(kind)%len(kinds)]
		first, err := k.parse(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v", err)
			}
			return
		}
		second, err := k.parse(first.Append(nil))
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("first %+v, then %+v, %v", first, second, err)
		}
	})
}
