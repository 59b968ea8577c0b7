// What the language has and goja lacks. Evaluated in every realm, so it stays
// small: each addition is a plain function on its place.
(() => {
  const define = (target, methods) => {
    for (const name of Reflect.ownKeys(methods)) {
      if (!Object.hasOwn(target, name)) {
        Object.defineProperty(target, name, { value: methods[name], writable: true, configurable: true, enumerable: false });
      }
    }
  };

  for (const name of ["asyncIterator", "dispose", "asyncDispose"]) {
    if (!Symbol[name]) Object.defineProperty(Symbol, name, { value: Symbol("Symbol." + name) });
  }

  define(Promise, {
    withResolvers() {
      let resolve, reject;
      const promise = new this((a, b) => { resolve = a; reject = b; });
      return { promise, resolve, reject };
    },
    try(f, ...args) { return new this((resolve) => resolve(f(...args))); },
  });

  const group = (items, key, add) => {
    if (typeof key !== "function") throw new TypeError("groupBy: the callback is not a function");
    let i = 0;
    for (const item of items) add(key(item, i++), item);
  };
  define(Object, {
    groupBy(items, key) {
      const out = Object.create(null);
      group(items, key, (k, item) => { k = typeof k === "symbol" ? k : `${k}`; (out[k] ??= []).push(item); });
      return out;
    },
  });
  define(Map, {
    groupBy(items, key) {
      const out = new Map();
      group(items, key, (k, item) => { const list = out.get(k); if (list) list.push(item); else out.set(k, [item]); });
      return out;
    },
  });

  define(Array, {
    async fromAsync(items, map, that) {
      if (map !== undefined && typeof map !== "function") throw new TypeError("Array.fromAsync: the callback is not a function");
      const out = typeof this === "function" ? new this() : [];
      let i = 0;
      const add = async (v) => {
        out[i] = map ? await map.call(that, v, i) : v;
        i++;
      };
      const open = items[Symbol.asyncIterator];
      if (open) {
        const iterator = open.call(items);
        for (;;) {
          const { done, value } = await iterator.next();
          if (done) break;
          try {
            await add(value);
          } catch (e) {
            await iterator.return?.();
            throw e;
          }
        }
      } else if (items[Symbol.iterator]) {
        for (const v of items) await add(await v);
      } else {
        while (i < items.length) await add(await items[i]);
      }
      out.length = i;
      return out;
    },
  });

  const proto = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
  const callable = (f) => { if (typeof f !== "function") throw new TypeError(`${String(f)} is not a function`); };
  const count = (n) => {
    n = Number(n);
    if (!(n >= 0)) throw new RangeError(`${n} must be positive`);
    return Math.trunc(n);
  };
  // steps iterates over what next returns and closes the iterator when left early.
  const steps = (iterator) => {
    const next = iterator.next;
    return { [Symbol.iterator]: () => ({ next: () => next.call(iterator), return: (v) => { iterator.return?.(); return { done: true, value: v }; } }) };
  };
  const lazily = (start) => function (arg) {
    const run = start(this, arg);
    return run();
  };
  define(proto, {
    map: lazily((it, f) => { callable(f); return function* () { let i = 0; for (const v of steps(it)) yield f(v, i++); }; }),
    filter: lazily((it, f) => { callable(f); return function* () { let i = 0; for (const v of steps(it)) if (f(v, i++)) yield v; }; }),
    take: lazily((it, n) => {
      let left = count(n);
      return function* () {
        if (left <= 0) { it.return?.(); return; }
        for (const v of steps(it)) { yield v; if (--left <= 0) break; }
      };
    }),
    drop: lazily((it, n) => { let left = count(n); return function* () { for (const v of steps(it)) if (left > 0) left--; else yield v; }; }),
    flatMap: lazily((it, f) => {
      callable(f);
      return function* () {
        let i = 0;
        for (const v of steps(it)) {
          const inner = f(v, i++);
          if (typeof inner === "string" || typeof inner?.[Symbol.iterator] !== "function") throw new TypeError("flatMap: the callback's value is not iterable");
          yield* inner;
        }
      };
    }),
    reduce(f, ...initial) {
      callable(f);
      let acc = initial[0], any = initial.length > 0, i = 0;
      for (const v of steps(this)) { if (any) acc = f(acc, v, i); else { acc = v; any = true; } i++; }
      if (!any) throw new TypeError("Reduce of a done iterator with no initial value");
      return acc;
    },
    toArray() { return [...steps(this)]; },
    forEach(f) { callable(f); let i = 0; for (const v of steps(this)) f(v, i++); },
    some(f) { callable(f); let i = 0; for (const v of steps(this)) if (f(v, i++)) return true; return false; },
    every(f) { callable(f); let i = 0; for (const v of steps(this)) if (!f(v, i++)) return false; return true; },
    find(f) { callable(f); let i = 0; for (const v of steps(this)) if (f(v, i++)) return v; },
    [Symbol.toStringTag]: "Iterator",
  });
  if (typeof Iterator === "undefined") {
    const Iterator = function () {
      if (!new.target || new.target === Iterator) throw new TypeError("Abstract class Iterator not directly constructable");
    };
    Iterator.prototype = proto;
    define(proto, { constructor: Iterator });
    define(Iterator, {
      from(source) {
        const it = typeof source?.[Symbol.iterator] === "function" ? source[Symbol.iterator]() : source;
        if (it instanceof Iterator) return it;
        return (function* () { yield* steps(it); })();
      },
    });
    define(globalThis, { Iterator });
  }

  // There is no Intl: numbers get English grouping, dates the English form.
  Object.defineProperty(Number.prototype, "toLocaleString", {
    value: function toLocaleString(locales, { minimumFractionDigits: low = 0, maximumFractionDigits: high = Math.max(3, low) } = {}) {
      const n = Number(this);
      if (!Number.isFinite(n)) return Number.isNaN(n) ? "NaN" : n > 0 ? "∞" : "-∞";
      let [whole, part = ""] = Math.abs(n) < 1e21 ? n.toFixed(high).split(".") : [BigInt(n).toString()];
      while (part.length > low && part.endsWith("0")) part = part.slice(0, -1);
      whole = whole.replace(/\B(?=(\d{3})+$)/g, ",");
      return part ? `${whole}.${part}` : whole;
    },
    writable: true, configurable: true,
  });
  Object.defineProperty(BigInt.prototype, "toLocaleString", {
    value: function toLocaleString() { return this.toString().replace(/\B(?=(\d{3})+$)/g, ","); },
    writable: true, configurable: true,
  });
  const two = (n) => String(n).padStart(2, "0");
  const day = (d) => `${d.getMonth() + 1}/${d.getDate()}/${d.getFullYear()}`;
  const clock = (d) => `${d.getHours() % 12 || 12}:${two(d.getMinutes())}:${two(d.getSeconds())} ${d.getHours() < 12 ? "AM" : "PM"}`;
  const dated = (form) => function () { return Number.isNaN(this.getTime()) ? "Invalid Date" : form(this); };
  const dates = { toLocaleDateString: dated(day), toLocaleTimeString: dated(clock), toLocaleString: dated((d) => `${day(d)}, ${clock(d)}`) };
  for (const name of Object.keys(dates)) {
    Object.defineProperty(Date.prototype, name, { value: dates[name], writable: true, configurable: true });
  }
  const compare = function localeCompare(other) { const a = String(this), b = String(other); return a < b ? -1 : a > b ? 1 : 0; };
  if (!String.prototype.localeCompare) define(String.prototype, { localeCompare: compare });

  // References that are never cleared, which the specification allows.
  class WeakRef {
    #target;
    constructor(target) {
      if (target === null || typeof target !== "object" && typeof target !== "function") throw new TypeError("WeakRef: the target must be an object");
      this.#target = target;
    }
    deref() { return this.#target; }
  }
  class FinalizationRegistry {
    constructor(cleanup) { callable(cleanup); }
    register() {}
    unregister() { return false; }
  }
  for (const c of [WeakRef, FinalizationRegistry]) define(c.prototype, { [Symbol.toStringTag]: c.name });
  define(globalThis, { WeakRef, FinalizationRegistry });

  // In JavaScript, unlike goja's own, so that a deep or wide nest can be stopped.
  Object.defineProperty(Array.prototype, "flat", {
    value: function flat(depth = 1) {
      const out = [];
      const walk = (list, left) => {
        for (let i = 0; i < list.length; i++) {
          if (!(i in list)) continue;
          const v = list[i];
          if (left > 0 && Array.isArray(v)) walk(v, left - 1);
          else out.push(v);
        }
      };
      walk(Object(this), Number(depth) || 0);
      return out;
    },
    writable: true, configurable: true,
  });
})()
