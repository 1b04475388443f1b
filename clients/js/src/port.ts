import type { Data, Encoding } from "./codec.js";
import type { LiveError } from "./errors.js";
import type { Greeting, Item } from "./types.js";

/** What the session has done by whoever owns sockets, tokens, timers and listeners. */
export interface Port {
  /** Local time, ms. */
  now(): number;
  /** In [0, 1). */
  random(): number;
  /** Open a connection; then `opened`, `receive` and `closed` of the session are called with its number. */
  open(link: number): void;
  send(link: number, data: Data): void;
  /** Close a connection; nothing more is wanted of it. */
  shut(link: number, code: number): void;
  /** Ask for the token of a room, then call `take` with it, now or later. */
  token(room: string, take: (token: string | undefined | Error) => void): void;
  /** Whether asking for it again may give another one. */
  renewsToken(room: string): boolean;
  emit(room: string, name: string, d: unknown, item?: Item): void;
  /** The hello was answered, for the first time or again. */
  greeted(greeting: Greeting): void;
  /** It is over; a new `start` is needed. */
  ended(error: LiveError): void;
}

/** `LiveOptions` with the defaults filled in. */
export interface SessionOptions {
  readonly room: string;
  readonly encoding: Encoding;
  readonly client: string | undefined;
  readonly source: string | undefined;
  readonly likeEveryMs: number;
  readonly replyTimeoutMs: number;
  readonly heartbeatMs: number;
}
