// Which connections there are: the live one, the next one on its way, and old ones that still owe
// answers. Decides when to come back (docs/protocol.md section 11). Pure: time and sockets are the
// session's.

import { backoffMs } from "./backoff.js";
import type { Alarms } from "./clock.js";
import { closeOf, mayDialAgain, type Close } from "./codes.js";
import type { LiveError } from "./errors.js";
import type { LiveTrack } from "./room.js";
import type { Item, Status } from "./types.js";

const TOKEN_MS = 30_000;
const OPEN_MS = 10_000;
const REFUSED_MS = 2_000;
const STEADY_MS = 30_000;
const RETIRE_MS = 10_000;

/** A command of the client's own (hello, sys.*), which dies with its connection. */
export type Ask = (reply: Item) => void;

/** One connection, from the wish for it to its end. */
export interface Link {
  readonly id: number;
  stage: "token" | "opening" | "hello" | "live" | "retiring" | "gone";
  /** When something last came, local ms. */
  heard: number;
  readonly asks: Map<number, Ask>;
  token: string | undefined;
  /** Why the hello was refused; the close follows. */
  refusal?: LiveError | undefined;
}

/** What the dialer needs of the session. */
export interface DialerHost {
  readonly state: LiveTrack;
  readonly alarms: Alarms;
  now(): number;
  random(): number;
  /** Ask for the token of the hello, then `take` it. */
  fetchToken(take: (token: string | undefined | Error) => void): void;
  /** Whether asking for the token again may give another one. */
  renewsToken(): boolean;
  open(link: Link): void;
  shut(link: Link, code: number): void;
  sayHello(link: Link): void;
  setStatus(status: Status, retryAt?: number): void;
  /** A connection is gone: what it still owed will not come over it. */
  lost(link: Link): void;
  /** No coming back. */
  ended(close: Close, refusal: LiveError | undefined): void;
  failed(error: Error): void;
}

export class Dialer {
  live: Link | undefined;
  #next: Link | undefined;
  readonly #retiring = new Map<number, Link>();
  readonly #host: DialerHost;
  #ids = 0;

  constructor(host: DialerHost) {
    this.#host = host;
  }

  /** Return a connection that is not gone. */
  find(id: number): Link | undefined {
    return [this.live, this.#next].find((link) => link?.id === id) ?? this.#retiring.get(id);
  }

  /** Old connections that still owe answers. */
  get retiring(): Link[] {
    return [...this.#retiring.values()];
  }

  /** Begin a connection, unless one is on its way. */
  dial(): void {
    if (this.#next) return;
    const { alarms } = this.#host;
    alarms.drop("dial");
    const link: Link = { id: ++this.#ids, stage: "token", heard: 0, asks: new Map(), token: undefined };
    this.#next = link;
    if (!this.live) this.#host.setStatus("connecting");
    this.#limit(link, TOKEN_MS, "no token came in time");
    this.#host.fetchToken((token) => this.#open(link, token));
  }

  #open(link: Link, token: string | undefined | Error): void {
    if (link.stage !== "token") return;
    if (token instanceof Error) {
      this.#host.failed(token);
      this.abandon(link, 1000, "there is no token");
      return;
    }
    link.token = token;
    link.stage = "opening";
    this.#limit(link, OPEN_MS, "the server did not answer in time");
    this.#host.open(link);
  }

  /** Take that a connection is open. */
  opened(link: Link): void {
    if (link.stage !== "opening") return;
    link.stage = "hello";
    link.heard = this.#host.now();
    this.#host.alarms.drop("limit"); // the hello has one of its own
    this.#host.sayHello(link);
  }

  /** Take that a hello was refused: the close should follow. */
  refused(link: Link, error: LiveError): void {
    link.refusal = error;
    this.#limit(link, REFUSED_MS, error.message);
  }

  /** Take that a hello was answered: this is the live connection now. Returns whether it took over from another. */
  greeted(link: Link): boolean {
    const { alarms, state } = this.#host;
    const old = this.live;
    alarms.drop("limit");
    alarms.drop("dial");
    this.#next = undefined;
    this.live = link;
    link.stage = "live";
    alarms.set("steady", this.#host.now() + STEADY_MS, () => {
      state.attempt = 0;
    });
    if (old) this.#retire(old);
    return old !== undefined;
  }

  // What it was told it will still answer; its events come over the other one.
  #retire(link: Link): void {
    link.stage = "retiring";
    this.#retiring.set(link.id, link);
    this.#host.alarms.set(`retire:${link.id}`, this.#host.now() + RETIRE_MS, () => this.dismiss(link));
  }

  /** Close a connection that owes nothing any more. */
  dismiss(link: Link): void {
    if (link.stage === "retiring") this.abandon(link, 1000, "");
  }

  /** Open a second connection at this time; the first stays until it is greeted. */
  moveAt(at: number): void {
    if (!this.#next) this.#host.alarms.set("dial", at, () => this.dial());
  }

  /** Give a connection up from this side. */
  abandon(link: Link, code: number, why: string): void {
    if (link.stage === "gone") return;
    if (link.stage !== "token") this.#host.shut(link, code);
    this.closed(link, 1006, why);
  }

  /** Take that a connection is closed; `httpStatus`: the handshake was answered with it. */
  closed(link: Link, code: number, reason: string, httpStatus?: number): void {
    if (link.stage === "gone") return;
    const wasRetiring = link.stage === "retiring";
    this.#forget(link);
    this.#host.lost(link);
    if (wasRetiring) return;
    this.#goOn(closeOf(code, reason), link.refusal, httpStatus);
  }

  #forget(link: Link): void {
    const { alarms } = this.#host;
    link.stage = "gone";
    alarms.drop(`retire:${link.id}`);
    this.#retiring.delete(link.id);
    if (this.#next === link) {
      this.#next = undefined;
      alarms.drop("limit");
    }
    if (this.live === link) {
      this.live = undefined;
      alarms.drop("steady");
    }
  }

  #goOn(close: Close, refusal: LiveError | undefined, httpStatus: number | undefined): void {
    if (this.live)
      this.#dialLater(); // only the second one failed
    else if (!this.#mayComeBack(close, httpStatus)) this.end(close, refusal);
    else {
      this.#host.state.close = close;
      if (this.#next) this.#host.setStatus("connecting");
      else this.#host.setStatus("waiting", this.#dialLater());
    }
  }

  #mayComeBack(close: Close, httpStatus: number | undefined): boolean {
    if (httpStatus !== undefined && !mayDialAgain(httpStatus)) return false;
    return close.again && (!close.newToken || this.#host.renewsToken());
  }

  /** Plan the next try; what `sys.reconnect` has planned stays. Returns when. */
  #dialLater(): number {
    const { alarms, state } = this.#host;
    const planned = alarms.at("dial");
    if (planned !== undefined) return planned;
    const at = this.#host.now() + backoffMs(state.attempt++, this.#host.random());
    alarms.set("dial", at, () => this.dial());
    return at;
  }

  /** Try at once what was to be tried later: the network is back. */
  hurry(): void {
    if (this.#host.state.status === "waiting") this.dial();
  }

  /** End all connections for good. */
  end(close: Close, refusal?: LiveError, code = 1000): void {
    for (const link of [this.live, this.#next, ...this.#retiring.values()]) {
      if (!link) continue;
      const opened = link.stage !== "token";
      this.#forget(link);
      if (opened) this.#host.shut(link, code);
      this.#host.lost(link);
    }
    this.#host.alarms.clear();
    this.#host.state.close = close;
    this.#host.ended(close, refusal);
  }

  #limit(link: Link, ms: number, why: string): void {
    this.#host.alarms.set("limit", this.#host.now() + ms, () => this.abandon(link, 1000, why));
  }
}
