// The client of one room: session, sockets, timers and listeners put together.

import { ENCODINGS } from "./codec.js";
import { KEYED, newKey, ViewerCommands, type AskOptions } from "./commands.js";
import { Emitter, type BodyOf, type Listener } from "./emitter.js";
import { LiveError } from "./errors.js";
import type { Answer } from "./items.js";
import type { Port } from "./port.js";
import { Session } from "./session.js";
import { Sockets } from "./socket.js";
import type { Codec, Greeting, LiveState, Unknown } from "./types.js";
import { NAME } from "./version.js";

const LONGEST_TIMER_MS = 2 ** 31 - 1;
const CLOSE_WAIT_MS = 1_000;

/** A token, or what fetches one: asked before each connect, and when the old one ends. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>);

type SetTimer = (fn: () => void, ms: number) => Unknown;
type ClearTimer = (timer: Unknown) => void;

export interface LiveOptions {
  /** "wss://host/ws", "wss://host/control", or a path of the page's own host. */
  url: string;
  room: string;
  token?: TokenSource;
  /** Default "msgpack". */
  codec?: Codec;
  /** Name and version of the app, for the server's statistics. */
  client?: string;
  /** The channel that led the viewer here, at most 32 characters. */
  source?: string;
  /** Taps within so many ms become one `like.send`; default 200. */
  likeEveryMs?: number;
  /** Patience with an answer; default 10 000. Then commands with a key are sent again, others fail. */
  replyTimeoutMs?: number;
  /** Silence after which the server is asked for a sign of life; default 60 000. */
  heartbeatMs?: number;
  /** Needed in Node before version 22: that of the package `ws`. */
  WebSocket?: Unknown;
  /** For tests: jitter in [0, 1), local ms, timers. */
  random?: () => number;
  now?: () => number;
  setTimeout?: SetTimer;
  clearTimeout?: ClearTimer;
}

// Not `Date.now`: a corrected clock must not stop the timers.
const monotonic = (): number => performance.timeOrigin + performance.now();

/** A viewer's connection to a room; it comes back by itself until `close()` or a final refusal. */
export class LiveRoom extends ViewerCommands {
  /** How it stands and what is known of the room: one object, always current, not to be changed. */
  readonly state: LiveState;
  protected readonly session: Session;
  protected readonly emitters = new Map<string, Emitter>();
  protected readonly tokens = new Map<string, TokenSource | undefined>();
  readonly #main = new Emitter();
  readonly #sockets: Sockets;
  readonly #now: () => number;
  readonly #setTimeout: SetTimer;
  readonly #clearTimeout: ClearTimer;
  #timer: Unknown;
  #timerAt = Infinity;
  #closed = false;
  #greeting: Greeting | undefined;
  #joining: { resolve: (greeting: Greeting) => void; reject: (error: Error) => void }[] = [];

  constructor(options: LiveOptions) {
    super();
    const encoding = ENCODINGS[options.codec ?? "msgpack"];
    this.#now = options.now ?? monotonic;
    this.#setTimeout = options.setTimeout ?? ((fn, ms) => setTimeout(fn, ms));
    this.#clearTimeout = options.clearTimeout ?? ((timer) => clearTimeout(timer));
    this.emitters.set(options.room, this.#main);
    this.tokens.set(options.room, options.token);
    this.session = new Session(
      {
        room: options.room,
        encoding,
        client: options.client ?? NAME,
        source: options.source,
        likeEveryMs: options.likeEveryMs ?? 200,
        replyTimeoutMs: options.replyTimeoutMs ?? 10_000,
        heartbeatMs: options.heartbeatMs ?? 60_000,
      },
      this.#port(options.random ?? Math.random),
    );
    this.state = this.session.state;
    this.#sockets = new Sockets(urlOf(options.url), encoding.subprotocol, webSocketOf(options), {
      opened: (id) => this.act(() => this.session.opened(id)),
      received: (id, data) => this.act(() => this.session.receive(id, data)),
      closed: (id, code, reason, status) => this.act(() => this.session.closed(id, code, reason, status)),
    });
  }

  /** Connect. Resolves with the first greeting; rejects with `LiveError` when one may not come in. */
  join(): Promise<Greeting> {
    if (this.#closed)
      return Promise.reject(new LiveError("closed", "the client was closed", { op: "hello" }));
    if (this.state.status === "live" && this.#greeting) return Promise.resolve(this.#greeting);
    return new Promise((resolve, reject) => {
      this.#joining.push({ resolve, reject });
      this.#watchPage(true);
      this.act(() => this.session.start());
    });
  }

  /** End it for good: what waits is rejected with `closed`. Resolves when the socket is closed. */
  async close(code = 1000): Promise<void> {
    this.#closed = true;
    this.act(() => this.session.stop(code));
    this.#endAll(new LiveError("closed", "the client was closed"));
    let timer: Unknown;
    const patience = new Promise<void>((resolve) => {
      timer = this.#setTimeout(resolve, CLOSE_WAIT_MS);
    });
    await Promise.race([this.#sockets.settled(), patience]);
    this.#clearTimeout(timer);
  }

  /** Listen to an event of the server or of the client (`sdk.…`); returns what stops it. */
  on<N extends string>(name: N, fn: Listener<BodyOf<N>>): () => void {
    return this.#main.on(name, fn);
  }

  off<N extends string>(name: N, fn: Listener<BodyOf<N>>): void {
    this.#main.off(name, fn);
  }

  /** Wait for the next event of a name. Rejects with `closed` when the client is closed. */
  once<N extends string>(name: N): Promise<BodyOf<N>> {
    return this.#closed
      ? Promise.reject(new LiveError("closed", "the client was closed"))
      : this.#main.once(name);
  }

  /** The server's time, Unix ms: countdowns are `ends_ms - live.serverNow()`. */
  serverNow(): number {
    return this.session.clock.at(this.#now());
  }

  /** Send any command and wait for its answer; see `AskOptions` for keys and time limits. */
  override ask<R = Record<string, Unknown>>(
    op: string,
    d: object = {},
    options: AskOptions = {},
  ): Promise<R> {
    const { ifVersion, room, timeoutMs, signal } = options;
    const key = options.key === true || (options.key === undefined && KEYED.has(op)) ? newKey() : options.key;
    const body = ifVersion === undefined ? d : { ...d, if_version: ifVersion };
    return new Promise<R>((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const stop = (): void => {
        this.session.forget(id);
        reject(signal?.reason as Error);
      };
      const done = (answer: Answer): void => {
        signal?.removeEventListener("abort", stop);
        if ("error" in answer) reject(answer.error);
        else resolve(answer.d as R);
      };
      let id = 0;
      this.act(() => {
        id = this.session.ask(op, body, { key, room, timeoutMs }, done);
      });
      signal?.addEventListener("abort", stop, { once: true });
    });
  }

  /** Send a command whose reply nobody wants. Not connected, it is dropped. */
  tell(op: string, d: object = {}): void {
    this.act(() => this.session.tell(op, d));
  }

  override like(n = 1): void {
    this.act(() => this.session.like(n));
  }

  /** Do something with the session, then set the timer to what it wants next. */
  protected act(step: () => void): void {
    step();
    const next = this.session.nextWake;
    if (next === this.#timerAt) return;
    this.#clearTimeout(this.#timer);
    this.#timerAt = next;
    if (next === Infinity) return;
    const ms = Math.min(Math.max(0, next - this.#now()), LONGEST_TIMER_MS);
    this.#timer = this.#setTimeout(() => {
      this.#timerAt = Infinity;
      this.act(() => this.session.wake());
    }, ms);
  }

  #port(random: () => number): Port {
    return {
      now: this.#now,
      random,
      open: (link) => this.#sockets.open(link),
      send: (link, data) => this.#sockets.send(link, data),
      shut: (link, code) => this.#sockets.shut(link, code),
      token: (room, take) => this.#fetchToken(room, take),
      renewsToken: (room) => typeof this.#tokenSource(room) === "function",
      emit: (room, name, d, item) => this.emitters.get(room)?.emit(name, d, item),
      greeted: (greeting) => this.#greeted(greeting),
      ended: (error) => this.#ended(error),
    };
  }

  // A further room without a token of its own is one that the hello's covers.
  #tokenSource(room: string): TokenSource | undefined {
    return this.tokens.get(room) ?? this.tokens.get(this.state.room);
  }

  #fetchToken(room: string, take: (token: string | undefined | Error) => void): void {
    const source = this.#tokenSource(room);
    if (typeof source !== "function") return take(source);
    Promise.resolve()
      .then(source)
      .then(
        (token) => this.act(() => take(token)),
        (error: unknown) => this.act(() => take(error instanceof Error ? error : new Error(String(error)))),
      );
  }

  #greeted(greeting: Greeting): void {
    this.#greeting = greeting;
    const joining = this.#joining;
    this.#joining = [];
    for (const { resolve } of joining) resolve(greeting);
  }

  #ended(error: LiveError): void {
    this.#watchPage(false);
    const joining = this.#joining;
    this.#joining = [];
    for (const { reject } of joining) reject(error);
  }

  #endAll(error: LiveError): void {
    this.#ended(error);
    for (const emitter of this.emitters.values()) emitter.end(error);
  }

  // A page that comes back from sleep, or whose network does, need not wait for the timers.
  readonly #nudge = (): void => {
    if (globalThis.document?.visibilityState !== "hidden") this.act(() => this.session.nudge());
  };

  #watchPage(on: boolean): void {
    if (typeof document === "undefined") return;
    const change = on ? "addEventListener" : "removeEventListener";
    globalThis[change]("online", this.#nudge);
    document[change]("visibilitychange", this.#nudge);
  }
}

/** Connect to a room: `new LiveRoom(options)` and its `join()`. */
export async function connect(options: LiveOptions): Promise<LiveRoom> {
  const live = new LiveRoom(options);
  await live.join();
  return live;
}

function urlOf(url: string): string {
  if (/^wss?:/i.test(url)) return url;
  if (typeof location === "undefined" && !/^https?:/i.test(url)) {
    throw new TypeError(`expected a URL that begins with ws:// or wss://, came ${JSON.stringify(url)}`);
  }
  const base = typeof location === "undefined" ? undefined : location.href;
  return new URL(url, base).href.replace(/^http/i, "ws");
}

function webSocketOf(options: LiveOptions): typeof WebSocket {
  const found = (options.WebSocket ?? globalThis.WebSocket) as typeof WebSocket | undefined;
  if (!found)
    throw new TypeError("expected a WebSocket class in the options: this platform has none built in");
  return found;
}
