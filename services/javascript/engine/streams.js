// Readable streams (Streams, section 4) as far as bodies need them: default
// readers and controllers; a source of type "bytes" is served by the same
// controller. Evaluates to what stream.go uses.
(() => {
  const noop = () => {};

  class ReadableStreamDefaultController {
    #stream;
    constructor(token, stream) {
      if (token !== noop) throw new TypeError("Illegal constructor");
      this.#stream = stream;
    }
    get desiredSize() { return ReadableStream.desired(noop, this.#stream); }
    get byobRequest() { return null; }
    enqueue(chunk) { ReadableStream.enqueue(noop, this.#stream, chunk); }
    close() { ReadableStream.close(noop, this.#stream); }
    error(reason) { ReadableStream.error(noop, this.#stream, reason); }
  }

  class ReadableStreamDefaultReader {
    #stream = null;
    #closed = Promise.withResolvers();
    constructor(stream) {
      if (!isStream(stream)) throw new TypeError("ReadableStreamDefaultReader: the argument is not a ReadableStream");
      this.#closed.promise.catch(noop);
      ReadableStream.attach(noop, stream, this, this.#closed);
      this.#stream = stream;
    }
    get closed() { return this.#closed.promise; }
    read() {
      if (!this.#stream) return Promise.reject(new TypeError("The reader has been released"));
      return ReadableStream.read(noop, this.#stream);
    }
    cancel(reason) {
      if (!this.#stream) return Promise.reject(new TypeError("The reader has been released"));
      return ReadableStream.cancel(noop, this.#stream, reason);
    }
    releaseLock() {
      if (!this.#stream) return;
      const released = new TypeError("The reader has been released");
      ReadableStream.detach(noop, this.#stream, released);
      this.#closed.reject(released);
      this.#stream = null;
    }
  }

  class ReadableStream {
    #state = "readable";
    #queue = [];
    #size = 0;
    #requests = [];
    #reader = null;
    #closed = null;
    #reason;
    #disturbed = false;
    #started = false;
    #pulling = false;
    #again = false;
    #closing = false;
    #source;
    #measure;
    #high;
    #controller;

    constructor(source = {}, strategy = {}) {
      if (source === null || typeof source !== "object") throw new TypeError("ReadableStream: the underlying source is not an object");
      this.#source = source;
      this.#measure = strategy.size;
      const high = strategy.highWaterMark;
      this.#high = high === undefined ? (source.type === "bytes" ? 0 : 1) : Number(high);
      if (!(this.#high >= 0)) throw new RangeError("ReadableStream: the highWaterMark is not a number of at least 0");
      if (source.type !== undefined && source.type !== "bytes") throw new TypeError(`ReadableStream: the type ${source.type} is unknown`);
      for (const name of ["start", "pull", "cancel"]) {
        if (source[name] !== undefined && typeof source[name] !== "function") throw new TypeError(`ReadableStream: source.${name} is not a function`);
      }
      this.#controller = new ReadableStreamDefaultController(noop, this);
      const begun = source.start?.(this.#controller);
      Promise.resolve(begun).then(
        () => { this.#started = true; this.#pull(); },
        (e) => ReadableStream.error(noop, this, e));
    }

    get locked() { return this.#reader !== null; }

    cancel(reason) {
      if (this.locked) return Promise.reject(new TypeError("ReadableStream.cancel: the stream is locked to a reader"));
      return ReadableStream.cancel(noop, this, reason);
    }

    getReader(options) {
      if (options?.mode !== undefined) throw new TypeError(`ReadableStream.getReader: the mode ${options.mode} is not supported`);
      return new ReadableStreamDefaultReader(this);
    }

    pipeTo() { return Promise.reject(new TypeError("ReadableStream.pipeTo: PiCloud has no WritableStream yet")); }
    pipeThrough() { throw new TypeError("ReadableStream.pipeThrough: PiCloud has no TransformStream yet"); }

    tee() {
      const reader = this.getReader();
      const reasons = [];
      const canceled = Promise.withResolvers();
      const branches = [];
      let reading = false;
      let again = false;
      const pull = async () => {
        if (reading) { again = true; return; }
        reading = true;
        do {
          again = false;
          let result;
          try {
            result = await reader.read();
          } catch (e) {
            for (const b of branches) if (b.live) b.controller.error(e);
            canceled.resolve();
            return;
          }
          if (result.done) {
            for (const b of branches) if (b.live) { b.live = false; b.controller.close(); }
            canceled.resolve();
            return;
          }
          branches.forEach((b, i) => {
            if (b.live) b.controller.enqueue(i === 1 && ArrayBuffer.isView(result.value) ? result.value.slice() : result.value);
          });
        } while (again);
        reading = false;
      };
      const branch = (i) => new ReadableStream({
        start(controller) { branches[i] = { controller, live: true }; },
        pull,
        cancel(reason) {
          branches[i].live = false;
          reasons[i] = reason;
          if (!branches.some((b) => b.live)) canceled.resolve(reader.cancel(reasons));
          return canceled.promise;
        },
      }, { highWaterMark: 0 });
      return [branch(0), branch(1)];
    }

    values({ preventCancel = false } = {}) {
      const reader = this.getReader();
      let last = Promise.resolve();
      let over = false;
      const next = async () => {
        if (over) return { value: undefined, done: true };
        try {
          const result = await reader.read();
          if (result.done) { over = true; reader.releaseLock(); }
          return result;
        } catch (e) {
          over = true;
          reader.releaseLock();
          throw e;
        }
      };
      return {
        next() { return last = last.then(next, next); },
        async return(value) {
          await last.catch(noop);
          if (!over) {
            over = true;
            if (!preventCancel) await reader.cancel(value);
            reader.releaseLock();
          }
          return { value, done: true };
        },
        [Symbol.asyncIterator]() { return this; },
      };
    }

    [Symbol.asyncIterator](options) { return this.values(options); }

    static from(iterable) {
      const open = iterable?.[Symbol.asyncIterator] ?? iterable?.[Symbol.iterator];
      if (typeof open !== "function") throw new TypeError("ReadableStream.from: the argument is not iterable");
      const iterator = open.call(iterable);
      return new ReadableStream({
        async pull(controller) {
          const { done, value } = await iterator.next();
          if (done) controller.close();
          else controller.enqueue(await value);
        },
        async cancel(reason) { await iterator.return?.(reason); },
      }, { highWaterMark: 0 });
    }

    // What follows is for the classes above and for Go; token keeps scripts out.
    static is(value) { return typeof value === "object" && value !== null && #state in value; }
    static disturbed(value) { return value.#disturbed; }

    static desired(token, s) {
      if (s.#state === "errored") return null;
      return s.#state === "closed" ? 0 : s.#high - s.#size;
    }

    static attach(token, s, reader, closed) {
      if (token !== noop) throw new TypeError("Illegal invocation");
      if (s.#reader) throw new TypeError("ReadableStream: the stream is locked to a reader");
      s.#reader = reader;
      s.#closed = closed;
      if (s.#state === "closed") closed.resolve();
      if (s.#state === "errored") closed.reject(s.#reason);
    }

    static detach(token, s, reason) {
      if (token !== noop) throw new TypeError("Illegal invocation");
      s.#reader = s.#closed = null;
      for (const r of s.#requests.splice(0)) r.reject(reason);
    }

    static read(token, s) {
      if (token !== noop) throw new TypeError("Illegal invocation");
      s.#disturbed = true;
      if (s.#queue.length > 0) {
        const { chunk, size } = s.#queue.shift();
        s.#size -= size;
        if (s.#queue.length === 0 && s.#closing) s.#end();
        else s.#pull();
        return Promise.resolve({ value: chunk, done: false });
      }
      if (s.#state === "closed") return Promise.resolve({ value: undefined, done: true });
      if (s.#state === "errored") return Promise.reject(s.#reason);
      const request = Promise.withResolvers();
      s.#requests.push(request);
      s.#pull();
      return request.promise;
    }

    static enqueue(token, s, chunk) {
      if (token !== noop) throw new TypeError("Illegal invocation");
      if (s.#state !== "readable" || s.#closing) throw new TypeError("ReadableStream: enqueue after the stream was closed");
      if (s.#source.type === "bytes" && !ArrayBuffer.isView(chunk)) throw new TypeError("ReadableStream: a chunk of a byte stream must be an ArrayBufferView");
      if (s.#requests.length > 0) {
        s.#requests.shift().resolve({ value: chunk, done: false });
      } else {
        let size = 1;
        if (s.#measure) size = Number(s.#measure(chunk));
        else if (s.#source.type === "bytes") size = chunk.byteLength;
        if (!(size >= 0 && size < Infinity)) {
          const e = new RangeError("ReadableStream: the size of a chunk is not a finite number of at least 0");
          ReadableStream.error(noop, s, e);
          throw e;
        }
        s.#queue.push({ chunk, size });
        s.#size += size;
      }
      s.#pull();
    }

    static close(token, s) {
      if (token !== noop) throw new TypeError("Illegal invocation");
      if (s.#state !== "readable" || s.#closing) throw new TypeError("ReadableStream: the stream was closed already");
      s.#closing = true;
      if (s.#queue.length === 0) s.#end();
    }

    #end() {
      this.#state = "closed";
      for (const r of this.#requests.splice(0)) r.resolve({ value: undefined, done: true });
      this.#closed?.resolve();
    }

    static error(token, s, reason) {
      if (token !== noop) throw new TypeError("Illegal invocation");
      if (s.#state !== "readable") return;
      s.#state = "errored";
      s.#reason = reason;
      s.#queue = [];
      s.#size = 0;
      for (const r of s.#requests.splice(0)) r.reject(reason);
      s.#closed?.reject(reason);
    }

    static async cancel(token, s, reason) {
      if (token !== noop) throw new TypeError("Illegal invocation");
      s.#disturbed = true;
      if (s.#state === "closed") return;
      if (s.#state === "errored") throw s.#reason;
      s.#queue = [];
      s.#size = 0;
      s.#end();
      await s.#source.cancel?.(reason);
    }

    #pull() {
      if (!this.#started || this.#state !== "readable" || this.#closing) return;
      if (!this.#source.pull) return;
      if (this.#requests.length === 0 && this.#high - this.#size <= 0) return;
      if (this.#pulling) { this.#again = true; return; }
      this.#pulling = true;
      let result;
      try {
        result = this.#source.pull(this.#controller);
      } catch (e) {
        ReadableStream.error(noop, this, e);
        return;
      }
      Promise.resolve(result).then(() => {
        this.#pulling = false;
        if (this.#again) { this.#again = false; this.#pull(); }
      }, (e) => ReadableStream.error(noop, this, e));
    }
  }

  const isStream = ReadableStream.is;
  const disturbed = ReadableStream.disturbed;
  for (const name of ["is", "disturbed", "desired", "attach", "detach", "read", "enqueue", "close", "error", "cancel"]) {
    Object.defineProperty(ReadableStream, name, { enumerable: false });
  }
  Object.defineProperty(ReadableStream.prototype, Symbol.toStringTag, { value: "ReadableStream", configurable: true });

  return {
    ReadableStream,
    ReadableStreamDefaultReader,
    ReadableStreamDefaultController,
    isStream,
    disturbed,
    // create makes a stream of what Go pulls: pull(enqueue, close, fail).
    create: (pull, cancel) => new ReadableStream({
      pull: (controller) => new Promise((resolve, reject) => pull(
        (chunk) => { controller.enqueue(chunk); resolve(); },
        () => { controller.close(); resolve(); },
        reject)),
      cancel,
    }, { highWaterMark: 0 }),
    // collect gives every chunk to add and calls done, or fail with the reason.
    collect: async (stream, add, done, fail) => {
      try {
        const reader = stream.getReader();
        for (;;) {
          const { done: over, value } = await reader.read();
          if (over) break;
          add(value);
        }
      } catch (e) {
        fail(e);
        return;
      }
      done();
    },
  };
})()
