package main

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestReadEvents(t *testing.T) {
	t.Parallel()
	stream := ": keep-alive\n\nevent: execution\ndata: {\"a\":\ndata: 1}\n\nid: 7\r\ndata:x\r\n\r\nevent: empty\n\ndata: unfinished"
	var got []string
	err := readEvents(strings.NewReader(stream), func(e event) error {
		got = append(got, e.name+"="+string(e.data))
		return nil
	})
	if want := []string{"execution={\"a\":\n1}", "=x"}; !reflect.DeepEqual(got, want) || !errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v, want %q, EOF", got, err, want)
	}

	stop := errors.New("stop")
	if err := readEvents(strings.NewReader("data: 1\n\n"), func(event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error = %v, want the receiver's", err)
	}
	if err := readEvents(io.MultiReader(strings.NewReader("data: "), endless{}), func(event) error { return nil }); !errors.Is(err, errEventTooLong) {
		t.Errorf("error = %v, want %v", err, errEventTooLong)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func FuzzReadEvents(f *testing.F) {
	f.Add([]byte("event: execution\ndata: {}\n\n"))
	f.Add([]byte(":\r\ndata\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		total := 0
		err := readEvents(strings.NewReader(string(stream)), func(e event) error {
			total += len(e.data)
			return nil
		})
		if !errors.Is(err, io.EOF) {
			t.Errorf("error = %v, want EOF", err)
		}
		if total > len(stream) {
			t.Errorf("%d bytes of data from %d bytes of stream", total, len(stream))
		}
	})
}
