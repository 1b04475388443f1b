// A server that does everything it may, and some things that it may not, at random: connections
// cut at any time, events doubled or left out, answers lost, moves announced. Whatever happens,
// every durable event is heard once and in order, and every keyed command is done and answered once.

import { expect, test } from "vitest";

import type { Item } from "../src/types.js";
import { EPOCH, greeting, Rig, seeded, type Sent } from "./rig.js";

interface Connection {
  link: number;
  greeted: boolean;
  /** How much of the log was sent. */
  cursor: number;
}

class Server {
  readonly log: { seq: number; sub: number }[] = [];
  readonly done = new Map<string, number>();
  readonly rig = new Rig({ heartbeatMs: 20_000 });
  readonly random: () => number;
  #connections: Connection[] = [];
  #read = 0;
  #moves = 0;

  constructor(seed: number) {
    this.random = seeded(seed);
    this.rig.session.start();
  }

  happens(chance: number): boolean {
    return this.random() < chance;
  }

  /** Something becomes true in the room. */
  append(): void {
    const last = this.log.at(-1) ?? { seq: 0, sub: 0 };
    const isPrivate = this.happens(0.3);
    this.log.push(
      isPrivate
        ? { seq: last.seq, sub: last.sub + 1 + Math.floor(this.random() * 3) }
        : { seq: last.seq + 1, sub: 0 },
    );
  }

  /** Accept what was opened, answer what was said, send what is new. */
  serve(faults: boolean): void {
    for (const link of this.rig.opened) this.#accept(link);
    for (; this.#read < this.rig.sent.length; this.#read++) this.#hear(this.rig.sent[this.#read]!, faults);
    for (const connection of this.#alive()) this.#deliver(connection, faults);
  }

  #accept(link: number): void {
    if (this.#connections.some((connection) => connection.link === link)) return;
    this.#connections.push({ link, greeted: false, cursor: 0 });
    this.rig.session.opened(link);
  }

  #alive(): Connection[] {
    const shut = new Set(this.rig.shut.map(({ link }) => link));
    return (this.#connections = this.#connections.filter(({ link }) => !shut.has(link)));
  }

  #hear(sent: Sent, faults: boolean): void {
    const connection = this.#alive().find(({ link }) => link === sent.link);
    if (!connection || sent.id === undefined) return;
    if (sent.op === "hello" || sent.op === "sys.resume") this.#greet(connection, sent, faults);
    else if (sent.op === "sys.ping") this.rig.sayOn(sent.link, { re: sent.id, d: { now: 1 } });
    else this.#run(sent, faults);
  }

  #greet(connection: Connection, sent: Sent, faults: boolean): void {
    if (faults && sent.op === "sys.resume" && this.happens(0.2)) {
      this.rig.sayOn(sent.link, { re: sent.id as number, err: { code: "unavailable", retry_ms: 50 } });
      return;
    }
    const since = sent.d?.["resume"] ?? { seq: 0, sub: 0 };
    const start =
      this.log.findLastIndex(({ seq, sub }) => seq < since.seq || (seq === since.seq && sub <= since.sub)) +
      1;
    const missed = this.log.slice(start).map(itemOf);
    connection.greeted = true;
    connection.cursor = this.log.length;
    this.rig.sayOn(
      sent.link,
      { re: sent.id as number, d: greeting({ epoch: EPOCH, ...since, resumed: "resume" in (sent.d ?? {}) }) },
      ...missed,
    );
  }

  // Done once per key, answered as often as asked, and now and then not at all.
  #run(sent: Sent, faults: boolean): void {
    this.done.set(
      sent.key as string,
      (this.done.get(sent.key as string) ?? 0) + (this.done.has(sent.key as string) ? 0 : 1),
    );
    const fate = faults ? this.random() : 1;
    if (fate < 0.2) return;
    if (fate < 0.4)
      this.rig.sayOn(sent.link, { re: sent.id as number, err: { code: "outcome_unknown", retry_ms: 20 } });
    else this.rig.sayOn(sent.link, { re: sent.id as number, d: { key: sent.key } });
  }

  #deliver(connection: Connection, faults: boolean): void {
    if (!connection.greeted || connection.cursor === this.log.length) return;
    const from = faults && this.happens(0.1) ? Math.max(0, connection.cursor - 3) : connection.cursor;
    const fresh = this.log
      .slice(from)
      .map(itemOf)
      .filter(() => !(faults && this.happens(0.03)));
    connection.cursor = this.log.length;
    if (fresh.length > 0) this.rig.sayOn(connection.link, ...fresh);
  }

  /** Something goes wrong. */
  harm(): void {
    const alive = this.#alive();
    const victim = alive[Math.floor(this.random() * alive.length)];
    if (!victim) return;
    if (this.happens(0.3) && this.#moves++ < 20)
      this.rig.sayOn(victim.link, { ev: "sys.reconnect", d: { after_ms: 0, spread_ms: 500 } });
    else if (this.happens(0.2)) this.rig.session.receive(victim.link, "{");
    else {
      this.#connections = this.#connections.filter((connection) => connection !== victim);
      this.rig.session.closed(victim.link, [1001, 1006, 1012, 4003][Math.floor(this.random() * 4)]!, "");
    }
  }
}

function itemOf({ seq, sub }: { seq: number; sub: number }): Item {
  return { ev: "gift.sent", seq, ...(sub ? { sub } : {}), d: { at: [seq, sub] } };
}

test.each(Array.from({ length: 25 }, (_, i) => [i + 1]))("a bad day, seed %i", (seed) => {
  const server = new Server(seed);
  const { rig } = server;
  server.serve(false);
  let asked = 0;
  for (let step = 0; step < 300; step++) {
    rig.random = server.random();
    if (server.happens(0.4)) server.append();
    if (server.happens(0.1)) rig.ask("gift.send", {}, { key: `k${asked++}` });
    if (server.happens(0.05)) server.harm();
    if (server.happens(0.8)) server.serve(true);
    rig.pass(server.random() * 200);
  }
  server.append();
  for (let step = 0; step < 400; step++) {
    server.serve(false);
    rig.pass(100);
  }

  // Private events between two public ones may be dropped without a trace only by a server that is not whole.
  const heard = rig.heard("gift.sent").map(({ at }) => at as [number, number]);
  expect(heard.filter(([, sub]) => sub === 0).map(([seq]) => seq)).toEqual(
    server.log.filter(({ sub }) => sub === 0).map(({ seq }) => seq),
  );
  expect(new Set(heard.map(String)).size).toBe(heard.length);
  expect(heard).toEqual([...heard].sort((a, b) => a[0] - b[0] || a[1] - b[1]));
  expect(rig.codes).toEqual(Array(asked).fill("ok"));
  expect([...server.done.values()].every((times) => times === 1)).toBe(true);
  expect(rig.heard("sdk.reset")).toHaveLength(1);
});
