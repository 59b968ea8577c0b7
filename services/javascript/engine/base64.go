package engine

import (
	"encoding/base64"
	"strings"

	"github.com/dop251/goja"
)

// btoa encodes a string of characters up to U+00FF, a byte each.
func (r *Runtime) btoa(fc goja.FunctionCall) goja.Value {
	r.need(fc.Arguments, 1, "'btoa'")
	s := fc.Arguments[0].String()
	b := make([]byte, 0, len(s))
	for _, c := range s {
		if c > 0xff {
			panic(r.domException("InvalidCharacterError", "btoa: the string holds characters beyond Latin-1"))
		}
		b = append(b, byte(c))
	}
	return r.vm.ToValue(base64.StdEncoding.EncodeToString(b))
}

// atob is "forgiving-base64 decode" (Infra, section 7).
func (r *Runtime) atob(fc goja.FunctionCall) goja.Value {
	r.need(fc.Arguments, 1, "'atob'")
	s := strings.Map(func(c rune) rune {
		if strings.ContainsRune("\t\n\f\r ", c) {
			return -1
		}
		return c
	}, fc.Arguments[0].String())
	if len(s)%4 == 0 {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		panic(r.domException("InvalidCharacterError", "The string to be decoded is not correctly encoded."))
	}
	return r.vm.ToValue(latin1(string(b)))
}
