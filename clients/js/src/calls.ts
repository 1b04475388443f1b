// Commands that wait for their answers. Those with a key outlive the connection: they are sent
// again, under the same key, until an answer comes.

import { backoffMs } from "./backoff.js";
import { SENT_AGAIN } from "./codes.js";
import { LiveError } from "./errors.js";
import { answerOf, type Answer } from "./items.js";
import type { Item } from "./types.js";

const SHORTEST_RETRY_MS = 250;

/** A command on its way. */
export interface Call {
  readonly id: number;
  readonly op: string;
  readonly d: object;
  readonly key: string | undefined;
  /** The further room that it is about; undefined: the hello's. */
  readonly room: string | undefined;
  /** When the caller's patience ends, local ms; infinite for a keyed one without `timeoutMs`. */
  readonly until: number;
  readonly done: (answer: Answer) => void;
  /** The connection that it was sent on; 0: it waits to be sent. */
  link: number;
  /** When to send it again, local ms. */
  again: number;
  tries: number;
}

/** How a command looks on the wire. */
export function commandOf({ op, id, key, room, d }: Call): Item {
  return { op, id, ...(room === undefined ? {} : { room }), ...(key === undefined ? {} : { key }), d };
}

/** The commands without an answer yet. */
export class Calls {
  readonly #calls = new Map<number, Call>();
  readonly #random: () => number;
  readonly #patienceMs: number;

  /** `patienceMs`: how long a keyed command waits for an answer before it is sent again. */
  constructor(patienceMs: number, random: () => number) {
    this.#patienceMs = patienceMs;
    this.#random = random;
  }

  add(call: Call): void {
    this.#calls.set(call.id, call);
  }

  has(id: number): boolean {
    return this.#calls.has(id);
  }

  /** Take that a command was sent. */
  sent(call: Call, link: number, now: number): void {
    call.link = link;
    call.again = now + this.#patienceMs;
  }

  /** Take a reply. Returns whether the command is done with; false: it waits to be sent again. */
  answer(item: Item, now: number): boolean {
    const call = this.#calls.get(item["re"] as number);
    if (!call) return true;
    const answer = answerOf(item, call.op, call.key);
    if ("error" in answer && call.key !== undefined && SENT_AGAIN.has(answer.error.code)) {
      this.#postpone(call, answer.error.retryMs ?? 0, now);
      return false;
    }
    this.#finish(call, answer);
    return true;
  }

  #postpone(call: Call, retryMs: number, now: number): void {
    call.link = 0;
    call.again = now + Math.max(SHORTEST_RETRY_MS, retryMs) + backoffMs(call.tries++, this.#random());
  }

  /** Take that a connection is gone: keyed commands wait, others have failed. */
  lost(link: number): void {
    for (const call of [...this.#calls.values()]) {
      if (call.link !== link) continue;
      if (call.key === undefined) this.fail(call, "closed", "the connection was lost before the answer came");
      else Object.assign(call, { link: 0, again: 0 });
    }
  }

  /** Whether one still waits for an answer on this connection. */
  waitsOn(link: number): boolean {
    for (const call of this.#calls.values()) if (call.link === link) return true;
    return false;
  }

  /** Give up those whose time is over; return those to be sent (again) now. */
  due(now: number): Call[] {
    const due = [];
    for (const call of [...this.#calls.values()]) {
      if (call.until <= now) this.fail(call, "timeout", "no answer came in time");
      else if (call.again <= now && (call.key !== undefined || call.link === 0)) due.push(call);
    }
    return due;
  }

  /** When `due` has something to do next; `sending`: whether there is a connection to send on. */
  next(sending: boolean): number {
    let first = Infinity;
    for (const { until, again, key } of this.#calls.values()) {
      first = Math.min(first, until, sending && key !== undefined ? again : Infinity);
    }
    return first;
  }

  /** Fail one command. */
  fail(call: Call, code: string, message: string): void {
    this.#finish(call, { error: new LiveError(code, message, { op: call.op, key: call.key }) });
  }

  /** Fail those of a room (`undefined`: the hello's), or all. */
  failAll(message: string, ofRoom?: string): void {
    for (const call of [...this.#calls.values()]) {
      if (ofRoom === undefined || call.room === ofRoom) this.fail(call, "closed", message);
    }
  }

  /** Forget a command whose caller does not wait any more. */
  forget(id: number): void {
    this.#calls.delete(id);
  }

  #finish(call: Call, answer: Answer): void {
    if (this.#calls.delete(call.id)) call.done(answer);
  }
}
