package engine

import "testing"

// TestLanguage is about what the engine adds to goja; the values follow
// ECMA-262.
func TestLanguage(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		`Object.entries(Object.groupBy([1, 2, 3], x => x % 2 ? "odd" : "even"))`:                                     `[["odd",[1,3]],["even",[2]]]`,
		`[...Map.groupBy([1, 2, 3], x => x % 2)]`:                                                                    `[[1,[1,3]],[0,[2]]]`,
		`Promise.try(() => 3)`:                                                                                       `3`,
		`Promise.try(() => { throw 4 }).catch(e => e)`:                                                               `4`,
		`Array.fromAsync([Promise.resolve(1), 2])`:                                                                   `[1,2]`,
		`Array.fromAsync({length: 2, 0: "a", 1: "b"}, x => x + "!")`:                                                 `["a!","b!"]`,
		`[1, 2, 3, 4].values().filter(x => x % 2).map(x => x * 2).toArray()`:                                         `[2,6]`,
		`[1, 2, 3].values().drop(1).take(1).toArray()`:                                                               `[2]`,
		`[1, 2].values().flatMap(x => [x, x]).toArray()`:                                                             `[1,1,2,2]`,
		`[1, 2, 3].values().reduce((a, b) => a + b)`:                                                                 `6`,
		`[[1, 2].values().some(x => x > 1), [1, 2].values().every(x => x > 1), [1, 2].values().find(x => x > 1)]`:    `[true,false,2]`,
		`Iterator.from({next() { return {done: this.n > 1, value: this.n = (this.n ?? 0) + 1} }}).take(2).toArray()`: `[1,2]`,
		`new WeakRef([7]).deref()`:                                                                                   `[7]`,
		`(1234.5).toLocaleString("de", {minimumFractionDigits: 2})`:                                                  `"1,234.50"`,
		`new Date(2020, 0, 2, 15, 4, 5).toLocaleString()`:                                                            `"1/2/2020, 3:04:05 PM"`,
		`[typeof Symbol.dispose, typeof Symbol.asyncDispose, typeof Symbol.asyncIterator]`:                           `["symbol","symbol","symbol"]`,
		`Object.keys([]).concat(Object.keys(Symbol), Object.keys(Promise))`:                                          `[]`,
		`[typeof Blob, typeof File, typeof FormData, typeof WritableStream, typeof process, typeof require]`:         `["undefined","undefined","undefined","undefined","undefined","undefined"]`,
		`navigator.userAgent`:               `"PiCloud"`,
		`typeof performance.now()`:          `"number"`,
		`(() => { URL = 1; return URL })()`: `1`,
	} {
		h, end, _ := run(t, fetch(`return JSON.stringify(await (`+expression+`))`), nil, nil)
		if end.Code != "" || string(h.body) != want {
			t.Errorf("%s: %s %+v, want %s", expression, h.body, end.Error, want)
		}
	}
}

// TestGuards: calls that would take all memory or hang where no interrupt
// reaches are refused.
func TestGuards(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{
		`'x'.repeat(2**40)`, `'x'.repeat(2**30)`, `'x'.padStart(2**30, 'ab')`, `'x'.padEnd(Infinity)`, `'x'.repeat(Infinity)`,
		`new Array(1e9).fill(1)`, `new Array(4294967295).join('x')`, `new Array(5e6).join('x'.repeat(200))`,
		`new Uint8Array(2**31)`, `new Uint8Array(2**40)`, `new Float64Array(1e9)`, `new ArrayBuffer(2**40)`,
		`(() => { const a = []; a[4e9] = 1; a.sort() })()`, `(() => { const a = []; a[4e9] = 1; a.reverse() })()`,
		`Array.prototype.forEach.call({length: 2**53 - 1}, () => {})`,
		`Array.prototype.indexOf.call({length: 2**53 - 1}, 1)`,
		`Array.prototype.includes.call({length: 2**53 - 1}, 1)`,
		`Array.prototype.fill.call({length: 2**53 - 1}, 1)`,
		`Array.from({length: 4e9})`,
		`'a'.repeat(2**25).split('')`,
		`JSON.parse('['.repeat(5e6))`,
		`JSON.parse('['.repeat(1e6) + ']'.repeat(1e6))`,
	} {
		h, end, r := run(t, fetch(`try { `+expression+`; return "done" } catch (e) { return e.name }`), nil, nil)
		if end.Code != "" || string(h.body) != "RangeError" || !r.Reusable() {
			t.Errorf("%s: %q %+v", expression, h.body, end.Error)
		}
	}
}
