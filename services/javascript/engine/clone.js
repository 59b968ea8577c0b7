// structuredClone (HTML, section 2.7). Evaluates to a function of the value, the
// options, the class DOMException and a test for objects of the platform.
(() => {
  const errors = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const tag = (v) => Object.prototype.toString.call(v).slice(8, -1);
  return (value, options, DOMException, isPlatform) => {
    const seen = new Map();
    const refuse = (what) => { throw new DOMException(`${what} could not be cloned.`, "DataCloneError"); };
    const transfer = new Set(options?.transfer ?? []);
    for (const t of transfer) if (!(t instanceof ArrayBuffer)) refuse("A transferred value that is not an ArrayBuffer");
    const walk = (v) => {
      if (typeof v === "symbol" || typeof v === "function") refuse(String(v));
      if (typeof v !== "object" || v === null) return v;
      if (seen.has(v)) return seen.get(v);
      const keep = (copy) => { seen.set(v, copy); return copy; };
      if (isPlatform(v)) refuse(`#<${v.constructor?.name ?? "Object"}>`);
      if (v instanceof Date) return keep(new Date(v.getTime()));
      if (v instanceof RegExp) return keep(new RegExp(v.source, v.flags));
      if (v instanceof Boolean || v instanceof Number || v instanceof String) return keep(Object(v.valueOf()));
      if (v instanceof ArrayBuffer) return keep(v.slice(0));
      if (ArrayBuffer.isView(v)) {
        const buffer = walk(v.buffer);
        return keep(new v.constructor(buffer, v.byteOffset, v instanceof DataView ? v.byteLength : v.length));
      }
      if (v instanceof Map) {
        const copy = keep(new Map());
        for (const [k, item] of [...v]) copy.set(walk(k), walk(item));
        return copy;
      }
      if (v instanceof Set) {
        const copy = keep(new Set());
        for (const item of [...v]) copy.add(walk(item));
        return copy;
      }
      if (v instanceof Error) {
        const real = keep(new (errors[v.name] ?? Error)(v.message));
        Object.defineProperty(real, "stack", { value: v.stack, writable: true, configurable: true });
        if (Object.hasOwn(v, "cause")) Object.defineProperty(real, "cause", { value: walk(v.cause), writable: true, configurable: true });
        return real;
      }
      if (Array.isArray(v)) {
        const copy = keep(new Array(v.length));
        for (const k of Object.keys(v)) copy[k] = walk(v[k]);
        return copy;
      }
      if (v instanceof Promise || v instanceof WeakMap || v instanceof WeakSet || v instanceof WeakRef) refuse(`#<${tag(v)}>`);
      const copy = keep({});
      for (const k of Object.keys(v)) Object.defineProperty(copy, k, { value: walk(v[k]), writable: true, enumerable: true, configurable: true });
      return copy;
    };
    return walk(value);
  };
})()
