// Types of PiCloud scripts. For the web APIs (Request, Response, fetch, …) have
// "lib": ["es2023", "webworker"] in tsconfig.json.

declare module "picloud" {
  /** A value that JSON can carry. */
  export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined };

  /** The app's variables and secrets, as they were when the execution began. It is frozen. */
  export type Env = Readonly<Record<string, string>>;

  /** Who made a request. */
  export interface Principal {
    readonly id: string;
    readonly name: string;
    /** What they are in this app; null: logged in, but not a member. */
    readonly role: "app_admin" | "editor" | "viewer" | null;
  }

  /** What a handler knows of its execution. */
  export interface Context {
    /** Keeps the execution running until the promise settles, also after the answer. */
    waitUntil(promise: Promise<unknown>): void;
    /** The parameters of the route: { id: "7" } for /items/7 on the route /items/:id. */
    readonly params: Readonly<Record<string, string>>;
    readonly executionId: string;
    readonly requestId: string;
    /** The app's slug. */
    readonly app: string;
    /** The script's name. */
    readonly script: string;
    /** 0 for a request from outside, one more for each event that led here. */
    readonly depth: number;
    /** 1 for the first time that an event is handled, 2 for the second, …; 1 for a request. */
    readonly attempt: number;
    /** The event that is handled, also of a request to an async route; null for a request that waits. */
    readonly eventId: string | null;
    /**
     * Who made the request with a PiCloud session or API key; null for everybody else.
     * For an event, who registered the trigger.
     */
    readonly principal: Principal | null;
  }

  /**
   * What a fetch handler may return: a Response, a string (text/plain), nothing
   * (204), or any other JSON value (application/json).
   */
  export type Answer = Response | Json | undefined | void | object;

  /** The function that answers requests. */
  export type Fetch = (request: Request, env: Env, ctx: Context) => Answer | Promise<Answer>;

  /** What all events have. */
  export interface AnyEvent {
    /** The same for every attempt and every script: by it a handler knows what it did already. */
    id: string;
    kind: string;
    op: string;
    /** When it happened. */
    at: Date;
    /** 1 for the first attempt. */
    attempt: number;
    /** 0 for a schedule, 1 for a change that a request made, one more for each event that led here. */
    depth: number;
  }

  /** A schedule has come. */
  export interface ScheduledEvent extends AnyEvent {
    kind: "cron";
    op: "" | "test";
    /** The schedule, such as "0 7 * * *". */
    cron: string;
    /** When it was to run, in milliseconds since 1970. */
    scheduledTime: number;
    /** If this attempt fails, there is no other. */
    noRetry(): void;
  }

  /** An entry of kv was set or deleted. */
  export interface KVEvent<V = any> extends AnyEvent {
    kind: "kv";
    op: "set" | "delete" | "test";
    collection: string;
    key: string;
    /** What was set. */
    value?: V;
    /** The value is too large for an event; read it with kv. */
    valueOmitted?: true;
  }

  /** A delivery was given up: a handler failed in its last attempt. */
  export interface DeadLetterEvent extends AnyEvent {
    kind: "dead_letter";
    op: "" | "test";
    /** For deadLetters.replay and resolve. */
    deadLetterId: string;
    /** How often it was tried. */
    attempts: number;
    lastError: { name: string; message: string; stack: string; code?: string } | null;
    /** What its handler got, without attempt and depth. */
    original: Original;
  }

  /** The event of a delivery that was given up. */
  export type Original =
    | Omit<KVEvent, "attempt" | "depth">
    | Omit<ScheduledEvent, "attempt" | "depth" | "noRetry">
    | RequestOriginal;

  /** A request to an async route that was given up. */
  export interface RequestOriginal extends Omit<AnyEvent, "attempt" | "depth"> {
    kind: "http";
    method: string;
    url: string;
    header: Record<string, string[]>;
    /** In base64. */
    body?: string;
    params?: Record<string, string>;
  }

  /** What trigger gets; kind tells which it is. */
  export type TriggerEvent = KVEvent | DeadLetterEvent;

  /**
   * What a script exports as default: handlers, or the fetch handler alone. An event
   * whose handler throws, exceeds a limit, or gave a promise to ctx.waitUntil that is
   * rejected, is handled again later.
   */
  export interface Handlers {
    fetch?: Fetch;
    /** Runs when a schedule has come. */
    scheduled?(event: ScheduledEvent, env: Env, ctx: Context): unknown;
    /** Runs after a change that a trigger of the script is about. */
    trigger?(event: TriggerEvent, env: Env, ctx: Context): unknown;
  }

  /** Handlers, under the name that they have in Cloudflare Workers. */
  export type ExportedHandler = Handlers;

  /** The key-value store of the app. */
  export const kv: {
    /**
     * The collection of that name; it need not exist. A name has 1 to 512 bytes.
     * V is the type of its values, which nothing checks.
     */
    collection<V = any>(name: string): Collection<V>;
  };

  /**
   * JSON values by key. A key has 1 to 512 bytes, a value at most 256 KiB of JSON.
   * Misuse throws a TypeError that names the argument. Other failures throw an
   * Error with a property code: "conflict", "forbidden", "limit" or "unavailable".
   */
  export interface Collection<V = any> {
    /** The value under key; undefined if there is none. */
    get(key: string): Promise<V | undefined>;
    /** The value under key with what is known of it; undefined if there is none. */
    entry(key: string): Promise<Entry<V> | undefined>;
    /** Stores value under key. When it resolves, the value is safe on disk. */
    set(key: string, value: V, options?: SetOptions): Promise<{ version: number }>;
    has(key: string): Promise<boolean>;
    /** Removes key; tells whether it was there. */
    delete(key: string): Promise<boolean>;
    /** Adds by (1 if left out) to the number under key, 0 if absent, in one step; returns the sum. */
    increment(key: string, by?: number): Promise<number>;
    /** The entries that exist among at most 100 keys, in the order of keys. */
    getMany(keys: string[]): Promise<{ key: string; value: V; version: number }[]>;
    /** One page of the keys in order of their bytes. */
    list(options?: ListOptions & { values?: false }): Promise<{ keys: string[]; cursor?: string }>;
    /** One page of the keys with their values: values[i] belongs to keys[i]. */
    list(options: ListOptions & { values: true }): Promise<{ keys: string[]; values: V[]; cursor?: string }>;
  }

  export interface Entry<V = any> {
    value: V;
    /** 1 for a new key, one more with each change. */
    version: number;
    /** When it expires; undefined: never. */
    expiresAt?: Date;
  }

  export interface SetOptions {
    /** Seconds until the entry expires; left out: never. */
    ttl?: number;
    /** Store only if the entry has this version, 0 meaning that there is none; else an Error with code "conflict". */
    ifVersion?: number;
  }

  export interface ListOptions {
    /** Only keys that begin so. */
    prefix?: string;
    /** At most so many, 1 to 1,000; 100 if left out. */
    limit?: number;
    /** The cursor of the page before. */
    cursor?: string;
  }

  /**
   * Values that only the app's scripts may see; they are part of env, too. A name
   * has 1 to 128 letters, digits and _, and does not begin with a digit; a value has
   * at most 64 KiB. Failures are those of Collection, and "conflict" if a variable has
   * the name.
   */
  export const secrets: {
    /** The value as it is now; undefined if there is none. */
    get(name: string): Promise<string | undefined>;
    /** Stores value under name. Executions that begin after it resolves have it in env. */
    set(name: string, value: string): Promise<void>;
    /** Removes name; tells whether it was there. */
    delete(name: string): Promise<boolean>;
    /** The names, sorted. */
    list(): Promise<string[]>;
  };

  /**
   * Events that were given up. Whoever the script runs for needs the right to manage
   * dead letters; strangers have none. Failures have a code: "forbidden",
   * "not_found", "conflict" if it is settled already, or "unavailable".
   */
  export const deadLetters: {
    /** Delivers the event again, with all its attempts. */
    replay(id: string): Promise<void>;
    /** Settles it without another attempt, and notes why. */
    resolve(id: string, reason: string): Promise<void>;
  };
}
