// A session with a clock, a random number and a server of the test's own: nothing waits, nothing
// is a socket. What the session has done is in `opened`, `sent`, `shut`, `told`.

import { ENCODINGS } from "../src/codec.js";
import type { LiveError } from "../src/errors.js";
import type { Answer } from "../src/items.js";
import type { Port, SessionOptions } from "../src/port.js";
import { Session, type CallOptions } from "../src/session.js";
import type { Greeting, Item } from "../src/types.js";

export const EPOCH = "1760000000000-0c1279bc";

export interface Sent {
  link: number;
  op: string;
  id?: number;
  key?: string;
  room?: string;
  d?: Record<string, any>;
}

export function greeting(more: Partial<Greeting> = {}): Greeting {
  return {
    session: "s1",
    user: "ann",
    name: "Ann",
    role: "viewer",
    room: "demo",
    epoch: EPOCH,
    seq: 0,
    sub: 0,
    resumed: false,
    now: 1_760_000_000_000,
    beat_ms: 100,
    snapshot: {},
    states: [],
    own: {},
    ...more,
  };
}

export class Rig {
  now = 1_000;
  random = 0.5;
  readonly opened: number[] = [];
  readonly sent: Sent[] = [];
  readonly shut: { link: number; code: number }[] = [];
  readonly told: { room: string; name: string; d: any; item: any }[] = [];
  readonly greetings: Greeting[] = [];
  readonly ends: LiveError[] = [];
  readonly answers: Answer[] = [];
  tokens: (string | undefined | Error)[] = [];
  renews = true;
  /** Set: who asks for a token has to wait for the test. */
  holdTokens: ((token: string | undefined | Error) => void)[] | undefined;
  /** Called with every event that is told, as a listener. */
  listen: (name: string, d: any) => void = () => {};
  readonly session: Session;

  constructor(options: Partial<SessionOptions> = {}) {
    const defaults: SessionOptions = {
      room: "demo",
      encoding: ENCODINGS.json,
      client: "test/1",
      source: undefined,
      likeEveryMs: 200,
      replyTimeoutMs: 10_000,
      heartbeatMs: 60_000,
    };
    this.session = new Session({ ...defaults, ...options }, this.#port());
  }

  #port(): Port {
    return {
      now: () => this.now,
      random: () => this.random,
      open: (link) => this.opened.push(link),
      send: (link, data) => this.sent.push({ link, ...JSON.parse(data as string) }),
      shut: (link, code) => this.shut.push({ link, code }),
      token: (_, take) => {
        if (this.holdTokens) this.holdTokens.push(take);
        else take(this.tokens.length > 1 ? this.tokens.shift() : this.tokens[0]);
      },
      renewsToken: () => this.renews,
      emit: (room, name, d, item) => {
        this.told.push({ room, name, d, item });
        this.listen(name, d);
      },
      greeted: (given) => this.greetings.push(given),
      ended: (error) => this.ends.push(error),
    };
  }

  get state() {
    return this.session.state;
  }

  /** The number of the newest connection. */
  get link(): number {
    return this.opened.at(-1) ?? 0;
  }

  /** Let time pass, ringing every alarm on the way. */
  pass(ms: number): void {
    const end = this.now + ms;
    while (this.session.nextWake <= end) {
      this.now = Math.max(this.now, this.session.nextWake);
      this.session.wake();
    }
    this.now = end;
  }

  /** What the server says, in one message. */
  say(...items: Item[]): void {
    this.sayOn(this.link, ...items);
  }

  sayOn(link: number, ...items: Item[]): void {
    this.session.receive(link, JSON.stringify(items));
  }

  /** The newest command of a name. */
  last(op: string): Sent {
    const found = this.sent.findLast((command) => command.op === op);
    if (!found)
      throw new Error(`expected a command ${op}, came ${this.sent.map((command) => command.op).join(" ")}`);
    return found;
  }

  all(op: string): Sent[] {
    return this.sent.filter((command) => command.op === op);
  }

  /** Accept the newest connection and its hello. */
  welcome(more: Partial<Greeting> = {}, ...behind: Item[]): void {
    this.session.opened(this.link);
    this.say({ re: this.last("hello").id as number, d: greeting(more) }, ...behind);
  }

  /** Connect and be welcomed. */
  join(more: Partial<Greeting> = {}): this {
    this.session.start();
    this.welcome(more);
    return this;
  }

  /** Answer the newest command of a name. */
  reply(op: string, d: object = {}): void {
    this.say({ re: this.last(op).id as number, d });
  }

  refuse(op: string, code: string, more: object = {}): void {
    this.say({ re: this.last(op).id as number, err: { code, msg: code, ...more } });
  }

  ask(op: string, d: object = {}, options: CallOptions = {}): number {
    return this.session.ask(op, d, options, (answer) => this.answers.push(answer));
  }

  /** Codes of answers so far; "ok" for those that were accepted. */
  get codes(): string[] {
    return this.answers.map((answer) => ("error" in answer ? answer.error.code : "ok"));
  }

  /** Bodies of the events of a name that listeners were told. */
  heard(name: string): any[] {
    return this.told.filter((event) => event.name === name).map((event) => event.d);
  }
}

/** A durable event. */
export function durable(seq: number, sub = 0): Item {
  return { ev: "gift.sent", seq, ...(sub ? { sub } : {}), ts: 1, d: { at: `${seq}.${sub}` } };
}

/** A generator of numbers in [0, 1): the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let at = seed;
  return () => {
    at = (at + 0x6d2b79f5) | 0;
    let mixed = Math.imul(at ^ (at >>> 15), 1 | at);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
