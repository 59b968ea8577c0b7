package engine

import (
	"strings"
	"unicode/utf8"
)

// replaceInvalidUTF8 decodes as the Encoding standard says: each maximal part of
// a malformed sequence becomes one U+FFFD.
func replaceInvalidUTF8(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			size = malformed(b)
		}
		out.WriteRune(r)
		b = b[size:]
	}
	return out.String()
}

// malformed is how many bytes of b, which begins with a malformed sequence, make
// one replacement character: the longest part that a valid sequence could begin
// with, at least one byte.
func malformed(b []byte) int {
	need, low, high := 0, byte(0x80), byte(0xbf)
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		need = 1
	case c >= 0xe0 && c <= 0xef:
		need = 2
		if c == 0xe0 {
			low = 0xa0
		}
		if c == 0xed {
			high = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		need = 3
		if c == 0xf0 {
			low = 0x90
		}
		if c == 0xf4 {
			high = 0x8f
		}
	}
	n := 1
	for ; n <= need && n < len(b) && b[n] >= low && b[n] <= high; n++ {
		low, high = 0x80, 0xbf
	}
	return n
}
