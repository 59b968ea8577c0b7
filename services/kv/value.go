package kv

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
)

// maxDepth bounds how deeply arrays and objects nest (ours).
const maxDepth = 500

// checkValue refuses what is not JSON, and JSON that not every store can keep or
// give back: the character U+0000, halves of surrogate pairs, numbers outside
// the range of IEEE 754 doubles.
//
// Stores keep values as PostgreSQL's jsonb does: white space, the order of an
// object's names and all but the last of equal names are lost; numbers keep their
// digits but are written out without an exponent, so that they count with their
// full length here.
func checkValue(value json.RawMessage) error {
	if len(value) > cloud.MaxKVValue {
		return tooLarge(len(value))
	}
	if !json.Valid(value) {
		return cloud.Invalid("value", "is not JSON")
	}
	if !utf8.Valid(value) {
		return cloud.Invalid("value", "is not valid UTF-8")
	}
	depth, size := 0, len(value)
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case c == '"':
			end, err := checkString(value, i+1)
			if err != nil {
				return err
			}
			i = end
		case c == '-' || c >= '0' && c <= '9':
			end, grown, err := checkNumber(value, i)
			if err != nil {
				return err
			}
			size += grown
			i = end
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return cloud.Invalid("value", "nests more than %d levels deep", maxDepth)
			}
			i++
		case c == ']' || c == '}':
			depth--
			i++
		default:
			i++
		}
	}
	if size > cloud.MaxKVValue {
		return tooLarge(size)
	}
	return nil
}

func tooLarge(size int) error {
	e := cloud.Errorf(cloud.CodeLimit, "the value has %d bytes; at most %d are allowed", size, cloud.MaxKVValue)
	e.Field = "value"
	return e
}

// checkString checks the escapes of the valid string that starts at i, behind
// its quote, and returns the position behind its end.
func checkString(b []byte, i int) (int, error) {
	for b[i] != '"' {
		if b[i] != '\\' {
			i++
			continue
		}
		if b[i+1] != 'u' {
			i += 2
			continue
		}
		switch r := escape(b, i); {
		case r == 0:
			return 0, cloud.Invalid("value", "holds the character U+0000, which cannot be kept in a string")
		case r >= 0xDC00 && r < 0xE000:
			return 0, cloud.Invalid("value", "holds half of a surrogate pair, which is no character")
		case r >= 0xD800 && r < 0xDC00:
			if low := escape(b, i+6); low < 0xDC00 || low >= 0xE000 {
				return 0, cloud.Invalid("value", "holds half of a surrogate pair, which is no character")
			}
			i += 6
		}
		i += 6
	}
	return i + 1, nil
}

// escape is the code unit of the \uXXXX at i, or -1 if there is none.
func escape(b []byte, i int) int {
	if i+6 > len(b) || b[i] != '\\' || b[i+1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// checkNumber checks the range of the valid number that starts at i. It returns
// the position behind its end, and by how many bytes at most it grows when it is
// written out.
func checkNumber(b []byte, i int) (end, grown int, err error) {
	exponent := -1
	for end = i; end < len(b); end++ {
		c := b[end]
		if c == 'e' || c == 'E' {
			exponent = end + 1
		} else if c != '+' && c != '-' && c != '.' && (c < '0' || c > '9') {
			break
		}
	}
	text := string(b[i:end])
	if exponent < 0 && end-i < 300 {
		return end, 0, nil
	}
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		return 0, 0, cloud.Invalid("value", "holds the number %.40s, which is outside the range of numbers", text)
	}
	if exponent < 0 {
		return end, 0, nil
	}
	n, err := strconv.Atoi(string(b[exponent:end]))
	if err != nil || n > 1000 || n < -1000 {
		return 0, 0, cloud.Invalid("value", "holds the number %.40s, whose exponent is outside the range of numbers", text)
	}
	return end, max(n, -n), nil
}
