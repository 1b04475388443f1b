// What is known of a room, from the items that came. Pure: no clock, no socket.

import type { Close } from "./codes.js";
import { judge, type Verdict } from "./position.js";
import type {
  EventItem,
  Greeting,
  LiveState,
  Position,
  Role,
  RoomState,
  StateChange,
  StateItem,
  Status,
} from "./types.js";

/** Ids of messages that were shown lately: a snapshot or a second connection brings some again. */
const REMEMBERED = 512;

/** One room's position, states and accounts. */
export class RoomTrack implements RoomState {
  room: string;
  epoch = "";
  seq = 0;
  sub = 0;
  states = new Map<string, unknown>();
  versions = new Map<string, number>();
  snapshot: Readonly<Record<string, unknown>> = {};
  own: Readonly<Record<string, unknown>> = {};
  shed = new Map<string, number>();
  /** Whether a `sys.resume` is on its way. */
  resuming = false;
  /** How many of them in a row brought nothing. */
  tries = 0;
  #placed = false;
  readonly #shown = new Set<string>();

  constructor(room: string) {
    this.room = room;
  }

  /** The position to resume from; undefined before the first greeting, and between a `sys.gap` and its answer. */
  get position(): Position | undefined {
    return this.#placed ? { epoch: this.epoch, seq: this.seq, sub: this.sub } : undefined;
  }

  /** Begin, or go on, from a greeting. Returns what changed in the states. */
  greet(greeting: Greeting): StateChange[] {
    const goesOn = greeting.resumed && this.#placed && greeting.epoch === this.epoch;
    if (!goesOn) this.#begin(greeting);
    this.own = greeting.own;
    return [...this.#gone(greeting.states), ...this.#renewed(greeting.states)];
  }

  // The position of a greeting that goes on is the one that was sent: the own one may be further.
  #begin(greeting: Greeting): void {
    this.#placed = true;
    this.epoch = greeting.epoch;
    this.seq = greeting.seq;
    this.sub = greeting.sub;
    this.versions.clear();
    if (greeting.resumed) return;
    this.snapshot = greeting.snapshot;
    this.#remember(greeting.snapshot["danmaku"]);
  }

  // A greeting has all states: what is not in it was taken away meanwhile.
  #gone(states: readonly StateItem[]): StateChange[] {
    const kept = new Set(states.map((item) => item.st));
    const gone = [...this.states.keys()].filter((key) => !kept.has(key));
    for (const key of gone) this.states.delete(key);
    return gone.map((key) => ({ key, value: undefined, v: this.versions.get(key) ?? 0 }));
  }

  #renewed(states: readonly StateItem[]): StateChange[] {
    return states.map((item) => this.state(item)).filter((change) => change !== undefined);
  }

  /** Take a state. Returns the change, or undefined for a value that is not newer. */
  state({ st: key, v, d }: StateItem): StateChange | undefined {
    if (v <= (this.versions.get(key) ?? -1)) return undefined;
    this.versions.set(key, v);
    const value = d === null ? undefined : d;
    if (value === undefined) this.states.delete(key);
    else this.states.set(key, value);
    return { key, value, v };
  }

  /** Judge a durable event; the position moves with one that is to be processed. */
  durable(seq: number, sub: number): Verdict {
    const verdict = judge(this, seq, sub);
    if (verdict === "apply") {
      this.seq = seq;
      this.sub = sub;
      this.tries = 0;
    }
    return verdict;
  }

  /** Take that history has begun anew (`sys.gap`): no position, no versions. */
  forget(): void {
    this.#placed = false;
    this.versions.clear();
  }

  /** Add `sys.shed{kind: n}` up. */
  addShed(body: unknown): void {
    for (const [kind, n] of Object.entries(body ?? {})) {
      if (Number.isSafeInteger(n)) this.shed.set(kind, (this.shed.get(kind) ?? 0) + (n as number));
    }
  }

  /** Whether an ephemeral event was shown before; only messages have an id to tell by. */
  isRepeated(item: EventItem): boolean {
    const id = item.ev === "danmaku" ? (item.d as { id?: unknown } | null)?.id : undefined;
    if (typeof id !== "string") return false;
    if (this.#shown.has(id)) return true;
    this.#show(id);
    return false;
  }

  #remember(messages: unknown): void {
    this.#shown.clear();
    if (!Array.isArray(messages)) return;
    for (const item of messages as { d?: { id?: unknown } }[]) {
      if (typeof item?.d?.id === "string") this.#show(item.d.id);
    }
  }

  #show(id: string): void {
    this.#shown.add(id);
    if (this.#shown.size > REMEMBERED) this.#shown.delete(this.#shown.values().next().value as string);
  }
}

/** The hello's room, and how the client stands: what `live.state` shows. */
export class LiveTrack extends RoomTrack implements LiveState {
  status: Status = "idle";
  attempt = 0;
  declare retryAt?: number;
  declare close?: Close;
  session = "";
  user = "";
  name = "";
  role: Role = "viewer";
  beatMs = 0;
  junk = 0;

  override greet(greeting: Greeting): StateChange[] {
    this.session = greeting.session;
    this.user = greeting.user;
    this.name = greeting.name;
    this.role = greeting.role;
    this.beatMs = greeting.beat_ms;
    return super.greet(greeting);
  }
}
