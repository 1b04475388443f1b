// A server that says anything: nothing is thrown at the caller, nothing hangs, it comes back.

import { expect, test } from "vitest";

import { ENCODINGS } from "../src/codec.js";
import { encode } from "../src/msgpack.js";
import type { Item } from "../src/types.js";
import { durable, greeting, Rig, seeded } from "./rig.js";

const VALUES = [
  null,
  true,
  -1,
  0,
  1,
  3,
  1.5,
  1e308,
  "",
  "x",
  "sys.gap",
  "likes",
  [],
  {},
  [{}],
  { seq: 1 },
  { code: "x" },
];
const NAMES = ["re", "ev", "st", "room", "d", "err", "seq", "sub", "v", "ts", "kept", "__proto__", "epoch"];
const EVENTS = ["sys.shed", "sys.gap", "sys.reconnect", "sys.token", "danmaku", "gift.sent", "new"];

function pick<T>(random: () => number, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)]!;
}

function item(random: () => number): Item {
  const found: Item = {};
  for (let i = 0; i < 4; i++) found[pick(random, NAMES)] = pick(random, VALUES);
  if (random() < 0.5) found["ev"] = pick(random, EVENTS);
  if (random() < 0.3) found["re"] = Math.floor(random() * 30);
  if (random() < 0.2)
    found["d"] = { ...greeting(), [pick(random, Object.keys(greeting()))]: pick(random, VALUES) };
  return found;
}

test.each(Array.from({ length: 20 }, (_, i) => [i + 1]))("items of false shapes, seed %i", (seed) => {
  const random = seeded(seed);
  const rig = new Rig().join();
  for (let step = 0; step < 200; step++) {
    rig.random = random();
    rig.session.opened(rig.link);
    if (random() < 0.1) rig.ask("a", {}, random() < 0.5 ? { key: `k${step}` } : {});
    rig.say(...Array.from({ length: Math.floor(random() * 4) }, () => item(random)));
    if (random() < 0.05)
      rig.session.receive(rig.link, pick(random, ["", "[", "[[]]", 7, null, new Uint8Array(3)]));
    rig.pass(random() * 3_000);
    expect(["live", "connecting", "waiting"]).toContain(rig.state.status);
  }
  expect(rig.state.junk).toBeGreaterThan(0);
  expect(rig.sent.length).toBeLessThan(3_000);
});

test("bytes of messages changed at random: counted, and it comes back", () => {
  const random = seeded(9);
  const rig = new Rig({ encoding: { ...ENCODINGS.msgpack, encode: ENCODINGS.json.encode } });
  const say = (...items: Item[]): void => rig.session.receive(rig.link, encode(items));
  rig.session.start();
  for (let step = 0; step < 2_000; step++) {
    rig.session.opened(rig.link);
    if (rig.state.status !== "live") say({ re: rig.last("hello").id as number, d: greeting() });
    const bytes = encode([durable(rig.state.seq + 1), { st: "likes", v: step, d: { total: step } }]);
    for (let n = 0; n < 2; n++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    rig.session.receive(rig.link, bytes);
    rig.pass(random() * 40_000);
  }
  expect(rig.state.junk).toBeGreaterThan(100);
  expect(["live", "connecting", "waiting"]).toContain(rig.state.status);
});
