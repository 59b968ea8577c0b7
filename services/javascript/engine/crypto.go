package engine

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/dop251/goja"
)

// newCrypto is the global crypto.
func (r *Runtime) newCrypto() goja.Value {
	c := r.vm.NewObject()
	_ = c.Set("getRandomValues", r.function("getRandomValues", 1, func(fc goja.FunctionCall) goja.Value {
		obj, _ := fc.Argument(0).(*goja.Object)
		var data []byte
		ok := false
		if obj != nil && obj.ExportType() != typeArrayBuffer {
			data, ok = r.bufferSource(obj)
			switch stringOf(obj.GetSymbol(goja.SymToStringTag)) {
			case "Float32Array", "Float64Array", "DataView", "":
				ok = false
			}
		}
		if !ok {
			panic(r.domException("TypeMismatchError", "crypto.getRandomValues: the argument must be an integer typed array"))
		}
		if len(data) > 65536 {
			panic(r.domException("QuotaExceededError", "crypto.getRandomValues: more than 65536 bytes were asked for"))
		}
		_, _ = rand.Read(data) // never fails
		return obj
	}))
	_ = c.Set("subtle", r.newSubtle())
	_ = c.Set("randomUUID", r.function("randomUUID", 0, func(goja.FunctionCall) goja.Value { return r.vm.ToValue(randomUUID()) }))
	_ = c.DefineDataPropertySymbol(goja.SymToStringTag, r.vm.ToValue("Crypto"), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	return c
}

// randomUUID is a version 4 UUID (RFC 9562, section 5.4).
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
