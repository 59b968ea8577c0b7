package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dop251/goja"
)

// BenchmarkJSON parses 90 KB of records with the engine's parser and goja's.
func BenchmarkJSON(b *testing.B) {
	var s strings.Builder
	s.WriteString("[")
	for i := range 1000 {
		if i > 0 {
			s.WriteString(",")
		}
		fmt.Fprintf(&s, `{"id":%d,"name":"user number %d","tags":["a","b"],"score":%d.5,"active":true}`, i, i, i)
	}
	s.WriteString("]")
	text := s.String()
	b.Run("engine", func(b *testing.B) {
		r := NewRuntime(&Program{})
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			r.parseJSON(text)
		}
	})
	b.Run("goja", func(b *testing.B) {
		vm := goja.New()
		parse, _ := goja.AssertFunction(vm.Get("JSON").(*goja.Object).Get("parse"))
		v := vm.ToValue(text)
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := parse(goja.Undefined(), v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
