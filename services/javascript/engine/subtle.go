package engine

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // for those who must speak to what knows nothing else
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"
	"strings"

	"github.com/dop251/goja"
)

// hashes are those of Web Cryptography, section 18.
var hashes = map[string]func() hash.Hash{
	"SHA-1":   sha1.New,
	"SHA-256": sha256.New,
	"SHA-384": sha512.New384,
	"SHA-512": sha512.New,
}

// hmacKey is the state of a CryptoKey.
type hmacKey struct {
	hash        string // a name in hashes
	secret      []byte
	extractable bool
	usages      []string
}

func (k *hmacKey) sign(data []byte) []byte {
	mac := hmac.New(hashes[k.hash], k.secret)
	mac.Write(data)
	return mac.Sum(nil)
}

// newSubtle is crypto.subtle: digest, and HMAC with keys in the format raw (Web
// Cryptography, sections 14 and 31). Other algorithms are NotSupportedErrors.
func (r *Runtime) newSubtle() *goja.Object {
	s := r.vm.NewObject()
	add := func(name string, length int, f func(args []goja.Value) goja.Value) {
		_ = s.Set(name, r.function(name, length, r.async(func(fc goja.FunctionCall) goja.Value {
			r.need(fc.Arguments, length, "'"+name+"' on 'SubtleCrypto'")
			p, resolve, _ := r.vm.NewPromise()
			must(resolve(f(fc.Arguments)))
			return r.vm.ToValue(p)
		})))
	}
	buffer := func(data []byte) goja.Value { return r.vm.ToValue(r.vm.NewArrayBuffer(data)) }
	keys := r.rawClass("CryptoKey", 0, func(goja.ConstructorCall) *goja.Object {
		panic(r.vm.NewTypeError("Illegal constructor"))
	})
	property(keys, "type", func(*hmacKey) goja.Value { return r.vm.ToValue("secret") }, nil)
	property(keys, "extractable", func(k *hmacKey) goja.Value { return r.vm.ToValue(k.extractable) }, nil)
	property(keys, "algorithm", func(k *hmacKey) goja.Value {
		hash, algorithm := r.vm.NewObject(), r.vm.NewObject()
		_ = hash.Set("name", k.hash)
		_ = algorithm.Set("name", "HMAC")
		_ = algorithm.Set("hash", hash)
		_ = algorithm.Set("length", 8*len(k.secret))
		return algorithm
	}, nil)
	property(keys, "usages", func(k *hmacKey) goja.Value { return r.vm.ToValue(k.usages) }, nil)

	add("digest", 2, func(args []goja.Value) goja.Value {
		h := hashes[r.hashName(args[0])]()
		h.Write(r.bytesOf(args[1], "digest: data"))
		return buffer(h.Sum(nil))
	})
	add("importKey", 5, func(args []goja.Value) goja.Value {
		if format := args[0].String(); format != "raw" {
			panic(r.domException("NotSupportedError", "importKey: PiCloud knows keys in the format raw, not "+format))
		}
		r.needHMAC(args[2], "importKey")
		k := &hmacKey{
			secret:      slices.Clone(r.bytesOf(args[1], "importKey: keyData")),
			hash:        r.hashName(args[2].(*goja.Object).Get("hash")),
			extractable: args[3].ToBoolean(),
		}
		if len(k.secret) == 0 {
			panic(r.domException("DataError", "importKey: an HMAC key has one byte at least"))
		}
		if err := r.vm.ExportTo(args[4], &k.usages); err != nil {
			panic(r.vm.NewTypeError("importKey: keyUsages must be an array of strings"))
		}
		foreign := func(usage string) bool { return usage != "sign" && usage != "verify" }
		if len(k.usages) == 0 || slices.ContainsFunc(k.usages, foreign) {
			panic(r.domException("SyntaxError", "importKey: an HMAC key is for sign, verify, or both"))
		}
		return keys.object(k)
	})
	key := func(args []goja.Value, usage string) *hmacKey {
		r.needHMAC(args[0], usage)
		k, ok := stateOf[*hmacKey](args[1])
		if !ok {
			panic(r.vm.NewTypeError("%s: key must be a CryptoKey", usage))
		}
		if !slices.Contains(k.usages, usage) {
			panic(r.domException("InvalidAccessError", usage+": the key is not for this"))
		}
		return k
	}
	add("sign", 3, func(args []goja.Value) goja.Value {
		return buffer(key(args, "sign").sign(r.bytesOf(args[2], "sign: data")))
	})
	add("verify", 4, func(args []goja.Value) goja.Value {
		want := key(args, "verify").sign(r.bytesOf(args[3], "verify: data"))
		return r.vm.ToValue(hmac.Equal(want, r.bytesOf(args[2], "verify: signature")))
	})
	_ = s.DefineDataPropertySymbol(goja.SymToStringTag, r.vm.ToValue("SubtleCrypto"), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	return s
}

// algorithmName is the name in an AlgorithmIdentifier: a string, or an object
// with one.
func algorithmName(v goja.Value) string {
	if obj, ok := v.(*goja.Object); ok {
		v = obj.Get("name")
	}
	if isNullish(v) {
		return ""
	}
	return strings.ToUpper(v.String())
}

func (r *Runtime) hashName(v goja.Value) string {
	name := algorithmName(v)
	if hashes[name] == nil {
		panic(r.domException("NotSupportedError", "crypto.subtle: the hashes are SHA-1, SHA-256, SHA-384 and SHA-512, not "+name))
	}
	return name
}

func (r *Runtime) needHMAC(v goja.Value, function string) {
	name := algorithmName(v)
	if name != "HMAC" {
		panic(r.domException("NotSupportedError", function+": PiCloud has HMAC, not "+name))
	}
	if _, ok := v.(*goja.Object); !ok && function == "importKey" {
		panic(r.vm.NewTypeError("importKey: algorithm must be an object with name and hash"))
	}
}

// bytesOf is what a BufferSource shows of its buffer.
func (r *Runtime) bytesOf(v goja.Value, argument string) []byte {
	if obj, ok := v.(*goja.Object); ok {
		if data, ok := r.bufferSource(obj); ok {
			return data
		}
	}
	panic(r.vm.NewTypeError("%s must be an ArrayBuffer or a view of one, not %s", argument, r.kindOf(v)))
}
