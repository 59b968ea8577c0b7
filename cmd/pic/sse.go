package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxEvent bounds one event of a stream in bytes; a record with the longest log
// fits several times.
const maxEvent = 16 << 20

var errEventTooLong = errors.New("the server sent an event that is too long")

// event is one message of an event stream.
type event struct {
	name string
	data []byte
}

// readEvents calls got for each event of stream until the stream ends, which is
// io.EOF, or got fails. It follows section 9.2.6 of the HTML standard without ids
// and retry times, which this API does not send.
func readEvents(stream io.Reader, got func(event) error) error {
	lines := bufio.NewReaderSize(stream, 64<<10)
	var e event
	var data bytes.Buffer
	for {
		line, err := readLine(lines, maxEvent-data.Len())
		if err != nil {
			return err
		}
		if len(line) == 0 {
			if data.Len() > 0 {
				e.data = bytes.TrimSuffix(bytes.Clone(data.Bytes()), []byte("\n"))
				if err := got(e); err != nil {
					return err
				}
			}
			e = event{}
			data.Reset()
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			e.name = string(value)
		case "data":
			data.Write(value)
			data.WriteByte('\n')
		}
	}
}

// readLine is the next line without its end (LF or CRLF), of at most most bytes.
// A last line without an end is no line.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, errEventTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
