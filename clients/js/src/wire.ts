// What goes out on a connection: commands, encoded, and those of the client's own (hello, sys.*),
// which die with their connection. Unanswered, they end it: a server that stalls is as good as dead.

import type { Alarms } from "./clock.js";
import type { Encoding } from "./codec.js";
import type { Dialer, Link } from "./dialer.js";
import type { Port } from "./port.js";
import type { Item } from "./types.js";

/** Largest command, in bytes: above it the server would close the connection for good. */
export const MAX_COMMAND = 65_536;

/** Close code for a server that does not answer; the server counts it. */
const CLOSE_SILENT = 4009;

/** A command of the client's own; `room`: a further one; `limitMs`: patience with its answer. */
export interface OwnCommand {
  op: string;
  d?: object;
  room?: string | undefined;
  limitMs?: number;
  done: (reply: Item) => void;
}

const utf8 = new TextEncoder();

export class Wire {
  readonly #encoding: Encoding;
  readonly #patienceMs: number;
  readonly #port: Port;
  readonly #alarms: Alarms;
  readonly #dialer: Dialer;
  #ids = 0;

  constructor(encoding: Encoding, patienceMs: number, port: Port, alarms: Alarms, dialer: Dialer) {
    this.#encoding = encoding;
    this.#patienceMs = patienceMs;
    this.#port = port;
    this.#alarms = alarms;
    this.#dialer = dialer;
  }

  /** A number that no command has had, over all connections. */
  nextId(): number {
    return ++this.#ids;
  }

  /** Send one command. Returns what is wrong with it, if it was not sent. */
  post(link: Link, command: Item): string | undefined {
    try {
      const data = this.#encoding.encode(command);
      const size = typeof data === "string" ? utf8.encode(data).length : data.length;
      if (size > MAX_COMMAND) return `expected a command of at most ${MAX_COMMAND} bytes, came ${size}`;
      this.#port.send(link.id, data);
      return undefined;
    } catch (error) {
      return String(error); // a cycle, a function, …
    }
  }

  /** Send a command of the client's own. */
  ask(link: Link, { op, d, room, limitMs = this.#patienceMs, done }: OwnCommand): void {
    const id = this.nextId();
    const silent = (): void => this.#dialer.abandon(link, CLOSE_SILENT, `${op} was not answered in time`);
    link.asks.set(id, done);
    this.#alarms.set(`ask:${id}`, this.#port.now() + limitMs, silent);
    const body = d && Object.fromEntries(Object.entries(d).filter(([, value]) => value !== undefined));
    this.post(link, { op, id, ...(room === undefined ? {} : { room }), ...(body ? { d: body } : {}) });
  }

  /** Take a reply. Returns whether it was to a command of the client's own. */
  answered(link: Link, id: number, reply: Item): boolean {
    const done = link.asks.get(id);
    if (!done) return false;
    link.asks.delete(id);
    this.#alarms.drop(`ask:${id}`);
    done(reply);
    return true;
  }

  /** Expect no answers on a connection any more. */
  drop(link: Link): void {
    for (const id of link.asks.keys()) this.#alarms.drop(`ask:${id}`);
    link.asks.clear();
  }
}
