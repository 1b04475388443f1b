// The shapes of the wire (docs/protocol.md) and of what the client shows. Times are Unix
// milliseconds, money is whole minor units, unless said otherwise.

import type { Close } from "./codes.js";

export type Codec = "json" | "msgpack";
export type Role = "viewer" | "assistant" | "moderator" | "host" | "service";
export type Status = "idle" | "connecting" | "live" | "waiting" | "ended";

/** One item of a server's message, as it came. */
export type Item = Record<string, unknown>;

/** An event; with `seq` it is durable: in order, exactly once. */
export interface EventItem {
  readonly ev: string;
  readonly seq?: number;
  readonly sub?: number;
  readonly ts?: number;
  readonly d: unknown;
  /** Of one's own message that was shed: nobody else sees it. */
  readonly kept?: boolean;
}

/** The newest value of a state; `d` null: the key is gone. */
export interface StateItem {
  readonly st: string;
  readonly v: number;
  readonly d: unknown;
}

/** Where one stands in a room's log. Two epochs have nothing to do with each other. */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
  readonly sub: number;
}

/** The reply to a hello, `sys.join` or `sys.resume`. */
export interface Greeting extends Position {
  readonly session: string;
  readonly user: string;
  readonly name: string;
  readonly role: Role;
  readonly room: string;
  /** False: drop all derived data and begin from this greeting. */
  readonly resumed: boolean;
  readonly now: number;
  readonly beat_ms: number;
  readonly snapshot: Readonly<Record<string, unknown>>;
  readonly states: readonly StateItem[];
  readonly own: Readonly<Record<string, unknown>>;
}

/** What is known of one room. */
export interface RoomState extends Position {
  readonly room: string;
  /** "likes" -> {total: 3}; keys that are gone are absent. */
  readonly states: ReadonlyMap<string, unknown>;
  /** The `v` of each key, for `if_version`. */
  readonly versions: ReadonlyMap<string, number>;
  /** Of the last greeting that was not resumed. */
  readonly snapshot: Readonly<Record<string, unknown>>;
  /** Of the last greeting. */
  readonly own: Readonly<Record<string, unknown>>;
  /** Sums of `sys.shed` by kind, since the start. */
  readonly shed: ReadonlyMap<string, number>;
}

/** `live.state`: one object for the whole life of the client, always current. */
export interface LiveState extends RoomState {
  readonly status: Status;
  /** How many times in a row it was tried to come back. */
  readonly attempt: number;
  /** When it will try again, by the local clock (`now` of the options); while `waiting`. */
  readonly retryAt?: number;
  /** How the last connection ended. */
  readonly close?: Close;
  readonly session: string;
  readonly user: string;
  readonly name: string;
  readonly role: Role;
  readonly beatMs: number;
  /** Messages and items that could not be understood, since the start. */
  readonly junk: number;
}

/** The body of `sdk.state`: a state's key, value (undefined: gone) and version. */
export interface StateChange {
  readonly key: string;
  readonly value: unknown;
  readonly v: number;
}

export interface User {
  readonly id: string;
  readonly name: string;
}

export interface DanmakuBody {
  readonly id: string;
  readonly user: User & { readonly role: Role };
  readonly text: string;
  readonly mode: "scroll" | "top" | "bottom";
  /** 0xRRGGBB. */
  readonly color: number;
  readonly reply_to?: string;
}

export interface GiftBody {
  readonly gift: string;
  /** 0 in the event that ends a combo. */
  readonly n: number;
  readonly combo: number;
  readonly combo_end: boolean;
  readonly user: User;
  readonly value: number;
}

/** Bodies of events by name; other names have `any`. */
export interface EventBodies {
  "sdk.status": LiveState;
  "sdk.state": StateChange;
  "sdk.greeting": Greeting;
  "sdk.reset": Greeting;
  "sdk.raw": Item;
  "sdk.error": { readonly error: Error };
  danmaku: DanmakuBody;
  like: { readonly user: string; readonly n: number };
  "gift.sent": GiftBody;
  "viewer.enter": { readonly user: User & { readonly role: Role } };
  "sys.shed": Readonly<Record<string, number>>;
}

/** A body whose shape the client does not know; see docs/protocol.md section 15. */
export type Unknown = any;
