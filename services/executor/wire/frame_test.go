package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestReader_Read(t *testing.T) {
	t.Parallel()
	frames := []Frame{
		{TypeReady, 0, []byte{Version}},
		{TypeResponseEnd, 7, []byte{}},
		{TypeResponseBody, 1<<32 - 1, bytes.Repeat([]byte("x"), MaxChunk)},
		{TypeBody, 1, bytes.Repeat([]byte("y"), MaxFromWorker-5)},
		{TypeEnd, 7, []byte("z")},
	}
	var stream []byte
	for _, f := range frames {
		stream = Append(stream, f.Type, f.ID, f.Payload)
	}
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
	} {
		in := NewReader(r, MaxFromWorker)
		for i, want := range frames {
			got, err := in.Read()
			if err != nil || got.Type != want.Type || got.ID != want.ID || !bytes.Equal(got.Payload, want.Payload) {
				t.Errorf("%s: frame %d: got type %d, id %d, %d bytes, %v", name, i, got.Type, got.ID, len(got.Payload), err)
			}
		}
		if _, err := in.Read(); !errors.Is(err, io.EOF) || in.Buffered() {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
}

func TestReader_Read_bad(t *testing.T) {
	t.Parallel()
	whole := Append(nil, TypeLog, 1, []byte("text"))
	for name, c := range map[string]struct {
		stream []byte
		want   error
	}{
		"nothing":       {nil, io.EOF},
		"half a head":   {whole[:5], io.ErrUnexpectedEOF},
		"no payload":    {whole[:headSize], io.ErrUnexpectedEOF},
		"half of it":    {whole[:len(whole)-1], io.ErrUnexpectedEOF},
		"too short":     {[]byte{0, 0, 0, 4, 1, 0, 0, 0, 0}, ErrMalformed},
		"no length":     {make([]byte, headSize), ErrMalformed},
		"too long":      {[]byte{0, 16, 0, 1, 1, 0, 0, 0, 0}, ErrMalformed},
		"much too long": {bytes.Repeat([]byte{255}, headSize), ErrMalformed},
	} {
		if _, err := NewReader(bytes.NewReader(c.stream), MaxFromWorker).Read(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(Append(Append(nil, TypeReady, 0, []byte{Version}), TypeLog, 1, []byte("text")))
	f.Add([]byte{0, 0, 0, 4, 1, 0, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{255}, headSize))
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := NewReader(bytes.NewReader(stream), 1<<10)
		var again []byte
		for {
			frame, err := in.Read()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrMalformed) {
					t.Errorf("reading ended with %v", err)
				}
				break
			}
			if len(frame.Payload) > 1<<10 {
				t.Errorf("a payload of %d bytes", len(frame.Payload))
			}
			again = Append(again, frame.Type, frame.ID, frame.Payload)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("read %x as %x", stream, again)
		}
	})
}
