// Events, abort signals and DOMException (DOM, sections 2 and 3; Web IDL,
// section 2.8.1). Evaluates to an object of the classes.
(() => {
  const codes = {
    IndexSizeError: 1, NotFoundError: 8, NotSupportedError: 9, InvalidStateError: 11, SyntaxError: 12,
    InvalidAccessError: 15, TimeoutError: 23, AbortError: 20, InvalidCharacterError: 5, DataCloneError: 25,
    QuotaExceededError: 22,
  };

  class DOMException extends Error {
    #name;
    constructor(message = "", options = "Error") {
      super(message);
      this.#name = typeof options === "object" && options !== null ? String(options.name ?? "Error") : String(options);
      if (typeof options === "object" && options !== null && "cause" in options) this.cause = options.cause;
    }
    get name() { return this.#name; }
    get code() { return codes[this.#name] ?? 0; }
  }

  class Event {
    #type; #bubbles; #cancelable; #prevented = false; #target = null; #stopped = false; #time = performance.now();
    constructor(type, init = {}) {
      if (arguments.length === 0) throw new TypeError("Event: the type is missing");
      this.#type = String(type);
      this.#bubbles = Boolean(init?.bubbles);
      this.#cancelable = Boolean(init?.cancelable);
    }
    get type() { return this.#type; }
    get target() { return this.#target; }
    get currentTarget() { return this.#target; }
    get bubbles() { return this.#bubbles; }
    get cancelable() { return this.#cancelable; }
    get defaultPrevented() { return this.#prevented; }
    get timeStamp() { return this.#time; }
    get eventPhase() { return this.#target ? 2 : 0; }
    get isTrusted() { return false; }
    get composed() { return false; }
    preventDefault() { if (this.#cancelable) this.#prevented = true; }
    stopPropagation() {}
    stopImmediatePropagation() { this.#stopped = true; }
    composedPath() { return this.#target ? [this.#target] : []; }
    static dispatch(event, target, listeners) {
      event.#target = target;
      event.#stopped = false;
      for (const l of [...listeners]) {
        if (event.#stopped) break;
        if (l.removed) continue;
        if (l.once) l.remove();
        try {
          if (typeof l.callback === "function") l.callback.call(target, event);
          else l.callback.handleEvent(event);
        } catch (e) {
          reportError(e);
        }
      }
      return !event.#prevented;
    }
  }
  const dispatch = Event.dispatch;
  delete Event.dispatch;

  class EventTarget {
    #listeners = new Map();
    addEventListener(type, callback, options) {
      if (callback === null || callback === undefined) return;
      if (typeof callback !== "function" && typeof callback !== "object") throw new TypeError("EventTarget.addEventListener: the listener is neither a function nor an object");
      type = String(type);
      const { once = false, capture = false, signal } = typeof options === "object" && options !== null ? options : { capture: Boolean(options) };
      if (signal?.aborted) return;
      const list = this.#listeners.get(type) ?? [];
      if (list.some((l) => l.callback === callback && l.capture === Boolean(capture))) return;
      const listener = { callback, capture: Boolean(capture), once: Boolean(once), removed: false };
      listener.remove = () => this.#remove(type, listener);
      this.#listeners.set(type, [...list, listener]);
      signal?.addEventListener("abort", listener.remove, { once: true });
    }
    removeEventListener(type, callback, options) {
      type = String(type);
      const capture = Boolean(typeof options === "object" && options !== null ? options.capture : options);
      const listener = this.#listeners.get(type)?.find((l) => l.callback === callback && l.capture === capture);
      if (listener) this.#remove(type, listener);
    }
    #remove(type, listener) {
      listener.removed = true;
      this.#listeners.set(type, (this.#listeners.get(type) ?? []).filter((l) => l !== listener));
    }
    dispatchEvent(event) {
      if (!(event instanceof Event)) throw new TypeError("EventTarget.dispatchEvent: the argument is not an Event");
      const handler = this["on" + event.type];
      const listeners = this.#listeners.get(event.type) ?? [];
      return dispatch(event, this, typeof handler === "function" ? [{ callback: handler }, ...listeners] : listeners);
    }
  }

  const token = {};

  class AbortSignal extends EventTarget {
    #aborted = false; #reason; #followers = [];
    onabort = null;
    constructor(secret) {
      if (secret !== token) throw new TypeError("Illegal constructor");
      super();
      Object.defineProperty(this, "onabort", { enumerable: false });
    }
    get aborted() { return this.#aborted; }
    get reason() { return this.#reason; }
    throwIfAborted() { if (this.#aborted) throw this.#reason; }
    static abort(reason) {
      const s = new AbortSignal(token);
      abort(s, reason);
      return s;
    }
    static timeout(ms) {
      const s = new AbortSignal(token);
      setTimeout(() => abort(s, new DOMException("The operation was aborted due to timeout", "TimeoutError")), ms);
      return s;
    }
    static any(signals) {
      const all = new AbortSignal(token);
      const list = [...signals];
      const first = list.find((s) => s.aborted);
      if (first) abort(all, first.reason);
      else for (const s of list) s.#followers.push(all);
      return all;
    }
    static trigger(s, reason) {
      if (s.#aborted) return;
      s.#aborted = true;
      s.#reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      s.dispatchEvent(new Event("abort"));
      for (const f of s.#followers.splice(0)) abort(f, s.#reason);
    }
  }
  const abort = AbortSignal.trigger;
  delete AbortSignal.trigger;

  class AbortController {
    #signal = new AbortSignal(token);
    get signal() { return this.#signal; }
    abort(reason) { abort(this.#signal, reason); }
  }

  class CustomEvent extends Event {
    #detail;
    constructor(type, init = {}) { super(type, init); this.#detail = init?.detail ?? null; }
    get detail() { return this.#detail; }
  }

  for (const c of [DOMException, Event, CustomEvent, EventTarget, AbortSignal, AbortController]) {
    Object.defineProperty(c.prototype, Symbol.toStringTag, { value: c.name, configurable: true });
  }
  return { DOMException, Event, CustomEvent, EventTarget, AbortSignal, AbortController };
})()
